"""Every family of tokenizers against the `tokenizers` library: ids, offsets and decoded text must be equal.

By default each real vocabulary sees 3,000 generated strings and some real text. The whole comparison, 20 MB of
text and 1,000,000 generated strings a family, takes minutes a family and prints a line for each:

    HEADRACE_EXHAUSTIVE=1 HEADRACE_SHARED=... python -m pytest tests/parity/test_tokenizer_families.py
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import vocabularies
from comparison import compare, compare_decoding
from corpus import shared_corpus
from generated_text import generated
from real_text import installed_lines

import headrace

EXHAUSTIVE = os.environ.get("HEADRACE_EXHAUSTIVE") == "1"


def added_contents(text: str) -> list[str]:
    return [token["content"] for token in json.loads(text)["added_tokens"]][:200]


def pair_of(text: str, tmp_path: Path) -> tuple[headrace.Tokenizer, tokenizers.Tokenizer]:
    path = tmp_path / "tokenizer.json"
    path.write_text(text, "utf-8")
    return headrace.Tokenizer.from_file(path), vocabularies.reference(text)


def generated_documents(size: int, words: list[str]) -> Iterator[str]:
    """Documents of strings that look for trouble, `size` bytes of them: what no corpus has."""
    seed = 100
    while size > 0:
        document = "".join(generated(seed, 300, words))
        yield document
        size -= len(document.encode())
        seed += 1


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
    tally = compare(ours, reference, generated(1, 3000, words))
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 30)))
    tally.add(compare(ours, reference, itertools.islice(shared_corpus(), 0, None, 100)))
    tally.add(compare_decoding(ours, reference, generated(2, 500, words)))
    assert not tally.failures


@pytest.mark.slow
@pytest.mark.skipif(not EXHAUSTIVE, reason="takes minutes a family: set HEADRACE_EXHAUSTIVE=1")
@pytest.mark.parametrize("name", vocabularies.REAL)
def test_everything(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = vocabularies.real(name)
    if text is None:
        pytest.skip(f"the tokenizer of {name} cannot be had here: set HEADRACE_SHARED or install npm")
    ours, reference = pair_of(text, tmp_path)
    words = added_contents(text)
    started = time.monotonic()
    strings = compare(ours, reference, generated(3, 1_000_000, words))
    corpus = compare(ours, reference, shared_corpus())
    corpus.add(compare(ours, reference, generated_documents(20_000_000 - corpus.bytes, words)))
    decoded = compare_decoding(ours, reference, shared_corpus())
    decoded.add(compare_decoding(ours, reference, generated(5, 100_000, words)))
    failures = []
    with capsys.disabled():
        print(f"\n{name}:", end=" ")
        for what, tally in (("strings", strings), ("documents", corpus), ("decoded", decoded)):
            print(f"{tally.texts} {what}, {tally.bytes} bytes, {tally.mismatches} mismatches", end="; ")
            failures += tally.failures
        print(f"{time.monotonic() - started:.0f} s", *failures, sep="\n  " if failures else "", flush=True)
    assert not failures


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_trained_vocabulary(name: str, tmp_path: Path) -> None:
    ours, reference = pair_of(vocabularies.trained(name), tmp_path)
    tally = compare(ours, reference, ["", " ", "\n\t ", "a" * 5000, " " * 5000, "\U0001f600" * 500])
    tally.add(compare(ours, reference, generated(7, 4000)))
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 20)))
    tally.add(compare_decoding(ours, reference, generated(8, 1000)))
    assert not tally.failures


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_threads_change_nothing(name: str, tmp_path: Path) -> None:
    ours, _ = pair_of(vocabularies.trained(name), tmp_path)
    texts = list(itertools.islice(installed_lines(), 8000))
    one, two = ours.encode_batch(texts, threads=1), ours.encode_batch(texts, threads=2)
    assert np.array_equal(one.ids, two.ids)
    assert np.array_equal(one.cu_lengths, two.cu_lengths)
