"""Texts that must have a form: a JSON schema, a regular expression, a choice or a grammar, kept by llguidance.

The core asks before each token which ones may come; the grammar's own automaton answers with a bit for each.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from .errors import InternalError, InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    import llguidance

    from ._core import Tokenizer

MAX_FORM_CHARACTERS = 65_536
_KEPT = 64  # compiled forms
_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


class Forms:
    """The forms of one model's texts, compiled once each.

    Args:
        tokenizer: the model's.
        vocabulary: how many tokens its logits have.
        end_ids: the tokens that end its texts.

    Raises:
        UnsupportedError: the extra `structured` is not installed, or the model has no token that ends a text.

    >>> import headrace
    >>> with headrace.load("demo:smollm2") as model:
    ...     print(model.generate("The sky is", choice=[" blue", " green"], temperature=0))
     blue
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, end_ids: list[int]) -> None:
        try:
            import llguidance
        except ImportError:
            raise UnsupportedError(
                "texts of a given form need llguidance: pip install 'headrace[structured]'"
            ) from None
        if not end_ids:
            raise UnsupportedError("the model names no token that ends a text: no form can be kept")
        self._library = llguidance
        self._tokens = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(_Vocabulary(tokenizer, vocabulary, end_ids)),
            n_vocab=vocabulary,
            eos_token=list(end_ids),
        )
        self._compiled: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()
        self._lock = Lock()

    def mask(self, kind: str, form: Any) -> TokenMask:
        """What the core asks for one text; InvalidArgumentError for a form that does not compile.

        Args:
            kind: "json_schema", "regex", "choice" or "grammar".
            form: as `headrace.Sampling` takes it.
        """
        grammar = self._grammar(kind, form)
        with self._lock:
            matcher = self._compiled.get(grammar)
        if matcher is None:
            matcher = self._library.LLMatcher(self._tokens, grammar, log_level=0)
            if matcher.is_error():
                raise InvalidArgumentError(f"{kind} does not compile: {_short(matcher.get_error())}")
        with self._lock:
            self._compiled[grammar] = matcher
            self._compiled.move_to_end(grammar)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return TokenMask(matcher.deep_copy())

    def _grammar(self, kind: str, form: Any) -> str:
        library = self._library.LLMatcher
        if kind == "choice":
            texts = [form] if isinstance(form, str) else list(form)
            if not texts or not all(isinstance(text, str) and text for text in texts):
                raise InvalidArgumentError("choice must be a list of texts, none of them empty")
            _check_size(kind, sum(map(len, texts)))
            quoted = (json.dumps(text, ensure_ascii=False) for text in texts)
            return library.grammar_from_lark("start: " + " | ".join(quoted))
        if kind == "json_schema":
            text = form if isinstance(form, str) else _dumped(form)
            _check_size(kind, len(text))
            try:
                if not isinstance(json.loads(text), (dict, bool)):
                    raise InvalidArgumentError("json_schema must be an object, such as {'type': 'object'}")
                return library.grammar_from_json_schema(text)
            except ValueError as error:
                if isinstance(error, InvalidArgumentError):
                    raise
                raise InvalidArgumentError(f"json_schema is not JSON: {_short(str(error))}") from None
            except RecursionError:
                raise InvalidArgumentError("json_schema is nested too deeply") from None
        if not isinstance(form, str) or not form:
            raise InvalidArgumentError(f"{kind} must be a text that is not empty")
        _check_size(kind, len(form))
        return library.grammar_from_regex(form) if kind == "regex" else library.grammar_from_lark(form)


class TokenMask:
    """One text on its way through its form; the core's thread calls it."""

    def __init__(self, matcher: llguidance.LLMatcher) -> None:
        self._matcher = matcher

    def fill(self, address: int, size: int) -> None:
        """Writes at `address` a bit for each token that may come next."""
        self._matcher.unsafe_compute_mask_ptr(address, size)
        self._check()

    def count_allowed(self, tokens: list[int]) -> int:
        """How many of `tokens`, from the first on, may come one after another; nothing changes."""
        count = self._matcher.validate_tokens(tokens)
        self._check()
        return count

    def take(self, token: int) -> bool:
        """Whether the text is complete with this token."""
        self._matcher.consume_token(token)
        self._check()
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InternalError(_short(self._matcher.get_error()))


class _Vocabulary:
    """The bytes of every token, as llguidance wants to see a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, end_ids: list[int]) -> None:
        self.eos_token_id = end_ids[0]
        self.bos_token_id = None
        special = set(tokenizer.special_tokens())
        spelled = [tokenizer.id_to_token(i) for i in range(vocabulary)]
        known = {token for token in spelled if token is not None}
        self.special_token_ids = [i for i, token in enumerate(spelled) if token is None or token in special]
        to_bytes = _spelled_in_pieces if any(map(_BYTE_TOKEN.fullmatch, known)) else _spelled_in_bytes
        if not any("Ġ" in token or "▁" in token for token in known):
            raise UnsupportedError("the bytes of this tokenizer's tokens are not known: no form can be kept")
        self.tokens = [
            b"" if token is None else token.encode() if token in special else to_bytes(token)
            for token in spelled
        ]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes | str) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        return self._tokenizer.encode_ids(text, add_special_tokens=False)


def _spelled_in_pieces(token: str) -> bytes:
    """SentencePiece: spaces as U+2581, and single bytes as <0x41>."""
    byte = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def _spelled_in_bytes(token: str) -> bytes:
    if all(character in _ALPHABET for character in token):
        return bytes(_ALPHABET[character] for character in token)
    return token.encode()


def _dumped(form: Any) -> str:
    try:
        return json.dumps(form)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"json_schema is not JSON: {_short(str(error))}") from None


def _check_size(kind: str, size: int) -> None:
    if size > MAX_FORM_CHARACTERS:
        raise InvalidArgumentError(f"{kind} has {size} characters: at most {MAX_FORM_CHARACTERS}")


def _short(message: str) -> str:
    return " ".join(message.split())[:300]
