"""embed and classify on pictures: decoded in threads, made into what the model takes in C++."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .. import _core, inputs
from ..errors import InvalidArgumentError
from .classify import ClassifyJob, Texts
from .job import Job, Terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..loaded_model import Model
    from ..pictures import Source

    Images: TypeAlias = Source | Iterable[Source]
else:
    Images = Any

# What decoding a picture takes, in characters to tokenise: enough to leave the event loop.
_CHARACTERS = 1 << 20


class ImagesJob:
    """What both jobs do with pictures."""

    portion = 32  # 32 pictures of 224 x 224 are 19 MB in the core
    items: Sequence[Any]

    def submit(self, model: Model, items: Sequence[Any], terms: Terms) -> _core.Ticket:
        check_input(model, "image")
        arrays = decode_all(items, model)
        return model._core.submit_pictures(
            model._core_name, arrays, terms.priority, terms.wait, terms.timeout_us, terms.queue
        )

    @property
    def characters(self) -> int:
        return _CHARACTERS


class EmbedImagesJob(ImagesJob, Job["NDArray[np.float32]"]):
    """One vector a picture."""

    task = "embed"

    def __init__(self, images: Images, texts: object = None, prompt: str | None = None) -> None:
        if prompt:
            raise InvalidArgumentError("prompt: none stands before a picture; leave it out, or give texts")
        self.items = as_images(images, texts)

    def read(self, model: Model, items: Sequence[Any], ticket: _core.Ticket) -> list[NDArray[np.float32]]:
        return [ticket.vectors()]

    def joined(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The results of all portions as one matrix."""
        import numpy as np

        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class ClassifyImagesJob(ImagesJob, ClassifyJob):
    """One list of labels a picture, best first."""

    def __init__(self, images: Images, texts: object = None, *, top_k: int | None = None) -> None:
        self._texts = texts
        super().__init__(cast("Any", images), top_k=top_k)

    def _checked(self, texts: Any) -> Sequence[Any]:
        return as_images(texts, self._texts)

    def check(self, model: Model) -> None:
        """Pictures are looked at when their turn comes."""


def classify_job(
    texts: Texts | None, images: Images | None, top_k: int | None, truncate: bool
) -> ClassifyJob:
    """Of texts, or of pictures where these are given."""
    if images is not None:
        return ClassifyImagesJob(images, texts, top_k=top_k)
    return ClassifyJob(inputs.as_texts(texts) if texts is None else texts, top_k=top_k, truncate=truncate)


def as_images(images: Images, texts: object = None) -> list[Any]:
    """A list of pictures, which may be one; InvalidArgumentError where it is empty or texts are there too."""
    if texts is not None:
        raise InvalidArgumentError("texts and images are both given: give one of them a call")
    is_one = isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)) or hasattr(
        images, "getexif"
    )
    if not is_one and hasattr(images, "ndim"):
        is_one = images.ndim < 4
    items: list[Any] = [images] if is_one else list(cast("Iterable[Any]", images))
    if not items:
        raise InvalidArgumentError("images is an empty list; give at least one picture")
    return items


def check_input(model: Model, kind: str) -> None:
    """InvalidArgumentError (code "wrong_input") where the model does not take it."""
    if kind not in model.info.modalities:
        taken = " and ".join(f"{each}s" for each in model.info.modalities)
        error = InvalidArgumentError(f"the model {model.name!r} takes no {kind}s: it takes {taken}")
        error.code = "wrong_input"
        raise error


def decode_all(items: Sequence[Any], model: Model) -> list[NDArray[Any]]:
    """Each picture as the planes that the core takes; an error names its place."""

    def one(place: int) -> NDArray[Any]:
        return _decode(items[place], place, model)

    # As many at a time as there are processors, whoever asks: a picture in full takes much memory.
    return list(_decoders().map(one, range(len(items))))


def _decode(item: Any, place: int, model: Model) -> NDArray[Any]:
    from ..pictures import decode

    if hasattr(item, "dtype") and item.dtype.kind == "f":
        import numpy as np

        return np.ascontiguousarray(item, np.float32)
    try:
        pixels = decode(item, at_least=model.info.image_size)
        return model._core.prepare_picture(model._core_name, pixels)
    except InvalidArgumentError as error:
        named = type(error)(f"images[{place}]: {error}")
        named.code = error.code
        raise named from None


@lru_cache(1)
def _decoders() -> ThreadPoolExecutor:
    """Decoding runs without the GIL for nearly all of its time."""
    return ThreadPoolExecutor(_core.available_cpus(), thread_name_prefix="headrace-pictures")
