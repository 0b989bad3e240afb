"""Masking in a server that was started with --mask: of texts before a model sees them, and of the texts it writes.

Whatever serves a request finds the masker by the request itself (access.py), so every protocol masks alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .access import current_call
from .errors import invalid

if TYPE_CHECKING:
    from .._core import Tokenizer
    from ..security.masking import Masker, MaskStream

# The fields whose strings, however deep, are texts for a model; everything else names, chooses or limits something.
_TEXT_FIELDS = frozenset(
    {
        *("input", "inputs", "text", "texts", "query", "documents", "question", "context"),
        *("prompt", "content", "source_sentence", "sentences", "arguments", "baseline"),
    }
)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def current_masker() -> Masker | None:
    """That of the server whose request is being served."""
    call = current_call()
    return None if call is None else call.masker


def mask_body(body: bytes) -> bytes:
    """A JSON body with its texts masked; the very same bytes where there is nothing to mask, or no JSON."""
    masker = current_masker()
    if masker is None:
        return body
    try:
        fields = _decode(body)
        changed = _walk(fields, masker, is_text=False)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return body  # whoever reads it next says what is wrong
    return body if changed is fields else _encode(changed)


def _walk(value: Any, masker: Masker, is_text: bool) -> Any:
    """`value` itself where nothing in it changes."""
    if isinstance(value, str):
        if not is_text:
            return value
        masked = masker.mask(value)
        return masked.text if masked.findings else value
    if isinstance(value, dict):
        found = {
            name: _walk(item, masker, (is_text or name in _TEXT_FIELDS) and name != "image_url")
            for name, item in value.items()
        }
        return found if any(found[name] is not item for name, item in value.items()) else value
    if isinstance(value, list):
        items = [_walk(item, masker, is_text) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def mask_texts(texts: list[str]) -> list[str]:
    """Texts that came otherwise than in JSON."""
    masker = current_masker()
    return texts if masker is None else [masker.mask(text).text for text in texts]


def mask_output(text: str) -> str:
    """A whole text that a model wrote."""
    masker = current_masker()
    return text if masker is None else masker.mask(text).text


def mask_values(value: Any) -> Any:
    """What a model answered, with every str in its lists and dicts masked. Pieces of a stream are masked one by one."""
    masker = current_masker()
    return value if masker is None else _walk(value, masker, is_text=True)


class OutputStream:
    """A text that a model writes piece by piece."""

    def __init__(self) -> None:
        masker = current_masker()
        self._stream: MaskStream | None = None if masker is None else masker.stream()

    def push(self, text: str, *, is_last: bool) -> str:
        """What may be handed out."""
        if self._stream is None:
            return text
        return self._stream.feed(text) + (self._stream.finish() if is_last else "")


def check_ids(tokenizer: Tokenizer, sequences: Iterable[Sequence[int]], param: str) -> None:
    """HttpError 400 where token ids spell what would be masked in a text: ids cannot be masked."""
    masker = current_masker()
    if masker is None:
        return
    for ids in sequences:
        if masker.mask(tokenizer.decode(list(ids))).findings:
            raise invalid(
                f"{param} has token ids that spell personal data, which this server masks: send the text",
                param=param,
                code="personal_data",
            )
