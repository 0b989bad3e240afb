"""AI models as a service, at native speed, from Python. See https://pypi.org/project/headrace."""

from __future__ import annotations

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

__all__ = [
    "CancelledError",
    "CorruptFileError",
    "DeadlineError",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "ModelNotFoundError",
    "OverloadedError",
    "UnsupportedError",
]
