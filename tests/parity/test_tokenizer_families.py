"""Every family of tokenizers against the `tokenizers` library: ids, offsets and decoded text must be equal.

By default each real vocabulary sees 3,000 generated strings and some real text. The whole comparison, 20 MB of
text and 1,000,000 generated strings a family, takes half an hour:

    HEADRACE_EXHAUSTIVE=1 HEADRACE_SHARED=... python -m pytest tests/parity/test_tokenizer_families.py
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import vocabularies
from generated_text import generated
from real_text import installed_lines

import headrace

EXHAUSTIVE = os.environ.get("HEADRACE_EXHAUSTIVE") == "1"
BLOCK = 2000


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, BLOCK)):
        yield batch


def compare(
    ours: headrace.Tokenizer, reference: tokenizers.Tokenizer, texts: Iterable[str], *, offsets: bool = True
) -> int:
    """Asserts that all is equal; returns how many texts there were."""
    count = 0
    for batch in batches(texts):
        ragged = ours.encode_batch(batch, allow_special=True)
        for i, (text, right) in enumerate(zip(batch, reference.encode_batch(batch), strict=True)):
            assert ragged[i].tolist() == right.ids, repr(text)
            if offsets:
                left = ours.encode(text, allow_special=True)
                assert left.ids == right.ids, repr(text)
                assert left.offsets == right.offsets, repr(text)
                assert left.special_tokens_mask == right.special_tokens_mask, repr(text)
        count += len(batch)
    return count


def compare_decoding(ours: headrace.Tokenizer, reference: tokenizers.Tokenizer, texts: Iterable[str]) -> None:
    for text in texts:
        ids = reference.encode(text).ids
        for skip in (False, True):
            expected = reference.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == expected, repr(text)


def added_contents(text: str) -> list[str]:
    return [token["content"] for token in json.loads(text)["added_tokens"]][:200]


def pair_of(text: str, tmp_path: Path) -> tuple[headrace.Tokenizer, tokenizers.Tokenizer]:
    path = tmp_path / "tokenizer.json"
    path.write_text(text, "utf-8")
    return headrace.Tokenizer.from_file(path), vocabularies.reference(text)


def shared_corpus() -> Iterator[str]:
    """Real text of many languages in documents of up to 30 lines; nothing unless HEADRACE_SHARED is set."""
    shared = os.environ.get("HEADRACE_SHARED")
    if not shared:
        return
    path = Path(shared) / "workloads" / "corpus.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as corpus:
        while lines := list(itertools.islice(corpus, 30)):
            yield "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", vocabularies.REAL)
def test_real_vocabulary(name: str, tmp_path: Path) -> None:
    text = vocabularies.real(name)
    if text is None:
        pytest.skip(
            f"the tokenizer of {name} cannot be had here: set HEADRACE_SHARED or install npm; a trained one of "
            "its family is compared in test_trained_vocabulary"
        )
    ours, reference = pair_of(text, tmp_path)
    words = added_contents(text)
    compare(ours, reference, generated(1, 3000, words))
    compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 30))
    compare(ours, reference, itertools.islice(shared_corpus(), 0, None, 100))
    compare_decoding(ours, reference, generated(2, 500, words))
    if EXHAUSTIVE:
        assert compare(ours, reference, generated(3, 1_000_000, words), offsets=False) == 1_000_000
        compare(ours, reference, generated(4, 100_000, words))
        compare_decoding(ours, reference, generated(5, 100_000, words))
        size = sum(len(document.encode()) for document in shared_corpus())
        compare(ours, reference, shared_corpus())
        left = 20_000_000 - size
        while left > 0:  # as much again of what no corpus has
            documents = ["".join(generated(left, 300, words))]
            compare(ours, reference, documents)
            left -= len(documents[0].encode())
        compare_decoding(ours, reference, shared_corpus())


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_trained_vocabulary(name: str, tmp_path: Path) -> None:
    ours, reference = pair_of(vocabularies.trained(name), tmp_path)
    compare(ours, reference, ["", " ", "\n\t ", "a" * 5000, " " * 5000, "\U0001f600" * 500])
    compare(ours, reference, generated(7, 4000))
    compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 20))
    compare_decoding(ours, reference, generated(8, 1000))


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_threads_change_nothing(name: str, tmp_path: Path) -> None:
    ours, _ = pair_of(vocabularies.trained(name), tmp_path)
    texts = list(itertools.islice(installed_lines(), 8000))
    one, two = ours.encode_batch(texts, threads=1), ours.encode_batch(texts, threads=2)
    assert np.array_equal(one.ids, two.ids)
    assert np.array_equal(one.cu_lengths, two.cu_lengths)
