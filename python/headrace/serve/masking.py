"""Masking in a server that was started with --mask: of texts before a model sees them, and of the texts it writes.

Whatever serves a request finds the masker by the request itself (access.py), so every protocol masks alike. Functions
here wait for nothing where there are rules only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from ..security.masking import Masked, merged
from ..security.second_tier import SentenceStream
from .access import current_call
from .errors import invalid

if TYPE_CHECKING:
    from .._core import Tokenizer
    from ..security.masking import Masker, MaskStream
    from .second_tier import SecondTier

# The fields whose strings, however deep, are texts for a model; everything else names, chooses or limits something.
_TEXT_FIELDS = frozenset(
    {
        *("input", "inputs", "text", "texts", "query", "documents", "question", "context"),
        *("prompt", "content", "source_sentence", "sentences", "arguments", "baseline"),
    }
)
# A picture, sound or film within a text's field; digits in it are no card.
_MEDIA = re.compile(r"data:(?:image|audio|video)/[\w.+-]{1,64};base64,[A-Za-z0-9+/_-]*={0,2}\s*")
_NONE: frozenset[str] = frozenset()
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


_Mask: TypeAlias = Callable[[str], Masked]
_Result = TypeVar("_Result")


def current_masker() -> Masker | None:
    """That of the server whose request is being served."""
    call = current_call()
    return None if call is None else call.masker


def _second_tier() -> SecondTier | None:
    call = current_call()
    return None if call is None else call.second_tier


def at_once(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What `work` comes to, where it waits for nothing: so what a server with rules only does before a model runs."""
    try:
        work.send(None)
    except StopIteration as end:
        found: _Result = end.value
        return found
    work.close()
    raise RuntimeError("this waits for something")


async def _with_mask(masker: Masker, work: Callable[[_Mask], _Result]) -> _Result:
    """work(mask). A second tier is asked for all texts at once, so it is done twice there: first to learn them."""
    second = _second_tier()
    if second is not None:
        texts: dict[str, None] = {}

        def note(text: str) -> Masked:
            texts[text] = None
            return Masked(text, [], {})

        work(note)
        found = await second.findings(list(texts))
        masker = masker.with_second(dict(zip(texts, found, strict=True)).__getitem__)
    return work(masker.mask)


async def mask_body(body: bytes, leaves: Collection[str] = _NONE) -> bytes:
    """A JSON body with its texts masked; the very same bytes where there is nothing to mask, or no JSON.

    leaves: names whose values are no texts.
    """
    masker = current_masker()
    if masker is None:
        return body
    try:
        fields = _decode(body)
        changed = await _with_mask(masker, lambda mask: _walk(fields, mask, False, leaves))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return body  # whoever reads it next says what is wrong
    return body if changed is fields else _encode(changed)


def _walk(value: Any, mask: _Mask, is_text: bool, leaves: Collection[str] = _NONE) -> Any:
    """`value` itself where nothing in it changes."""
    if isinstance(value, str):
        if not is_text or (value.startswith("data:") and _MEDIA.fullmatch(value)):
            return value
        masked = mask(value)
        return masked.text if masked.findings else value
    if isinstance(value, dict):
        found = {
            name: _walk(
                item,
                mask,
                (is_text or name in _TEXT_FIELDS) and name != "image_url" and name not in leaves,
                leaves,
            )
            for name, item in value.items()
        }
        return found if any(found[name] is not item for name, item in value.items()) else value
    if isinstance(value, list):
        items = [_walk(item, mask, is_text, leaves) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":  # a tensor of texts
        rows = value.tolist()
        changed = _walk(rows, mask, is_text, leaves)
        return value if changed is rows else np.array(changed, dtype=object)
    return value


async def mask_texts(texts: list[str]) -> list[str]:
    """Texts by themselves: such as came otherwise than in JSON, or as a model wrote whole."""
    masker = current_masker()
    if masker is None:
        return texts
    return await _with_mask(masker, lambda mask: [mask(text).text for text in texts])


async def mask_output(text: str) -> str:
    """A whole text that a model wrote."""
    [masked] = await mask_texts([text])
    return masked


async def mask_values(value: Any) -> Any:
    """What a model answered, with every str in its lists and dicts masked. Pieces of a stream are masked one by one."""
    masker = current_masker()
    return value if masker is None else await _with_mask(masker, lambda mask: _walk(value, mask, True))


class OutputStream:
    """A text that a model writes piece by piece."""

    def __init__(self) -> None:
        masker = current_masker()
        self._second = _second_tier()
        self._stream: MaskStream | None = None
        if masker is not None:
            self._stream = masker.stream() if self._second is None else SentenceStream(masker)

    async def push(self, text: str, *, is_last: bool) -> str:
        """What may be handed out."""
        if self._stream is None:
            return text
        ready, found = self._stream.take(text, is_last=is_last)
        if self._second is not None and ready:
            [more] = await self._second.findings([ready])
            found = merged(ready, found, more)
        return self._stream.write(ready, found)


async def check_ids(tokenizer: Tokenizer, sequences: Iterable[Sequence[int]], param: str) -> None:
    """HttpError 400 where token ids spell what would be masked in a text: ids cannot be masked."""
    masker = current_masker()
    if masker is None:
        return
    texts = [tokenizer.decode(list(ids)) for ids in sequences]
    if await _with_mask(masker, lambda mask: any(mask(text).findings for text in texts)):
        raise invalid(
            f"{param} has token ids that spell personal data, which this server masks: send the text",
            param=param,
            code="personal_data",
        )
