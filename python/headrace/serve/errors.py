"""One table from the kinds of error to HTTP, and the one body that every error has.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}: the shape of OpenAI's API, so that its
clients raise their own exceptions.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from .. import errors
from .answer import Answer, Header

logger = logging.getLogger("headrace.serve")

CLIENT_GONE = 499  # nobody reads it; it keeps such requests apart in the metrics
STATUS: dict[type[BaseException], int] = {
    errors.InvalidArgumentError: 400,
    errors.ModelNotFoundError: 404,
    errors.CorruptFileError: 500,
    errors.UnsupportedError: 501,
    errors.OverloadedError: 429,
    errors.DeadlineError: 504,
    errors.CancelledError: CLIENT_GONE,
    errors.InternalError: 500,
}
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "overloaded_error",
    500: "server_error",
    501: "unsupported_error",
    504: "timeout_error",
}
_TYPES[503] = _TYPES[507] = _TYPES[500]
# Of an error's code, where it says more than its class.
_STATUS_OF_CODE = {"model_too_large": 507, "memory_busy": 503}
_CODES = {
    404: "model_not_found",
    413: "request_too_large",
    429: "overloaded",
    500: "internal_error",
    501: "unsupported",
    504: "deadline_exceeded",
}
# Failures of a model that is somebody's own code, told without its words (predict/runner.py).
MODEL_ERRORS = frozenset({"model_error", "worker_died", "poisoned_request"})
_encode = msgspec.json.Encoder().encode
_MAX_MESSAGE = 1000  # a message may quote the request, which may be megabytes
# The core's messages begin with the argument that is wrong: "input[3] has ...", "dimensions=0: ...".
_LEADING_FIELD = re.compile(
    r"(?:the )?(input|dimensions|prompt_name|query|documents|question|context|top_k|top_n|stride|window|"
    r"max_answer_tokens|aggregation|temperature|top_p|min_p|repetition_penalty|presence_penalty|frequency_penalty|"
    r"logit_bias|top_logprobs|max_tokens|min_tokens)\b"
)


class HttpError(Exception):
    """An answer that only HTTP knows of, such as 413; `param` names the field that is wrong, if one is."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers: dict[str, str] = {}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> HttpError:
    """A 400 about the field `param`."""
    return HttpError(400, message, code=code, param=param)


def openai_body(status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
    """The body of an error in OpenAI's API."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _CODES.get(status)}}


# (status, message, code, param) -> the body of an error, as a route's protocol has it.
ErrorBody: TypeAlias = Callable[[int, str, str | None, str | None], dict[str, Any]]


class Explained(NamedTuple):
    """An error as a client hears of it, whatever the protocol; `headers` are HTTP's."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Sequence[Header] = ()


def explain(error: BaseException, request_id: str) -> Explained:
    """What to say of `error`. What is not ours to explain is logged, and told as a bare 500."""
    if isinstance(error, HttpError):
        headers = [(name.encode(), value.encode("latin-1")) for name, value in error.headers.items()]
        return Explained(error.status, _shown(error), error.code, error.param, headers)
    kind = type(error)
    status = STATUS.get(kind) or next((STATUS[base] for base in kind.__mro__ if base in STATUS), 500)
    if status == 500 and getattr(error, "code", None) in MODEL_ERRORS:
        return Explained(500, _shown(error), getattr(error, "code", None))  # logged where the model ran
    status = _STATUS_OF_CODE.get(getattr(error, "code", None) or "", status)
    if status == 500:
        logger.error("request %s failed", request_id, exc_info=error)
        return Explained(500, f"internal error; the server's log has it under request {request_id}")
    message, headers = _shown(error), []
    if isinstance(error, errors.OverloadedError):
        wait_ms = max(1, math.ceil(error.retry_after * 1000))
        headers = [(b"retry-after", b"%d" % -(-wait_ms // 1000)), (b"retry-after-ms", b"%d" % wait_ms)]
    code = getattr(error, "code", None)
    field = _LEADING_FIELD.match(message) if status == 400 else None
    param = "model" if status == 404 or code == "wrong_task" else field and field[1]
    return Explained(status, message, code, param, headers)


def error_response(error: BaseException, request_id: str, body: ErrorBody = openai_body) -> Answer:
    """The answer for `error`."""
    told = explain(error, request_id)
    return Answer(
        _encode(body(told.status, told.message, told.code, told.param)), told.status, headers=told.headers
    )


def _shown(error: BaseException) -> str:
    return str(error)[:_MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()
