"""Counts where two tokenizers differ, and shrinks a text on which they do to one that shows why."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import tokenizers

import headrace

BLOCK = 2000


@dataclass
class Tally:
    """What was compared so far. Every failure in `failures` names a text that cannot be made shorter."""

    texts: int = 0
    bytes: int = 0
    mismatches: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.texts += other.texts
        self.bytes += other.bytes
        self.mismatches += other.mismatches
        self.failures += other.failures

    def fail(self, text: str, differs: Callable[[str], bool], what: str) -> None:
        self.mismatches += 1
        if len(self.failures) < 5:
            self.failures.append(f"{what}: {minimal(text, differs)!r}")


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while block := list(itertools.islice(iterator, BLOCK)):
        yield block


def minimal(text: str, differs: Callable[[str], bool]) -> str:
    """A short part of text for which differs() still holds: stretches are left out while it does."""
    if not differs(text):
        return text  # only in company of others: nothing to shrink
    step = max(1, len(text) // 2)
    while True:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + step :]
            if differs(shorter):
                text = shorter
            else:
                at += step
        if step == 1:
            return text
        step = max(1, step // 2)


def compare(ours: headrace.Tokenizer, reference: tokenizers.Tokenizer, texts: Iterable[str]) -> Tally:
    """Ids alone and in a batch, offsets and the special tokens' mask."""

    def of(text: str) -> tuple[object, ...]:
        found = ours.encode(text, allow_special=True)
        return found.ids, found.offsets, found.special_tokens_mask

    def expected(text: str) -> tuple[object, ...]:
        right = reference.encode(text)
        return right.ids, right.offsets, right.special_tokens_mask

    tally = Tally()
    for block in blocks(texts):
        ragged = ours.encode_batch(block, allow_special=True)
        for i, (text, right) in enumerate(zip(block, reference.encode_batch(block), strict=True)):
            tally.texts += 1
            tally.bytes += len(text.encode())
            left = of(text)
            if ragged[i].tolist() != left[0] or left != (right.ids, right.offsets, right.special_tokens_mask):
                tally.fail(text, lambda part: of(part) != expected(part), "encoding")
    return tally


def compare_decoding(
    ours: headrace.Tokenizer, reference: tokenizers.Tokenizer, texts: Iterable[str]
) -> Tally:
    """The text of the reference's ids, with special tokens and without."""
    tally = Tally()
    for block in blocks(texts):
        ids = [found.ids for found in reference.encode_batch_fast(block)]
        tally.texts += len(block)
        tally.bytes += sum(len(text.encode()) for text in block)
        for skip in (False, True):

            def differs(text: str, skip: bool = skip) -> bool:
                found = reference.encode(text).ids
                expected = reference.decode(found, skip_special_tokens=skip)
                return ours.decode(found, skip_special_tokens=skip) != expected

            left = ours.decode_batch(ids, skip_special_tokens=skip)
            right = reference.decode_batch(ids, skip_special_tokens=skip)
            for i in (i for i, text in enumerate(left) if text != right[i]):
                tally.fail(block[i], differs, "decoding")
    return tally
