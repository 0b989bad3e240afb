"""The second tier of masking: what has no rules, such as names, found by a model that tags or by presidio-analyzer.

    names = headrace.load("models/ner")                         # any model for tag, of any language
    masker = Masker(second=tagged(names))                       # or Masker(second=presidio(names))
    masker.mask("Maria Smith, maria@example.com").text          # '[PERSON], [EMAIL]'

It sees the whole text, takes a model's time and finds what the model was trained for; the rules go first.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from .masking import Finding, Found, Masker, MaskStream, SecondTier, merged

if TYPE_CHECKING:
    from ..loaded_model import Model
    from ..results import Entity

# What models commonly call them; a model with other labels says so by `kinds`.
KINDS_OF_LABELS = {
    **dict.fromkeys(
        ("PER", "PERSON", "GIVENNAME", "GIVEN_NAME", "SURNAME", "FIRSTNAME", "LASTNAME", "NAME"), "person"
    ),
    **dict.fromkeys(("LOC", "LOCATION", "GPE", "CITY", "STREET", "ADDRESS"), "location"),
    **dict.fromkeys(("ORG", "ORGANIZATION", "COMPANY"), "organization"),
}
_PRESIDIO_NAMES = {"person": "PERSON", "location": "LOCATION", "organization": "ORGANIZATION"}
# Presidio's own kinds that the rules of the first tier have, and those that need a language model of spaCy.
_LEFT_OUT = {
    *("CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER"),
    *("DATE_TIME", "NRP", "PERSON", "LOCATION", "ORGANIZATION", "URL"),
}
_BORDER = re.compile(r"[.!?](?=\s)|[\n\u3002\uff01\uff1f]")
_LONGEST = 1280  # characters without a sentence's end after which a stream is cut between two words


def tagged(model: Model, kinds: Mapping[str, str] | None = None, *, min_score: float = 0.5) -> SecondTier:
    """Entities that a model for `tag` finds.

    Args:
        kinds: label of the model (without B- and I-) -> what it is masked as; by default `KINDS_OF_LABELS`.
        min_score: what is less likely stays.

    Raises InvalidArgumentError for a model of another task, or one that has none of the labels.

    >>> import headrace, headrace.toy
    >>> from headrace.security.masking import Masker
    >>> from headrace.security.second_tier import tagged
    >>> with headrace.load(headrace.toy.model("tag")) as model:
    ...     found = Masker(second=tagged(model, min_score=0)).mask("maria@example.com, Maria")
    ...     found.text.startswith("[EMAIL]"), {one.kind for one in found.findings} <= {"email", "person", "location"}
    (True, True)
    """
    read = findings_of(model, kinds, min_score)

    def find(text: str) -> Iterable[Finding]:
        if not text.strip():
            return []
        return read(model.tag(plain_unicode(text), aggregation="max")[0])

    return find


def findings_of(
    model: Model, kinds: Mapping[str, str] | None = None, min_score: float = 0.5
) -> Callable[[Iterable[Entity]], list[Finding]]:
    """What makes findings of the model's entities (aggregation "max"); arguments and errors are those of `tagged`."""
    model._check_task("tag")
    known = KINDS_OF_LABELS if kinds is None else dict(kinds)
    labels = {label.partition("-")[2] or label for label in model.info.labels}
    if not labels & known.keys():
        raise InvalidArgumentError(
            f"the model {model.name!r} has none of the labels {', '.join(sorted(known))}; its labels are "
            f"{', '.join(sorted(labels))}: give kinds, such as {{'PER': 'person'}}"
        )

    def read(entities: Iterable[Entity]) -> list[Finding]:
        return [
            Finding(known[each.label], each.start, each.end)
            for each in entities
            if each.label in known and each.score >= min_score
        ]

    return read


def presidio(
    model: Model | None = None,
    *,
    language: str = "en",
    min_score: float = 0.5,
    entities: Iterable[str] | None = None,
) -> SecondTier:
    """What presidio-analyzer's recognisers of a language find, by patterns and checks, such as national numbers of many
    countries; and with a `model` for tag the entities that it finds (`tagged`). No language model of spaCy is needed.

    entities: presidio's names of what to find, such as US_SSN; by default all that the rules do not have.

    Raises InvalidArgumentError where the extra is missing, for a language or an entity that presidio does not have, and
    as `tagged`.
    """
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerRegistry, RecognizerResult
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError:
        raise InvalidArgumentError(
            "masking by presidio needs presidio-analyzer: run: pip install 'headrace[presidio]'"
        ) from None
    # It would ask the network for a list of domains; e-mail is the first tier's.
    logging.getLogger("tldextract").disabled = True
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    nlp = SpacyNlpEngine(models=[{"lang_code": language, "model_name": "blank"}])
    try:
        blank = spacy.blank(language)
    except ImportError:
        raise InvalidArgumentError(f"language={language!r}: spaCy does not know it") from None
    blank.max_length = sys.maxsize  # its limit is for parsers, which a blank one has none of
    nlp.nlp = {language: blank}
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language])
    if model is not None:
        find_names = tagged(model, min_score=min_score)

        class TagRecognizer(EntityRecognizer):  # type: ignore[misc]
            """Our model as one of presidio's recognisers, so that its thresholds and context words hold for both."""

            def load(self) -> None:
                """It is loaded."""

            def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
                found = [(_PRESIDIO_NAMES.get(one.kind, one.kind.upper()), one) for one in find_names(text)]
                return [
                    RecognizerResult(name, one.begin, one.end, 1.0) for name, one in found if name in entities
                ]

        names = list(_PRESIDIO_NAMES.values())
        registry.add_recognizer(TagRecognizer(names, name="headrace", supported_language=language))
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[language])
    there = set(engine.get_supported_entities(language))
    wanted = there - (_LEFT_OUT if model is None else _LEFT_OUT - set(_PRESIDIO_NAMES.values()))
    if entities is not None:
        wanted = set(entities)
        if unknown := wanted - there:
            raise InvalidArgumentError(
                f"entities={sorted(unknown)}: presidio has for {language!r}: {', '.join(sorted(there))}"
            )
    chosen = sorted(wanted)

    def find(text: str) -> Iterable[Finding]:
        if not text.strip():
            return []
        found = engine.analyze(text, language=language, entities=chosen, score_threshold=min_score)
        return [Finding(one.entity_type.lower(), one.start, one.end) for one in found]

    return find


def plain_unicode(text: str) -> str:
    """Lone surrogates, which no tokenizer takes, as as many other characters."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


class SentenceStream(MaskStream):
    """A stream whose text comes out by sentences, since a second tier has to see what stands around a name.

    What the rules find is as in the whole text; the second tier sees one sentence at a time (or 1,280 characters).
    """

    def __init__(self, masker: Masker) -> None:
        super().__init__(masker)
        self._second = masker.second
        self._text = ""
        self._found: list[Found] = []

    def take(self, piece: str, *, is_last: bool) -> tuple[str, list[Found]]:
        text, found = super().take(piece, is_last=is_last)
        at = len(self._text)
        self._text += text
        self._found += [(kind, begin + at, end + at) for kind, begin, end in found]
        return self._cut(len(self._text) if is_last else self._border())

    def write(self, text: str, found: list[Found]) -> str:
        if text and self._second is not None:
            found = merged(text, found, self._second(text))
        return super().write(text, found)

    def _border(self) -> int:
        """The last end of a sentence, or of a word where sentences do not end; 0 where it is yet to come."""
        border = max(
            (match.end() for match in _BORDER.finditer(self._text) if self._is_outside(match.end())),
            default=0,
        )
        if border == 0 and len(self._text) > _LONGEST:
            border = max(
                (m.end() for m in re.finditer(r"\s", self._text) if self._is_outside(m.end())), default=0
            )
        return border

    def _is_outside(self, place: int) -> bool:
        return not any(begin < place < end for _, begin, end in self._found)

    def _cut(self, border: int) -> tuple[str, list[Found]]:
        """What stands before the border, which goes."""
        text, self._text = self._text[:border], self._text[border:]
        found = [each for each in self._found if each[1] < border]
        self._found = [(kind, begin - border, end - border) for kind, begin, end in self._found[len(found) :]]
        return text, found
