"""Pictures: decoding under limits, resizing, what detectors' numbers mean, and drawing that on a picture.

Decoding needs Pillow (`pip install 'headrace[pictures]'`); all else is C++ on numpy arrays, uint8 [height, width, 3].
JPEG, PNG, WebP and the first frame of a GIF are decoded, and nothing else: a file's header is read by code of our own
first, so that a claim of a billion pixels costs microseconds and no memory.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import _core
from .detections import detect_ssd, detect_yolo, draw_boxes, nms
from .errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels: TypeAlias = NDArray[np.uint8]
    Floats: TypeAlias = NDArray[np.float32]

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Header",
    "Letterbox",
    "decode",
    "detect_ssd",
    "detect_yolo",
    "draw_boxes",
    "from_data_url",
    "letterbox",
    "nms",
    "prepare",
    "read_header",
    "resize",
]

# bytes of a file, its path or data: URL, an image of Pillow, or an array.
Source: TypeAlias = "bytes | str | os.PathLike[str] | Image.Image | NDArray[Any]"
Filter = Literal["bilinear", "bicubic", "lanczos"]

MAX_PIXELS = 64_000_000  # three channels of them are 183 MiB, and what a decoder keeps is as much again
MAX_BYTES = 64 << 20  # of a file
_MAX_SCANS = 100  # of a JPEG; a progressive one has about ten, and each costs a pass over the whole picture
_DECODED_AT_LEAST = 2  # times the wanted size, where a JPEG is decoded at a fraction of its own


@dataclass(frozen=True)
class Header:
    """What a file says of itself: `format` is "jpeg", "png", "webp" or "gif", `width` and `height` are pixels as they
    are stored, `orientation` is EXIF's number from 1 to 8."""

    format: str
    width: int
    height: int
    orientation: int


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of an encoded picture, checked against the limit; nothing is decoded.

    Raises:
        UnsupportedError: another format.
        InvalidArgumentError: more than `max_pixels`, no size, too many scans, or over 64 MiB of bytes.

    >>> import headrace.pictures
    >>> headrace.pictures.read_header(b"GIF89a" + bytes([10, 0, 20, 0, 0, 0, 0]))
    Header(format='gif', width=10, height=20, orientation=1)
    """
    return _read_header(data, max_pixels)[0]


def _read_header(data: bytes, max_pixels: int) -> tuple[Header, bool]:
    if len(data) > MAX_BYTES:
        raise _too_large(f"the picture has {len(data)} bytes: at most {MAX_BYTES} are read")
    kind, width, height, orientation, scans, has_extras = _core.picture_header(data)
    if not kind:
        raise UnsupportedError(
            f"the picture begins with {bytes(data[:8])!r}: JPEG, PNG, WebP and GIF can be read; convert it"
        )
    if width * height == 0:
        raise InvalidArgumentError(
            f"the picture ({kind}) has no size in its header: the file is damaged or cut off"
        )
    if width * height > max_pixels:
        raise _too_large(
            f"the picture has {width} x {height} pixels: at most {max_pixels} are allowed; send a smaller one"
        )
    if scans > _MAX_SCANS:
        raise _too_large(f"the picture has {scans} scans: at most {_MAX_SCANS} are decoded; save it anew")
    return Header(kind, width, height, orientation), has_extras


def _too_large(message: str) -> InvalidArgumentError:
    error = InvalidArgumentError(message)
    error.code = "picture_too_large"
    return error


def decode(
    source: Source,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
    background: tuple[int, int, int] | None = (255, 255, 255),
) -> Pixels:
    """A picture as uint8 [height, width, 3], upright: EXIF's orientation is applied, palettes, grey, 16 bits and CMYK
    become RGB.

    Args:
        source: bytes of a file, a path, a `data:` URL, an image of Pillow, or an array (uint8, [height, width] or with
            3 or 4 channels). Never fetched from the network.
        max_pixels: more are refused by the file's header, before anything is decoded.
        at_least: (width, height) that is wanted in the end. A JPEG of more than four times as much is decoded at a
            half, a quarter or an eighth of its size, but not below twice this.
        background: what shines through transparent pixels; None ignores transparency.

    Raises:
        InvalidArgumentError: a file that is damaged, cut off or too large, or something that is no picture.
        UnsupportedError: another format.
        ImportError: Pillow is not there.

    >>> import headrace.pictures, numpy
    >>> headrace.pictures.decode(numpy.zeros((4, 6), numpy.uint8)).shape
    (4, 6, 3)
    """
    import numpy as np

    if isinstance(source, np.ndarray):
        return _from_array(source, background)
    if isinstance(source, str) and source.startswith("data:"):
        source = from_data_url(source)
    if isinstance(source, (str, os.PathLike)):
        source = _read_file(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode_bytes(bytes(source), max_pixels, at_least, background)
    if hasattr(source, "getexif") and hasattr(source, "convert"):
        image = source
        if image.width * image.height > max_pixels:
            raise _too_large(
                f"the picture has {image.width} x {image.height} pixels: at most {max_pixels} are allowed"
            )
        orientation = image.getexif().get(0x0112, 1)
        return _upright(_rgb(image, background), orientation)
    raise InvalidArgumentError(
        f"a picture is of type {type(source).__name__}; give bytes, a path, a data: URL, an image of Pillow or an array"
    )


def from_data_url(url: str) -> bytes:
    """The bytes of a base64 `data:` URL, or of plain base64.

    Raises InvalidArgumentError for anything else; `http:` and `https:` are never fetched.

    >>> import headrace.pictures
    >>> headrace.pictures.from_data_url("data:image/png;base64,iVBORw==")
    b'\\x89PNG'
    """
    if url.startswith("data:"):
        head, comma, content = url.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidArgumentError("a data: URL must be of base64: data:image/png;base64,...")
    elif "://" in url[:32]:
        raise InvalidArgumentError(
            f"a picture is given as {url[:32]!r}: URLs are not fetched; send its bytes as data:image/png;base64,..."
        )
    else:
        content = url
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(f"a picture is not valid base64: {error}") from None


def _read_file(path: str | os.PathLike[str]) -> bytes:
    name = os.fspath(path)
    if "://" in name[:32]:
        raise InvalidArgumentError(f"{name[:64]!r}: URLs are not fetched; give the picture's bytes or a path")
    with open(name, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _from_array(array: NDArray[Any], background: tuple[int, int, int] | None) -> Pixels:
    import numpy as np

    is_flat = array.ndim in (2, 3) and array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or not is_flat or array.size == 0:
        raise InvalidArgumentError(
            f"an array of {array.dtype} {list(array.shape)} is no picture: give uint8 [height, width] or with 3 or 4 "
            "channels"
        )
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] == 4:
        return _flattened(array, background)
    return np.ascontiguousarray(array)


def _flattened(rgba: Pixels, background: tuple[int, int, int] | None) -> Pixels:
    """Without its transparency."""
    import numpy as np

    if background is None or rgba[:, :, 3].min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    alpha = rgba[:, :, 3:].astype(np.uint32)
    mixed = rgba[:, :, :3] * alpha + np.asarray(background, np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


@lru_cache(1)
def _plugins() -> dict[str, Any]:
    """The classes of Pillow that decode. Its own way to open a file would try every format that it knows."""
    try:
        from PIL.GifImagePlugin import GifImageFile
        from PIL.JpegImagePlugin import JpegImageFile
        from PIL.PngImagePlugin import PngImageFile
        from PIL.WebPImagePlugin import WebPImageFile
    except ImportError:
        raise ImportError("decoding pictures needs Pillow: pip install 'headrace[pictures]'") from None
    return {"gif": GifImageFile, "jpeg": JpegImageFile, "png": PngImageFile, "webp": WebPImageFile}


def _decode_bytes(
    data: bytes, max_pixels: int, at_least: tuple[int, int] | None, background: tuple[int, int, int] | None
) -> Pixels:
    header, has_extras = _read_header(data, max_pixels)
    plugins = _plugins()
    if has_extras:
        data = _without_extras(data)
    try:
        image = plugins[header.format](io.BytesIO(data))
        if image.width * image.height > header.width * header.height:
            raise InvalidArgumentError(
                f"the picture says {header.width} x {header.height} pixels first, {image.width} x {image.height} later"
            )
        if header.format == "jpeg" and at_least is not None:
            wanted = at_least if header.orientation < 5 else at_least[::-1]
            image.draft(None, tuple(side * _DECODED_AT_LEAST for side in wanted))
        pixels = _rgb(image, background)
    except (InvalidArgumentError, MemoryError):
        raise
    except Exception as error:  # a decoder meets damage in many ways
        what = f"the picture ({header.format}, {header.width} x {header.height}) cannot be decoded"
        raise InvalidArgumentError(f"{what}: {str(error) or type(error).__name__}") from None
    return _upright(pixels, header.orientation)


def _without_extras(png: bytes) -> bytes:
    """A PNG without texts and profiles, which a decoder would unpack."""
    kept, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        name = png[at + 4 : at + 8]
        if name == b"IDAT":
            kept.append(png[at:])
            break
        if name not in (b"zTXt", b"iTXt", b"tEXt", b"iCCP"):
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def _rgb(image: Image.Image, background: tuple[int, int, int] | None) -> Pixels:
    """Decodes, and makes uint8 RGB of whatever mode the file has."""
    import numpy as np

    if image.mode.startswith("I"):  # 16 bits of grey: the upper half of them
        deep = np.asarray(image)
        return np.repeat((deep.astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if has_alpha and background is not None:
        return _flattened(np.asarray(image.convert("RGBA")), background)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    import numpy as np

    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


@lru_cache(64)
def _transform(resize: str, size: tuple[int, int], filter: str, fill: int = 0) -> _core.PictureTransform:
    return _core.PictureTransform(
        resize=resize, resize_size=size, filter=filter, canvas=size if resize == "letterbox" else None, fill=fill,
        scale=1.0 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), patch=0,
    )  # fmt: skip


def resize(picture: Pixels, size: tuple[int, int], *, filter: Filter = "bilinear") -> Pixels:
    """The picture, uint8 [height, width, 3], at `size` (width, height): antialiased, bit for bit as Pillow 13 does it.

    Raises InvalidArgumentError for another array, a side below 1 or above 1048576, or another filter.

    >>> import headrace.pictures, numpy
    >>> headrace.pictures.resize(numpy.full((10, 20, 3), 7, numpy.uint8), (3, 5)).shape
    (5, 3, 3)
    """
    return _transform("exact", _pair(size), filter).canvas(picture)


@dataclass(frozen=True)
class Letterbox:
    """`picture` is uint8 [height, width, 3] with borders; `original` was the size (width, height) before."""

    picture: Pixels
    original: tuple[int, int]
    _core: _core.PictureTransform

    def to_original(self, boxes: Floats) -> Floats:
        """Boxes float32 [n, 4] (x1, y1, x2, y2) of `picture` as those of the original, cut at its edges."""
        import numpy as np

        return self._core.boxes_in_picture(*self.original, np.ascontiguousarray(boxes, np.float32))


def letterbox(
    picture: Pixels, size: tuple[int, int], *, fill: int = 114, filter: Filter = "bilinear"
) -> Letterbox:
    """The picture as large as it fits into `size` (width, height), in the middle of a canvas of `fill`.

    >>> import headrace.pictures, numpy
    >>> boxed = headrace.pictures.letterbox(numpy.zeros((720, 1280, 3), numpy.uint8), (640, 640))
    >>> boxed.to_original(numpy.array([[0, 140, 320, 320]], numpy.float32)).tolist()
    [[0.0, 0.0, 640.0, 360.0]]
    """
    transform = _transform("letterbox", _pair(size), filter, fill)
    return Letterbox(transform.canvas(picture), (picture.shape[1], picture.shape[0]), transform)


def _pair(size: tuple[int, int]) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"size={size!r}: must be (width, height)") from None
    return width, height


def prepare(
    pictures: Sequence[Pixels],
    *,
    resize: tuple[int, int] | int | None = None,
    crop: tuple[int, int] | None = None,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    scale: float = 1.0 / 255,
    patch: int = 0,
    filter: Filter = "bilinear",
    threads: int | None = 1,
) -> list[Floats]:
    """Pictures, uint8 [height, width, 3], as a model takes them: (x scale - mean) / std, in float32.

    Args:
        resize: (width, height), or the length of the shorter side; None keeps the size.
        crop: (width, height) of the middle to keep; what is smaller is padded with zeros.
        patch: 0 gives float32 [3, height, width]; a side in pixels gives [patches, 3 patch patch].
        threads: pictures at a time; None: as many as there are processors.

    Raises InvalidArgumentError for other arrays, sides that are no multiple of `patch`, and numbers out of range.

    >>> import headrace.pictures, numpy
    >>> headrace.pictures.prepare([numpy.zeros((480, 640, 3), numpy.uint8)], resize=256, crop=(224, 224))[0].shape
    (3, 224, 224)
    """
    kind = "none" if resize is None else "shortest_edge" if isinstance(resize, int) else "exact"
    size = (resize, resize) if isinstance(resize, int) else _pair(resize or (1, 1))
    transform = _core.PictureTransform(
        resize=kind,
        resize_size=size,
        filter=filter,
        canvas=crop,
        fill=0,
        scale=scale,
        mean=mean,
        std=std,
        patch=patch,
    )
    return transform.run(list(pictures), threads)
