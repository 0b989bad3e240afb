"""headrace's tokenizer inside the classes of other libraries, which then need not know."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import Error, UnsupportedError
from .transformers_rows import Request, lazy_encoding_class, matrix_rows, plain_rows

if TYPE_CHECKING:
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
    pipelines take it like any other. What headrace has no way for (words split beforehand, chats with marked
    control tokens) goes the way it always went.

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
        self._headrace_specials = len(template), len(self._headrace.encode("", ""))
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
        request = Request.of(text, text_pair, settings)
        if request is not None and self._headrace_can(request):
            try:
                return self._headrace_encode(request)
            except Error:  # the usual way has the usual message
                pass
        return super()._encode_plus(text, text_pair, **settings)  # type: ignore[misc]

    def _headrace_can(self, request: Request) -> bool:
        settings = request.settings
        if request.max_tokens is None:
            return True
        specials = self._headrace_specials[request.pairs is not None]
        room = request.max_tokens - (specials if settings.get("add_special_tokens", True) else 0)
        return room > 0 and room > (settings.get("stride") or 0)

    def _headrace_encode(self, request: Request) -> Any:
        owner: Any = self
        settings = request.settings
        split = settings.get("split_special_tokens")
        options = {
            "add_special_tokens": settings.get("add_special_tokens", True),
            "max_tokens": request.max_tokens,
            "truncation_side": owner.truncation_side,
            "allow_special": not (owner.split_special_tokens if split is None else split),
        }
        wanted = request.columns(set(owner.model_input_names))
        known = {"input_ids", "attention_mask"} | (set() if self._headrace_types else {"token_type_ids"})
        is_plain = request.pairs is None and not request.overflows and known.issuperset(wanted)
        make = plain_rows if is_plain else matrix_rows
        rows = make(self._headrace, owner, request, wanted, options)
        max_length = settings.get("max_length")
        if request.padding == "max_length" and rows.longest > (max_length or 0):
            return self._headrace_usual(request)  # rows of different lengths, which are no matrix
        if settings.get("verbose", True):
            owner._eventual_warn_about_too_long_sequence(range(rows.longest), max_length, True)
        return lazy_encoding_class()(
            rows.data(request),
            tensor_type=settings.get("return_tensors"),
            usual=functools.partial(self._headrace_usual, request),
        )

    def _headrace_usual(self, request: Request) -> Any:
        text: Any = request.texts
        pair: Any = request.pairs
        if request.is_single:
            text, pair = text[0], pair and pair[0]
        return super()._encode_plus(text, pair, **request.settings)  # type: ignore[misc]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **rest: Any
    ) -> Any:
        if rest:
            return super().tokenize(text, pair, add_special_tokens, **rest)  # type: ignore[misc]
        return self._headrace.encode(
            text, pair or None, add_special_tokens=add_special_tokens, allow_special=True
        ).tokens

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


def _restored(kind: type, state: dict[str, Any]) -> Any:
    plain: Any = object.__new__(kind)
    plain.__dict__.update(state)
    return for_transformers(plain)
