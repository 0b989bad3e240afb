"""Which column plays which part: named by the caller, or found by the names that people give them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ..errors import InvalidArgumentError

# task -> part -> names it usually has, the likeliest first. A part with a ? may be missing.
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "classify": {
        "text": ("text", "sentence", "content", "body", "review", "message", "comment", "title", "headline", "tweet"),
        "label": ("label", "labels", "class", "category", "target", "sentiment", "topic", "y"),
    },
    "regress": {
        "text": ("text", "sentence", "content", "body", "review"),
        "label": ("label", "score", "target", "rating", "y"),
    },
    "tag": {
        "tokens": ("tokens", "words"),
        "tags": ("tags", "ner_tags", "labels", "entities"),
    },
    "rerank": {
        "query": ("query", "question", "anchor", "sentence1"),
        "document": ("document", "passage", "text", "answer", "sentence2"),
        "label": ("label", "relevance", "score", "target"),
    },
    "embed": {
        "anchor": ("anchor", "query", "question", "sentence1", "text1"),
        "positive": ("positive", "document", "answer", "sentence2", "text2", "passage"),
        "negative?": ("negative", "hard_negative"),
    },
    "similarity": {
        "first": ("sentence1", "first", "text1", "anchor"),
        "second": ("sentence2", "second", "text2", "positive"),
        "label": ("score", "label", "similarity"),
    },
    "multilabel": {
        "text": ("text", "sentence", "content", "body", "review", "message", "comment", "title", "headline", "tweet"),
        "label": ("labels", "label", "tags", "topics", "categories", "genres", "class", "category", "target"),
    },
    "tabular": {
        "label": ("label", "target", "class", "category", "outcome", "y"),
    },
    "image": {
        "path": ("path", "file", "image", "filename", "picture"),
        "label": ("label", "class", "category", "target", "y"),
    },
    "recommend": {
        "user": ("user", "user_id", "userid", "customer", "customer_id", "person"),
        "item": ("item", "item_id", "itemid", "product", "product_id", "movie", "movie_id", "film"),
        "rating?": ("rating", "score", "stars"),
        "when?": ("time", "timestamp", "date", "when"),
    },
    "generate": {
        "prompt?": ("prompt", "instruction", "question", "input"),
        "text": ("text", "completion", "response", "answer", "output"),
    },
}  # fmt: skip
_EXTRA = ("group", "time", "slice")
TEXT_PARTS = ("text", "query", "document", "anchor", "positive", "negative", "first", "second", "prompt")


def find_columns(
    task: str,
    present: Iterable[str],
    named: Mapping[str, str | None] | None = None,
    *,
    path: str = "the file",
) -> dict[str, str]:
    """Part -> column. `named` are the caller's, such as {"text": "headline"}; the rest is found by name.

    Raises InvalidArgumentError for a column that is not there; the message names those that are near.

    >>> find_columns("classify", ["Sentence", "id", "label"])
    {'text': 'Sentence', 'label': 'label'}
    """
    names = list(present)
    lower = {name.lower(): name for name in reversed(names)}
    given = {part: name for part, name in (named or {}).items() if name is not None}
    for part, name in given.items():
        if name not in names:
            raise InvalidArgumentError(
                _missing(path, f"no column {name!r} for the {part}", name, names, part)
            )
    found: dict[str, str] = {}
    for written, usual in PARTS[task].items():
        part = written.removesuffix("?")
        choice = given.get(part)
        if choice is None:
            # A query may well be the group too: what only tells rows apart takes no part from another.
            taken = {*found.values(), *(name for part, name in given.items() if part not in _EXTRA)}
            choice = next((lower[n] for n in usual if n in lower and lower[n] not in taken), None)
        if choice is not None:
            found[part] = choice
        elif not written.endswith("?"):
            raise InvalidArgumentError(
                _missing(
                    path, f"no column for the {part} (looked for {', '.join(usual)})", usual[0], names, part
                )
            )
    for part in _EXTRA:
        if part in given:
            found[part] = given[part]
    return found


def _missing(path: str, what: str, wanted: str, names: list[str], part: str) -> str:
    near = difflib.get_close_matches(wanted.lower(), [name.lower() for name in names], n=3, cutoff=0.5)
    likely = [name for name in names if name.lower() in near]
    hint = f"; did you mean {' or '.join(map(repr, likely))}?" if likely else ""
    listed = ", ".join(map(repr, names[:30]))
    return f"{path}: {what}{hint} The columns are {listed}: name one by --{part}-column"
