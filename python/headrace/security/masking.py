"""Masking of personal data in text, whole or as it arrives.

Numbers and addresses are found by their own rules (checksums, lengths, allowed codes), in plain, full-width and spaced
writing, and replaced in one of four ways:

    mask        [EMAIL]                    a label of the kind
    hash        [EMAIL:9f86d081884c7d65]   a keyed code: the same value gives the same code, and only with the key
    reversible  <EMAIL_1>                  numbered within a text; `Masker.unmask` puts the values back
    drop                                   nothing

Names of people have no rules: a second tier finds them (second_tier.py). docs/security.md says what is found and how
well.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from .._core import PersonalDataFinder, personal_data_kinds
from ..errors import InvalidArgumentError

__all__ = ["KINDS", "Finding", "MaskStream", "Masked", "Masker", "Mode"]

Mode = Literal["mask", "hash", "reversible", "drop"]
KINDS: tuple[str, ...] = tuple(personal_data_kinds())
"""The kinds of personal data that can be found."""

_LABELS = {kind: f"[{kind.upper()}]" for kind in KINDS}
_MODES: tuple[str, ...] = get_args(Mode)
# What a literal placeholder of a text is called in the mapping, so that `unmask` gives it back.
_LITERAL = "placeholder"
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_[0-9]{1,10}>")
_SHORTEST_KEY = 16
_Result = TypeVar("_Result")
Found = tuple[str, int, int]  # kind, begin, end
SecondTier = Callable[[str], Iterable["Finding"]]
"""What finds more in a text: places in characters, of kinds of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: `text[begin:end]` of the text as it was."""

    kind: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Masked:
    """A masked text.

    `findings` are places in the original text. `mapping` leads from each placeholder to what it stands for; it is
    empty but in the mode "reversible", and is as secret as the text was.
    """

    text: str
    findings: list[Finding]
    mapping: dict[str, str] = field(repr=False)


class _Writer:
    """What stands in the place of a finding. One for each text: it numbers the values."""

    def __init__(self, mode: Mode, key: bytes | None) -> None:
        self.mapping: dict[str, str] = {}
        self._placeholders: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._mode = mode
        self._key = key

    def __call__(self, text: str, found: Sequence[tuple[str, int, int]]) -> str:
        if not found:
            return text
        parts: list[str] = []
        at = 0
        for kind, begin, end in found:
            parts += (text[at:begin], self._replacement(kind, text[begin:end]))
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def _replacement(self, kind: str, value: str) -> str:
        if self._mode == "mask":
            return _LABELS.get(kind) or f"[{kind.upper()}]"
        if self._mode == "drop":
            return ""
        return self._code(kind, value) if self._mode == "hash" else self._placeholder(kind, value)

    def _code(self, kind: str, value: str) -> str:
        assert self._key is not None
        message = f"{kind}\0{_plain(kind, value)}".encode("utf-8", "surrogatepass")
        return f"[{kind.upper()}:{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:16]}]"

    def _placeholder(self, kind: str, value: str) -> str:
        known = self._placeholders.get((kind, value))
        if known is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = f"<{kind.upper()}_{self._counts[kind]}>"
            self._placeholders[kind, value] = known
            self.mapping[known] = value
        return known


def _plain(kind: str, value: str) -> str:
    """The value without the ways to write it: full-width as ASCII, no separators, one case."""
    plain = unicodedata.normalize("NFKC", value).casefold()
    if kind not in KINDS:  # a name keeps its words apart
        return " ".join(plain.split())
    if kind in ("email", "ip", "cn_address"):
        return "".join(plain.split())
    plain = "".join(c for c in plain if c.isalnum() or c == "+")
    # one mobile number with and without its country
    return plain[-11:] if kind == "cn_mobile" else plain


class Masker:
    """Replaces personal data in texts. Thread-safe.

    Args:
        kinds: those to find, of `KINDS`; default: all.
        mode: "mask", "hash", "reversible" or "drop".
        key: for "hash", at least 16 bytes, or a str of as many. Codes under another key tell nothing about these.
        second: what finds more, such as names (see `headrace.security.second_tier`). Where both find, the rules win.

    Raises:
        InvalidArgumentError: an unknown kind or mode, a key that is missing, too short, or given to another mode.

    Example:
        >>> from headrace.security.masking import Masker
        >>> Masker().mask("Write to maria@example.com or call +44 20 7946 0958.").text
        'Write to [EMAIL] or call [PHONE].'
        >>> masker = Masker(mode="reversible")
        >>> masked = masker.mask("Is maria@example.com in?")
        >>> masked.text
        'Is <EMAIL_1> in?'
        >>> masker.unmask("Yes, <EMAIL_1> is.", masked.mapping)
        'Yes, maria@example.com is.'
    """

    def __init__(
        self,
        kinds: Iterable[str] | None = None,
        mode: Mode = "mask",
        key: bytes | str | None = None,
        second: SecondTier | None = None,
    ) -> None:
        if mode not in _MODES:
            raise InvalidArgumentError(f"mode={mode!r}; choose from {', '.join(_MODES)}")
        if isinstance(kinds, str):
            raise InvalidArgumentError(f"kinds is the str {kinds!r}; give a list, such as [{kinds!r}]")
        if (mode == "hash") != (key is not None):
            raise InvalidArgumentError(
                "mode='hash' needs a key: give at least 16 random bytes, and keep them to get the same codes again"
                if mode == "hash"
                else f"a key is for mode='hash', not for mode={mode!r}"
            )
        secret = key.encode() if isinstance(key, str) else key
        if secret is not None and len(secret) < _SHORTEST_KEY:
            raise InvalidArgumentError(
                f"the key has {len(secret)} bytes; give at least {_SHORTEST_KEY}, such as secrets.token_bytes(32)"
            )
        self.mode: Mode = mode
        self.kinds: tuple[str, ...] = KINDS if kinds is None else tuple(dict.fromkeys(kinds))
        self._key = secret
        self.second = second
        self._finder = PersonalDataFinder(list(self.kinds), placeholders=mode == "reversible")

    def with_second(self, second: SecondTier) -> Masker:
        """The same rules, mode and key, with a second tier of its own.

        Example:
            >>> from headrace.security.masking import Finding, Masker
            >>> Masker().with_second(lambda text: [Finding("person", 0, 5)]).mask("Maria rang.").text
            '[PERSON] rang.'
        """
        other = copy.copy(self)
        other.second = second
        return other

    def mask(self, text: str) -> Masked:
        """The text without its personal data.

        Example:
            >>> from headrace.security.masking import Masker
            >>> Masker(["cn_mobile"]).mask("电话：138 0013 8000，找王芳")
            Masked(text='电话：[CN_MOBILE]，找王芳', findings=[Finding(kind='cn_mobile', begin=3, end=16)])
        """
        if not isinstance(text, str):
            raise InvalidArgumentError(f"text is of type {type(text).__name__}; give a str")
        writer = _Writer(self.mode, self._key)
        found = _of_utf8(self._finder.find, text)
        if self.second is not None:
            found = merged(text, found, self.second(text))
        return Masked(writer(text, found), _findings(found, 0), writer.mapping)

    def mask_many(self, texts: Iterable[str]) -> list[Masked]:
        """`mask` for each text; placeholders are numbered within each.

        Example:
            >>> from headrace.security.masking import Masker
            >>> [masked.text for masked in Masker(mode="drop").mask_many(["at 10.0.0.1", "nothing"])]
            ['at ', 'nothing']
        """
        if isinstance(texts, str):
            raise InvalidArgumentError("texts is one str; give a list of them, or call mask")
        return [self.mask(text) for text in texts]

    def unmask(self, text: str | Masked, mapping: Mapping[str, str] | None = None) -> str:
        """Puts back what the placeholders stand for; those that the mapping does not know stay.

        Args:
            text: what `mask` returned, or any text with its placeholders, such as a model's answer.
            mapping: that of `mask`; default: that of a `Masked`.

        Example:
            >>> from headrace.security.masking import Masker
            >>> masker = Masker(mode="reversible")
            >>> masker.unmask(masker.mask("card 4111 1111 1111 1111"))
            'card 4111 1111 1111 1111'
        """
        if isinstance(text, Masked):
            mapping = text.mapping if mapping is None else mapping
            text = text.text
        if mapping is None:
            raise InvalidArgumentError("unmask of a str needs the mapping that mask() returned for it")
        known = mapping
        return _PLACEHOLDER.sub(lambda match: known.get(match.group(), match.group()), text)

    def stream(self) -> MaskStream:
        """For a text that arrives in pieces, such as a model's answer.

        Example:
            >>> from headrace.security.masking import Masker
            >>> stream = Masker().stream()
            >>> stream.feed("Ask maria@exa"), stream.feed("mple.com, please"), stream.finish()
            ('', 'Ask [EMAIL],', ' please')
        """
        if self.second is not None:
            from .second_tier import SentenceStream

            return SentenceStream(self)
        return MaskStream(self)


class MaskStream:
    """Masks a text that arrives in pieces: what comes out is what `Masker.mask` makes of the whole, however it is cut.

    A piece comes out when nothing that follows can change it: as a rule at the next comma, line or longer word, and
    1,280 bytes later at most. Not thread-safe. `findings` and `mapping` grow as text comes out.
    """

    def __init__(self, masker: Masker) -> None:
        self._stream = masker._finder.stream()
        self._writer = _Writer(masker.mode, masker._key)
        self._length = 0
        self.findings: list[Finding] = []

    @property
    def mapping(self) -> dict[str, str]:
        """From each placeholder so far to what it stands for."""
        return self._writer.mapping

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns the masked text that is safe to release."""
        return self.write(*self.take(piece, is_last=False))

    def finish(self) -> str:
        """The rest of the masked text."""
        return self.write(*self.take("", is_last=True))

    def take(self, piece: str, *, is_last: bool) -> tuple[str, list[Found]]:
        """Takes the next piece; what of the text is safe to release, and what the rules found there, for `write`."""
        text, found = _of_utf8(self._stream.feed, piece)
        if is_last:
            rest, more = self._stream.finish()
            found = found + [(kind, begin + len(text), end + len(text)) for kind, begin, end in more]
            text += rest
        return text, found

    def write(self, text: str, found: list[Found]) -> str:
        """What `take` gave, masked where `found` says."""
        self.findings += _findings(found, self._length)
        self._length += len(text)
        return self._writer(text, found)


def merged(text: str, found: list[Found], second: Iterable[Finding]) -> list[Found]:
    """What the rules found and, where they found nothing, what the second tier did; in the order of the text.

    Of what lies partly under another finding, the rest is one of its own: a name does not stay because an address
    follows it.
    """
    ends = [end for _, _, end in found]
    both = list(found)
    at = 0  # where the second tier's findings end so far
    for each in sorted(second, key=lambda one: (one.begin, -one.end)):
        begin = max(each.begin, at)
        place = bisect_right(ends, begin)
        while begin < each.end:
            stop, after = found[place][1:] if place < len(found) else (each.end, each.end)
            part = Finding(each.kind, begin, min(stop, each.end))
            if part != each:
                part = _rest(text, part)
            if part.begin < part.end:
                both.append((part.kind, part.begin, part.end))
            begin, place = after, place + 1
        at = max(at, each.end)
    return sorted(both, key=lambda one: one[1])


def _rest(text: str, part: Finding) -> Finding:
    """Without the blanks around it; empty where it has no letter and no digit."""
    rest = text[part.begin : part.end]
    begin = part.begin + len(rest) - len(rest.lstrip())
    return Finding(part.kind, begin, begin + len(rest.strip()) if any(map(str.isalnum, rest)) else begin)


def _findings(found: Sequence[tuple[str, int, int]], offset: int) -> list[Finding]:
    return [Finding(kind, begin + offset, end + offset) for kind, begin, end in found if kind != _LITERAL]


def _of_utf8(function: Callable[[str | bytes], _Result], text: str) -> _Result:
    """function(text), or of its bytes where a lone surrogate is in it: it must be masked all the same."""
    try:
        return function(text)
    except InvalidArgumentError:
        return function(text.encode("utf-8", "surrogatepass"))
