"""Request bodies: read under a limit, decoded to typed values, refused with the field's name.

No pydantic and no dict in between: msgspec decodes the bytes into the one struct that the route needs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request

from .errors import HttpError, invalid
from .images import form_as_json, images_of
from .masking import mask_body

T = TypeVar("T")

MAX_INPUTS = 2048
MAX_NAME = 256
_DISCARD_FACTOR = 4  # a body over the limit is read up to this multiple, so that its client sees the 413

_Token = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class EmbeddingsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/embeddings; OpenAI does not have `truncate` and `prompt_name`."""

    model: Name
    input: str | list[str | int | list[_Token] | dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None
    truncate: bool = False
    prompt_name: Name | None = None
    images: str | list[str] | msgspec.UnsetType = msgspec.UNSET

    def pictures(self) -> list[bytes] | None:
        """Encoded pictures, where these are given; HttpError 400 where they are not what they should be."""
        found = images_of(self.images, self.input)
        if found is not None and self.prompt_name is not None:
            raise invalid(
                "prompt_name: no prompt can stand before a picture; leave it out", param="prompt_name"
            )
        return found

    def inputs(self) -> list[str] | list[list[int]]:
        """`input` as a list of texts or a list of lists of token ids; HttpError 400 for a mixture."""
        value = self.input
        if isinstance(value, msgspec.UnsetType):
            raise invalid("input is missing", param="input")
        if isinstance(value, str):
            return [_checked_text(value, "input")]
        if not value:
            raise invalid("input is an empty list: give at least one text", param="input")
        kind = type(value[0])
        if kind is int:
            return [_checked_ids(value)]
        if len(value) > MAX_INPUTS:
            raise invalid(
                f"input has {len(value)} items; at most {MAX_INPUTS} are allowed: send several requests",
                param="input",
            )
        for i, item in enumerate(value):
            if type(item) is not kind:
                raise invalid(
                    f"input[{i}] is of another type than input[0]: give all texts or all ids", param="input"
                )
            if kind is str:
                _checked_text(item, f"input[{i}]")
            elif not item:
                raise invalid(f"input[{i}] is an empty list: give at least one token id", param="input")
        return value  # type: ignore[return-value]


_decode_embeddings = msgspec.json.Decoder(EmbeddingsRequest)
_decode_any = msgspec.json.Decoder().decode


def _checked_text(text: Any, name: str) -> str:
    if not text:
        raise invalid(f"{name} is an empty string: an embedding needs at least one character", param="input")
    return text  # type: ignore[no-any-return]


def _checked_ids(value: list[Any]) -> list[int]:
    for i, item in enumerate(value):
        if type(item) is not int or not 0 <= item < 2**31:
            raise invalid(f"input[{i}] is not a token id like input[0]: ids are integers >= 0", param="input")
    return value


async def decode_masked(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """`decode`, its texts masked where the server masks."""
    return decode(decoder, await mask_body(body))


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The typed request; HttpError 400 that names the field for anything else."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid_fields(body, str(error), decoder.type) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _malformed(error) from None


NOTHING = msgspec.Raw()  # of a field that is not there


def decode_value(raw: msgspec.Raw) -> Any:
    """A part of a body that was not looked at yet. HttpError 400 for what is no JSON after all."""
    try:
        return _decode_any(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _malformed(error) from None


async def decode_embeddings(body: bytes) -> EmbeddingsRequest:
    """The typed request, masked; HttpError 400 that names the field for anything else."""
    request = await decode_masked(_decode_embeddings, body)
    if request.encoding_format not in ("float", "base64", None):
        raise invalid(
            f"encoding_format={request.encoding_format!r}: must be 'float' or 'base64'",
            param="encoding_format",
        )
    return request


def _malformed(error: Exception) -> HttpError:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, UnicodeError):
        reason = "a string has bytes that are not UTF-8"
    return invalid(f"the body is not valid JSON in UTF-8: {reason}", code="malformed_json")


def _invalid_fields(body: bytes, message: str, kind: Any) -> HttpError:
    """The slow way to a good message, taken only once the request is known to be wrong."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return _malformed(error)
    known = kind.__struct_fields__
    unknown = [name for name in fields if name not in known] if isinstance(fields, dict) else []
    if unknown:
        names = ", ".join(name[:50] for name in unknown[:10])
        return invalid(f"unknown fields: {names}; known are {', '.join(known)}", param=unknown[0][:50])
    missing = re.search("missing required field `(.*)`", message)
    if missing:
        return invalid(f"{missing[1]} is missing", param=missing[1])
    what, _, path = message.partition(" - at `$.")
    path = path.rstrip("`")
    param = re.split(r"[.\[]", path)[0] or None
    return invalid(f"{path}: {what}" if path else what, param=param)


async def read_body_or_form(request: Request, limit: int) -> bytes:
    """As `read_body`, and a form with pictures as the JSON that means the same."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return await read_body(request, limit)
    return form_as_json(content_type, await read_body(request, limit, any_type=True))


async def read_body(request: Request, limit: int, *, any_type: bool = False) -> bytes:
    """The whole body of a JSON request; HttpError 400 for another content type, 413 beyond `limit` bytes.

    any_type: where the route's protocol does not say which type a body has.
    """
    headers = request.headers
    content_type = headers.get("content-type", "")
    if content_type != "application/json" and not any_type:
        _check_content_type(content_type)
    if headers.get("content-encoding", "identity") != "identity":
        raise invalid("a compressed body is not accepted: send it without content-encoding")
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit and "expect" in headers:
        raise _too_large(limit)  # the client asks first: nothing was sent yet
    receive = request.receive
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit and message["type"] == "http.request":
        return body  # nearly every request
    chunks, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if size > limit * _DISCARD_FACTOR:
            break
    if size > limit:
        raise _too_large(limit)
    if message["type"] != "http.request":
        raise HttpError(499, "the client left before its request was complete")
    return b"".join(chunks)


def _too_large(limit: int) -> HttpError:
    error = HttpError(413, f"the body is larger than {limit} bytes: send fewer texts a request")
    error.headers["connection"] = "close"
    return error


def _check_content_type(value: str) -> None:
    kind, _, parameters = value.lower().partition(";")
    if kind.strip() != "application/json" or ("charset" in parameters and "utf-8" not in parameters):
        raise invalid(
            f"content-type is {value[:100]!r}: must be application/json; with curl, "
            "-H 'content-type: application/json'"
        )
