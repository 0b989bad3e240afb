"""headrace's tokenizer inside the classes of other libraries, which then need not know."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import Error, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ._core import Tokenizer

T = TypeVar("T")


def for_sentence_transformers(model: T) -> T:
    """Lets headrace tokenise for a SentenceTransformer or CrossEncoder, which is changed and returned.

        model = headrace.adapters.for_sentence_transformers(SentenceTransformer("path/to/model"))

    Raises:
        UnsupportedError: as for_transformers.
    """
    first: Any = model[0]  # type: ignore[index]
    tokenizer = for_transformers(first.tokenizer)
    if getattr(first, "processor", None) is first.tokenizer:  # newer versions
        first.processor = tokenizer
    else:
        first.tokenizer = tokenizer
    return model


def for_transformers(tokenizer: T) -> T:
    """A copy of a `transformers` tokenizer in which headrace encodes and decodes.

    It is of the same class, gives the same answers and is saved the same way; sentence-transformers and
    pipelines take it like any other. What headrace has no fast way for (pairs, words split beforehand, overflowing
    windows, truncation on the left) goes the way it always went.

        tokenizer = headrace.adapters.for_transformers(AutoTokenizer.from_pretrained(path))

    Raises:
        UnsupportedError: the tokenizer is not backed by a tokenizer.json ("slow"), or has a part headrace lacks.
    """
    if getattr(tokenizer, "_tokenizer", None) is None:
        raise UnsupportedError(
            f"{type(tokenizer).__name__} has no tokenizer.json inside: use the fast class of the same tokenizer"
        )
    if isinstance(tokenizer, _Accelerated):
        return copy.deepcopy(tokenizer)
    made = copy.deepcopy(tokenizer)
    kind = type(tokenizer)
    # The same name, so that save_pretrained writes a class that everyone has.
    made.__class__ = type(kind.__name__, (_Accelerated, kind), {"__module__": kind.__module__})
    made._headrace_load()  # type: ignore[attr-defined]
    return made


class _Accelerated:
    """Stands before a subclass of transformers' TokenizersBackend."""

    _headrace: Tokenizer

    def _headrace_load(self) -> None:
        from ._core import Tokenizer

        self._headrace = Tokenizer.from_str(self._tokenizer.to_str())  # type: ignore[attr-defined]
        template = self._headrace.encode("")
        self._headrace_specials = len(template)
        self._headrace_types = any(template.type_ids) or any(self._headrace.encode("a").type_ids)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            # Immutable, and so shared.
            made.__dict__[name] = value if name == "_headrace" else copy.deepcopy(value, memo)
        return made

    def __reduce__(self) -> Any:
        plain = self.__dict__.copy()
        plain.pop("_headrace")
        return _restored, (type(self).__mro__[2], plain)

    def _add_tokens(self, *arguments: Any, **settings: Any) -> Any:
        added = super()._add_tokens(*arguments, **settings)  # type: ignore[misc]
        self._headrace_load()
        return added

    def _encode_plus(self, text: Any, text_pair: Any = None, **settings: Any) -> Any:
        texts = [text] if isinstance(text, str) else text
        if text_pair is None and self._headrace_can(texts, settings):
            return self._headrace_encode(texts, isinstance(text, str), settings)
        return super()._encode_plus(text, text_pair, **settings)  # type: ignore[misc]

    def _headrace_can(self, texts: Any, settings: dict[str, Any]) -> bool:
        unusual = ("is_split_into_words", "stride", "return_overflowing_tokens", "sanitize_control_tokens")
        if any(settings.get(name) for name in unusual) or not isinstance(texts, (list, tuple)):
            return False
        if not texts or not all(isinstance(text, str) for text in texts):
            return False
        if self._headrace_types and settings.get("return_token_type_ids") is not False:
            return False
        cut = _name(settings.get("truncation_strategy")) not in ("do_not_truncate", "None")
        length = settings.get("max_length")
        specials = self._headrace_specials if settings.get("add_special_tokens", True) else 0
        if not cut or length is None:
            return True
        return bool(self.truncation_side == "right" and length > specials)  # type: ignore[attr-defined]

    def _headrace_encode(self, texts: list[str], is_single: bool, settings: dict[str, Any]) -> Any:
        import numpy as np

        owner: Any = self
        cut = _name(settings.get("truncation_strategy")) not in ("do_not_truncate", "None")
        max_length = settings.get("max_length")
        split = settings.get("split_special_tokens")
        options: dict[str, Any] = {
            "add_special_tokens": settings.get("add_special_tokens", True),
            "allow_special": not (owner.split_special_tokens if split is None else split),
            "max_tokens": max_length if cut else None,
        }
        ragged = self._headrace.encode_batch(texts, **options)
        lengths = np.diff(ragged.cu_lengths)
        longest = int(lengths.max()) if len(lengths) else 0
        if settings.get("verbose", True):
            owner._eventual_warn_about_too_long_sequence(range(longest), max_length, True)

        names = set(owner.model_input_names)
        columns: dict[str, tuple[npt.NDArray[np.int32], int]] = {
            "input_ids": (ragged.ids, owner.pad_token_id)
        }
        if _wanted(settings.get("return_token_type_ids"), "token_type_ids" in names):
            columns["token_type_ids"] = (np.zeros_like(ragged.ids), owner.pad_token_type_id)
        if _wanted(settings.get("return_attention_mask"), "attention_mask" in names):
            columns["attention_mask"] = (np.ones_like(ragged.ids), 0)
        offsets: list[list[tuple[int, int]]] = []
        if settings.get("return_special_tokens_mask") or settings.get("return_offsets_mapping"):
            encodings = [self._headrace.encode(text, **options) for text in texts]
            if settings.get("return_special_tokens_mask"):
                masks = [encoding.special_tokens_mask for encoding in encodings]
                columns["special_tokens_mask"] = (np.array(list(itertools.chain(*masks)), np.int32), 1)
            if settings.get("return_offsets_mapping"):
                offsets = [encoding.offsets for encoding in encodings]

        width = self._headrace_width(longest, settings)
        left = (settings.get("padding_side") or owner.padding_side) == "left"
        data: dict[str, Any] = {}
        for name, (values, pad) in columns.items():
            if width is None:
                data[name] = [part.tolist() for part in np.split(values, ragged.cu_lengths[1:-1])]
            else:
                data[name] = _padded(values, lengths, width, pad, left)
                if settings.get("return_tensors") is None:
                    data[name] = data[name].tolist()
        if offsets:
            data["offset_mapping"] = [_padded_pairs(pairs, width, left) for pairs in offsets]
        if settings.get("return_length"):
            data["length"] = [len(row) for row in data["input_ids"]]
        if is_single and settings.get("return_tensors") is None:
            data = {
                name: value[0] if value and isinstance(value[0], list) else value
                for name, value in data.items()
            }
        return _lazy_encoding_class()(
            data,
            tensor_type=settings.get("return_tensors"),
            usual=lambda: super(_Accelerated, self)._encode_plus(texts, None, **settings),  # type: ignore[misc]
        )

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **rest: Any
    ) -> Any:
        if pair is not None or rest:
            return super().tokenize(text, pair, add_special_tokens, **rest)  # type: ignore[misc]
        return self._headrace.encode(text, add_special_tokens=add_special_tokens, allow_special=True).tokens

    def _headrace_width(self, longest: int, settings: dict[str, Any]) -> int | None:
        """The length that rows are padded to; None: they are not."""
        strategy = _name(settings.get("padding_strategy"))
        if strategy in ("do_not_pad", "None"):
            return None
        max_length = settings.get("max_length")
        width = max(longest, max_length or 0) if strategy == "max_length" else longest
        multiple = settings.get("pad_to_multiple_of")
        return width if not multiple else -(-width // int(multiple)) * int(multiple)

    def _decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **settings: Any,
    ) -> Any:
        owner: Any = self
        clean = (
            owner.clean_up_tokenization_spaces
            if clean_up_tokenization_spaces is None
            else clean_up_tokenization_spaces
        )
        if clean or isinstance(token_ids, dict):
            return super()._decode(  # type: ignore[misc]
                token_ids, skip_special_tokens, clean_up_tokenization_spaces, **settings
            )
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        try:
            return self._headrace.decode(ids, skip_special_tokens=skip_special_tokens)
        except (Error, TypeError):  # ids that are none: the usual way has the usual message
            return super()._decode(token_ids, skip_special_tokens, False, **settings)  # type: ignore[misc]


@functools.cache
def _lazy_encoding_class() -> Any:
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


def _restored(kind: type, state: dict[str, Any]) -> Any:
    plain: Any = object.__new__(kind)
    plain.__dict__.update(state)
    return for_transformers(plain)


def _name(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))


def _wanted(asked: bool | None, default: bool) -> bool:
    return default if asked is None else asked


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


def _padded_pairs(pairs: list[tuple[int, int]], width: int | None, left: bool) -> list[tuple[int, int]]:
    fill = [(0, 0)] * ((width or 0) - len(pairs))
    return fill + pairs if left else pairs + fill
