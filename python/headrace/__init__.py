"""AI models as a service, at native speed, from Python. See https://pypi.org/project/headrace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    CancelledError,
    CorruptFileError,
    DeadlineError,
    Error,
    InternalError,
    InvalidArgumentError,
    ModelNotFoundError,
    OverloadedError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from ._core import Encoding, Ragged, Tokenizer

__all__ = [
    "CancelledError",
    "CorruptFileError",
    "DeadlineError",
    "Encoding",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "ModelNotFoundError",
    "OverloadedError",
    "Ragged",
    "Tokenizer",
    "UnsupportedError",
]

_CORE_NAMES = frozenset({"Encoding", "Ragged", "Tokenizer"})


def __getattr__(name: str) -> object:
    """Loads the C++ core when one of its classes is first asked for."""
    if name in _CORE_NAMES:
        from . import _core

        return getattr(_core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
