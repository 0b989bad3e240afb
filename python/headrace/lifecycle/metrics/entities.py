"""Entities as spans of words: from tags, and how many were found. The rules for tags are those of seqeval's default."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Span = tuple[str, int, int]  # kind, first word, last word


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence's tags (IOB1, IOB2, IOE, IOBES, or plain kinds), in order.

    >>> spans_of(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 1), ('LOC', 3, 3), ('LOC', 4, 4)]
    """
    found: list[Span] = []
    before, kind, start = "O", "", 0
    for i, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if tag == "O":
            mark, name = "O", ""
        elif not name:  # a plain kind without a mark
            mark, name = "I", mark
        if _ends(before, mark, kind, name):
            found.append((kind, start, i - 1))
        if _starts(before, mark, kind, name):
            start = i
        before, kind = mark, name
    return found


def _ends(before: str, mark: str, kind: str, name: str) -> bool:
    if before == "O":
        return False
    return before in "ES" or mark in "BSO" or kind != name


def _starts(before: str, mark: str, kind: str, name: str) -> bool:
    if mark == "O":
        return False
    return mark in "BS" or before in "ESO" or kind != name


def score(truth: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> dict[str, dict[str, float]]:
    """precision, recall, f1 and support of each kind, and of "micro", "macro" and "weighted" together.

    A span counts where kind, first and last word are all right.
    """
    wanted, given, right = Counter[str](), Counter[str](), Counter[str]()
    for true_spans, found_spans in zip(truth, found, strict=True):
        wanted.update(kind for kind, _, _ in true_spans)
        given.update(kind for kind, _, _ in found_spans)
        right.update(kind for kind, _, _ in set(true_spans) & set(found_spans))
    kinds = sorted({*wanted, *given})
    each = {kind: _figures(right[kind], given[kind], wanted[kind]) for kind in kinds}
    total = sum(wanted.values())
    together = {"micro": _figures(sum(right.values()), sum(given.values()), total)}
    for name in ("macro", "weighted"):
        weights = [wanted[kind] if name == "weighted" else 1 for kind in kinds]
        together[name] = {
            figure: sum(w * each[kind][figure] for w, kind in zip(weights, kinds, strict=True))
            / max(1, sum(weights))
            for figure in ("precision", "recall", "f1")
        } | {"support": float(total)}
    return {**each, **together}


def _figures(right: int, given: int, wanted: int) -> dict[str, float]:
    return {
        "precision": right / given if given else 0.0,
        "recall": right / wanted if wanted else 0.0,
        "f1": 2 * right / (given + wanted) if given + wanted else 0.0,
        "support": float(wanted),
    }
