"""The exceptions of headrace. Each inherits `headrace.Error` and the builtin that a caller might already catch.

    Error
    |-- InvalidArgumentError (ValueError)        the request is wrong: fix it and send it again
    |-- ModelNotFoundError (LookupError)         no model or file of that name
    |-- CorruptFileError (ValueError)            a model file contradicts its format or its own size
    |-- UnsupportedError (NotImplementedError)   valid, but not something this build or machine can do
    |-- OverloadedError (RuntimeError)           too much queued: try again after `retry_after` seconds
    |-- DeadlineError (TimeoutError)             the request's own time limit passed
    |-- CancelledError (RuntimeError)            the request was withdrawn
    `-- InternalError (RuntimeError)             a bug in headrace

Every message says what was given, what is allowed and what to do.
"""

from __future__ import annotations


class Error(Exception):
    """Base class of every exception that headrace raises on purpose.

    `code` is a short machine-readable name such as `"context_length_exceeded"`, or None.
    """

    code: str | None = None


class InvalidArgumentError(Error, ValueError):
    """The request is wrong; sending it again unchanged cannot help."""


class ModelNotFoundError(Error, LookupError):
    """No model, or no file, has that name."""


class CorruptFileError(Error, ValueError):
    """A file contradicts its format or its own size; nothing of it was used."""


class UnsupportedError(Error, NotImplementedError):
    """Valid, but not something that this build or this machine can do."""


class OverloadedError(Error, RuntimeError):
    """More work is queued than the time budget allows; try again after `retry_after` seconds."""

    retry_after: float = 1.0


class DeadlineError(Error, TimeoutError):
    """The request's own time limit passed before its answer was ready."""


class CancelledError(Error, RuntimeError):
    """The request was cancelled before its answer was ready."""


class InternalError(Error, RuntimeError):
    """A bug in headrace. Please report it with the message."""
