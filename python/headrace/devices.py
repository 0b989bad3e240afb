"""What models run on besides the processor: NVIDIA GPUs, by `headrace._cuda`, which is loaded when one is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any

from .errors import InvalidArgumentError, UnsupportedError

NOT_BUILT = (
    "this installation has no module for CUDA: with nvcc on PATH, run pip install "
    "--config-settings=cmake.define.HEADRACE_CUDA=ON headrace (docs/cuda.md)"
)
_KNOWN = re.compile(r"auto|cpu|cuda(?::\d{1,3})?")


def check(device: str) -> None:
    """InvalidArgumentError unless `device` is the name of one, whether it is there or not.

    >>> check("cuda:1")
    """
    if not isinstance(device, str) or not _KNOWN.fullmatch(device):
        raise InvalidArgumentError(
            f"device={device!r}: must be 'auto', 'cpu', 'cuda' or 'cuda:N' with a GPU's number"
        )


def ready(device: str) -> str:
    """The device's name for the core, once it can be used; "auto" is the processor.

    Raises InvalidArgumentError as `check`, and UnsupportedError that says why the GPU cannot be used.

    >>> ready("auto")
    'cpu'
    """
    from . import _core

    check(device)
    if device in ("auto", "cpu"):
        return "cpu"
    module = _module()
    why = NOT_BUILT if module is None else module.why_unavailable()
    if why:
        raise UnsupportedError(f"device={device!r}: {why}; device='cpu' runs on the processor")
    assert module is not None
    _core.register_devices(module.factory())
    return device


def cuda() -> str:
    """The GPUs that models can run on, or why there are none; one line."""
    module = _module()
    if module is None:
        return f"unavailable: {NOT_BUILT}"
    why = module.why_unavailable()
    return f"unavailable: {why}" if why else ", ".join(module.devices())


def add_option(parser: Any) -> None:
    """The option --device of a command that loads models."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="cpu|cuda[:N]",
        help="what models run on: the processor, or an NVIDIA GPU by its number (default: the processor)",
    )


def _module() -> Any:
    if importlib.util.find_spec("headrace._cuda") is None:
        return None
    return importlib.import_module("headrace._cuda")
