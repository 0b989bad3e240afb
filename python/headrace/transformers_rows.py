"""What a call of a `transformers` tokenizer asks for, and its answer made of headrace's arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ._core import Tokenizer

# The names of transformers' columns in the order of its answers, and ours.
_COLUMNS = {
    "input_ids": "ids",
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}


@dataclass(frozen=True)
class Request:
    """The arguments of TokenizersBackend._encode_plus."""

    texts: list[str]
    pairs: list[str] | None
    is_single: bool
    settings: dict[str, Any]

    @classmethod
    def of(cls, text: Any, text_pair: Any, settings: dict[str, Any]) -> Request | None:
        """None for what headrace has no way for."""
        if settings.get("is_split_into_words") or settings.get("sanitize_control_tokens"):
            return None
        if isinstance(text, str):
            # As in the original an empty second text is none.
            if not text_pair:
                return cls([text], None, True, settings)
            return cls([text], [text_pair], True, settings) if isinstance(text_pair, str) else None
        if text_pair is None and _are_pairs(text):
            return cls([first for first, _ in text], [second for _, second in text], False, settings)
        if not _are_texts(text):
            return None
        if text_pair is None:
            return cls(list(text), None, False, settings)
        if not _are_texts(text_pair) or len(text_pair) != len(text):
            return None
        return cls(list(text), list(text_pair), False, settings)

    @property
    def max_tokens(self) -> int | None:
        limit: int | None = self.settings.get("max_length")
        return None if self.truncation == "do_not_truncate" else limit

    @property
    def truncation(self) -> str:
        return _name(self.settings.get("truncation_strategy"), "do_not_truncate")

    @property
    def padding(self) -> str:
        return _name(self.settings.get("padding_strategy"), "do_not_pad")

    @property
    def is_padded(self) -> bool:
        return self.padding != "do_not_pad"

    @property
    def overflows(self) -> bool:
        return bool(self.settings.get("return_overflowing_tokens"))

    def columns(self, usual: set[str]) -> list[str]:
        """The columns that are asked for; usual: those that the model takes."""
        asked = {
            "input_ids": True,
            "token_type_ids": self.settings.get("return_token_type_ids"),
            "attention_mask": self.settings.get("return_attention_mask"),
            "special_tokens_mask": bool(self.settings.get("return_special_tokens_mask")),
            "offset_mapping": bool(self.settings.get("return_offsets_mapping")),
        }
        return [name for name in _COLUMNS if (name in usual if asked[name] is None else asked[name])]


@dataclass
class Rows:
    """The answer by columns: arrays where rows are padded, else lists of lists."""

    columns: dict[str, Any]
    longest: int
    samples: list[int]  # which text each row is from

    def data(self, request: Request) -> dict[str, Any]:
        """What a BatchEncoding holds."""
        as_lists = request.settings.get("return_tensors") is None
        data = dict(self.columns)
        if as_lists:
            data = {name: rows if isinstance(rows, list) else rows.tolist() for name, rows in data.items()}
        if "offset_mapping" in data:
            rows = data["offset_mapping"]
            rows = rows if isinstance(rows, list) else rows.tolist()
            data["offset_mapping"] = [[tuple(pair) for pair in row] for row in rows]
        if request.settings.get("return_length"):
            data["length"] = [len(row) for row in data["input_ids"]]
        if request.overflows:
            data["overflow_to_sample_mapping"] = self.samples
        elif request.is_single and as_lists:
            data = {
                name: rows[0] if rows and isinstance(rows[0], list) else rows for name, rows in data.items()
            }
        return data


def plain_rows(
    tokenizer: Tokenizer, owner: Any, request: Request, wanted: list[str], options: dict[str, Any]
) -> Rows:
    """The quick way, where all but the ids is known beforehand: single texts, types that are all zero."""
    import numpy as np

    ragged = tokenizer.encode_batch(request.texts, **options)
    lengths = np.diff(ragged.cu_lengths)
    longest = int(lengths.max()) if len(lengths) else 0
    made = {
        "input_ids": (ragged.ids, owner.pad_token_id),
        "token_type_ids": (np.zeros_like(ragged.ids), owner.pad_token_type_id),
        "attention_mask": (np.ones_like(ragged.ids), 0),
    }
    columns: dict[str, Any] = {}
    width = padded_width(longest, request)
    left = (request.settings.get("padding_side") or owner.padding_side) == "left"
    for name in wanted:
        values, pad = made[name]
        if width is None:
            columns[name] = [part.tolist() for part in np.split(values, ragged.cu_lengths[1:-1])]
        else:
            columns[name] = _padded(values, lengths, width, pad, left)
    return Rows(columns, longest, list(range(len(lengths))))


def matrix_rows(
    tokenizer: Tokenizer, owner: Any, request: Request, wanted: list[str], options: dict[str, Any]
) -> Rows:
    """Every other way: pairs, types, masks, offsets, parts that overflow."""
    import numpy as np

    settings = request.settings
    options = {**options, "stride": None}
    if request.max_tokens is not None:
        options["truncation"] = request.truncation
        options["stride"] = (settings.get("stride") or 0) if request.overflows else None
    if request.is_padded:
        options["length"] = settings.get("max_length") if request.padding == "max_length" else None
        options["multiple_of"] = settings.get("pad_to_multiple_of")
        options["padding_side"] = settings.get("padding_side") or owner.padding_side
        options["pad_id"], options["pad_type_id"] = owner.pad_token_id, owner.pad_token_type_id
    batch = tokenizer.encode_padded(request.texts, request.pairs, **options)
    lengths = batch.attention_mask.sum(axis=1)
    columns: dict[str, Any] = {}
    for name in wanted:
        values = getattr(batch, _COLUMNS[name])
        if request.is_padded:
            columns[name] = values.astype(np.int64)
        else:
            columns[name] = [row[:length].tolist() for row, length in zip(values, lengths, strict=True)]
    return Rows(columns, int(lengths.max()) if len(lengths) else 0, batch.rows.tolist())


def padded_width(longest: int, request: Request) -> int | None:
    """The length that rows are padded to; None: they are not."""
    if not request.is_padded:
        return None
    max_length = request.settings.get("max_length")
    width = max(longest, max_length or 0) if request.padding == "max_length" else longest
    multiple = request.settings.get("pad_to_multiple_of")
    return width if not multiple else -(-width // int(multiple)) * int(multiple)


def _are_texts(texts: Any) -> bool:
    return isinstance(texts, (list, tuple)) and bool(texts) and all(isinstance(text, str) for text in texts)


def _are_pairs(texts: Any) -> bool:
    return (
        isinstance(texts, (list, tuple))
        and bool(texts)
        and all(isinstance(pair, (list, tuple)) and len(pair) == 2 and _are_texts(pair) for pair in texts)
    )


def _name(strategy: Any, default: str) -> str:
    return default if strategy is None else str(getattr(strategy, "value", strategy))


def _padded(
    values: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32], width: int, pad: int, left: bool
) -> npt.NDArray[np.int64]:
    """The rows of a ragged array as one [B, width] array."""
    import numpy as np

    columns = np.arange(width)
    used = columns >= width - lengths[:, None] if left else columns < lengths[:, None]
    rows = np.full((len(lengths), width), pad, np.int64)
    rows[used] = values
    return rows


@functools.cache
def lazy_encoding_class() -> Any:
    from transformers import BatchEncoding

    class LazyBatchEncoding(BatchEncoding):
        """A BatchEncoding that asks the usual way for what hardly anyone wants: words, and tokens by character."""

        def __init__(self, *arguments: Any, usual: Callable[[], Any] | None = None, **settings: Any) -> None:
            self._usual = usual
            self._found: Any = None
            super().__init__(*arguments, **settings)

        @property
        def _encodings(self) -> Any:
            if self._found is None and self._usual is not None:
                self._found = self._usual()._encodings
            return self._found

        @_encodings.setter
        def _encodings(self, value: Any) -> None:
            self._found = value

        def __getstate__(self) -> dict[str, Any]:
            return {"data": self.data, "encodings": self._encodings}

    return LazyBatchEncoding
