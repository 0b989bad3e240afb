"""How the clients send pictures: in base64, a few to a request."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .tasks.images import Images

_MAX_BYTES = 2 << 20  # of the pictures of one request, before base64; one beyond it goes alone
_MAX_COUNT = 16


class ImageSteps:
    """Mixed into both clients."""

    if TYPE_CHECKING:

        def _post(self, path: str, body: dict[str, Any]) -> Any: ...

    def _each_image(
        self, images: Images, path: str, **body: Any
    ) -> Generator[Any, Any, list[dict[str, Any]]]:
        """The rows of `data` for all pictures."""
        rows: list[dict[str, Any]] = []
        for chunk in _chunks(images):
            answer = yield from self._post(path, {**body, "images": chunk})
            rows += answer["data"]
        return rows


def _chunks(images: Images) -> Iterator[list[str]]:
    from .tasks.images import as_images

    chunk: list[str] = []
    size = 0
    for item in as_images(images):
        data = _encoded(item)
        if chunk and (len(chunk) == _MAX_COUNT or size + len(data) > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(base64.b64encode(data).decode())
        size += len(data)
    yield chunk


def _encoded(item: Any) -> bytes:
    """The bytes of a file, whatever it is given as; arrays and images of Pillow become PNG."""
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, str) and item.startswith("data:"):
        from .pictures import from_data_url

        return from_data_url(item)
    if isinstance(item, (str, os.PathLike)):
        with open(item, "rb") as file:
            return file.read()
    if hasattr(item, "dtype") and item.dtype.kind != "u":
        raise InvalidArgumentError(
            "images holds an array of other numbers than uint8; a client sends pictures"
        )
    from PIL import Image

    from .pictures import decode

    stream = io.BytesIO()
    Image.fromarray(decode(item)).save(stream, "PNG")
    return stream.getvalue()
