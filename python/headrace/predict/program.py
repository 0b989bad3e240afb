"""What runtimes whose files are code have in common: in a worker, with tensors that headrace.toml names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidArgumentError
from .function import BatchOptions
from .signature import Signature

if TYPE_CHECKING:
    from ..manifest import Manifest


def signature_of(folder: Path, manifest: Manifest) -> Signature:
    """The tensors as headrace.toml has them. InvalidArgumentError where it names none: such files do not."""
    try:
        return Signature.parse(manifest.inputs, manifest.outputs)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{folder}: {error}; headrace.toml must name the tensors, such as [inputs] x = \"float32[30]\" and "
            '[outputs] score = "float32"'
        ) from None  # fmt: skip


def options_of(manifest: Manifest) -> BatchOptions:
    """With one worker process, whose death harms no other model, unless headrace.toml says how many or none."""
    options = manifest.batch or BatchOptions()
    if "workers" in manifest.batch_names or options.concurrency is not None:
        return options
    return replace(options, workers=1)
