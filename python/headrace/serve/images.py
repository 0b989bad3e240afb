"""Pictures in requests: base64 or data: URLs in JSON, parts as OpenAI has them, and files of a form."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from ..errors import InvalidArgumentError, UnsupportedError
from .errors import invalid

MAX_IMAGES = 64
_FORM_FILES = ("image", "images", "image[]", "images[]", "file")
_MAX_PARTS = MAX_IMAGES + 16
_encode = msgspec.json.Encoder().encode

Unset = msgspec.UnsetType


def has_pillow() -> None:
    """UnsupportedError, a 501, where the server cannot decode."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise UnsupportedError(
            "this server cannot decode pictures: its operator installs 'headrace[pictures]'"
        ) from None


def images_of(images: str | list[str] | Unset, given: Any) -> list[bytes] | None:
    """The pictures of a request, from its `images` or from parts {"type": "image_url", ...} in its `input`; None where
    it has texts. HttpError 400 names what is wrong."""
    if isinstance(images, Unset):
        if not (isinstance(given, list) and given and isinstance(given[0], dict)):
            return None
        urls = [_url_of(part, i) for i, part in enumerate(given)]
        field = "input"
    else:
        if not isinstance(given, Unset):
            raise invalid("input and images are both given: give one of them", param="images")
        urls = [images] if isinstance(images, str) else images
        field = "images"
    if not 1 <= len(urls) <= MAX_IMAGES:
        raise invalid(
            f"{field} has {len(urls)} pictures: 1 to {MAX_IMAGES} are allowed a request", param=field
        )
    has_pillow()
    from ..pictures import from_data_url

    decoded = []
    for i, url in enumerate(urls):
        try:
            decoded.append(from_data_url(url))
        except InvalidArgumentError as error:
            raise invalid(f"{field}[{i}]: {error}", param=field) from None
    return decoded


def _url_of(part: Any, place: int) -> str:
    """That of {"type": "image_url", "image_url": {"url": "data:..."}}."""
    if isinstance(part, dict) and part.get("type") == "image_url":
        held = part.get("image_url")
        url = held.get("url") if isinstance(held, dict) else held
        if isinstance(url, str):
            return url
    raise invalid(
        f'input[{place}]: must be {{"type": "image_url", "image_url": {{"url": "data:image/png;base64,..."}}}} '
        "like every part of a list of pictures",
        param="input",
    )


def form_as_json(content_type: str, body: bytes) -> bytes:
    """A body of multipart/form-data as the JSON that means the same: files named image or images become `images`, other
    fields what they are. HttpError 400 for a form that is damaged or has something else."""
    found = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', content_type)
    if not found:
        raise invalid("content-type is multipart/form-data without a boundary")
    border = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    parts = (b"\r\n" + body).split(border, _MAX_PARTS)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise invalid(f"the form is cut off, or has over {_MAX_PARTS} parts: send fewer pictures a request")
    fields: dict[str, Any] = {}
    images: list[str] = []
    for part in parts[1:-1]:
        head, divider, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]{1,64})"', head)
        if not divider or not name:
            raise invalid("a part of the form has no name: give it as name=value or image=@picture.jpg")
        key = name[1].decode("utf-8", "replace")
        if key in _FORM_FILES:
            images.append(base64.b64encode(content).decode())
        else:
            fields[key] = _value_of(key, content)
    return _encode({**fields, "images": images} if images else fields)


def _value_of(key: str, content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    if key in ("model", "user", "encoding_format"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
