"""TorchScript files (.pt, .ts) and torch.export programs (.pt2): code, to be trusted first.

They run in a worker process unless headrace.toml says `workers = 0`: what is wrong with one ends that process alone.
Every tensor is checked against headrace.toml before the program sees it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError, UnsupportedError
from .function import Function
from .onnx import model_file
from .program import options_of, signature_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..manifest import Manifest

SUFFIXES = (".pt2", ".pt", ".ts")


def read(folder: Path, manifest: Manifest, threads: int) -> Function:
    """The program in a folder as a function of tensors.

    Raises UnsupportedError (not_trusted) unless headrace.toml says that it is trusted, InvalidArgumentError where it
    does not name inputs and outputs.
    """
    from .loading import check_trusted

    check_trusted(folder, manifest, "a torch program, a kind of file that is code")
    path = model_file(folder, manifest, SUFFIXES)
    signature = signature_of(folder, manifest)
    options = options_of(manifest)
    arguments = {
        "path": os.fspath(path),
        "inputs": [spec.name for spec in signature.inputs],
        "outputs": [spec.name for spec in signature.outputs],
        "threads": max(1, threads // (options.workers or options.concurrency or 1)),
    }
    return Function(TorchProgram, options, signature, arguments)


class TorchProgram:
    """A program of a file: arrays [n, ...] by name in, which it is given in order; by name out."""

    def __init__(self, path: str, inputs: list[str], outputs: list[str], threads: int) -> None:
        try:
            import torch
        except ImportError:
            raise UnsupportedError(f"{path}: torch is not installed: run: pip install torch") from None
        torch.set_num_threads(threads)
        self._inputs = inputs
        self._outputs = outputs
        try:
            if path.endswith(".pt2"):
                self._run: Any = torch.export.load(path).module()
                return
            with warnings.catch_warnings():  # torch has other plans for TorchScript
                warnings.simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
                self._run = torch.jit.freeze(module)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise CorruptFileError(
                f"{path}: torch refuses it: {type(error).__name__}: {lines[0][:300]}"
            ) from None

    def __call__(self, **tensors: NDArray[Any]) -> Any:
        import numpy as np
        import torch

        # Its memory is its own, contiguous and may be written to, whatever a request's was.
        given = [
            torch.from_numpy(np.require(tensors[name], requirements=["C", "W"])) for name in self._inputs
        ]
        with torch.inference_mode():
            found = self._run(*given)
        if isinstance(found, Mapping):
            return {name: found[name].numpy() for name in self._outputs if name in found}
        values = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return tuple(value.numpy() for value in values)
