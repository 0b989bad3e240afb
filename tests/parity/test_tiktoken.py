"""tiktoken's rank files against `tiktoken`: ids and decoded text must be equal, for every encoding it knows.

Patterns and special tokens are tiktoken's own. The ranks are real ones where HEADRACE_SHARED has them; else those
of a small trained tokenizer, and behind them tokens of random parts, most of which no merge ever reaches.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
import tiktoken
import tiktoken_ext.openai_public as openai_public
import vocabularies
from comparison import Tally
from corpus import shared_corpus
from generated_text import generated
from real_text import installed_lines
from tokenizers import Tokenizer

import headrace

EXHAUSTIVE = os.environ.get("HEADRACE_EXHAUSTIVE") == "1"
REAL = {"gpt2": "gpt2/gpt2.tiktoken.gz", "cl100k_base": "cl100k/cl100k_base.tiktoken.gz"}
ENCODINGS = sorted(openai_public.ENCODING_CONSTRUCTORS)
LONG = ["a" * 5000, " " * 3000, "\n" * 3000, "\U0001f600" * 500, "ab " * 2000, "1" * 1000, "A" * 1000]

Ranks = dict[bytes, int]


def trained_ranks(count: int) -> Ranks:
    """The bytes, then a small trained vocabulary, then tokens of two or three random ones before them."""
    trained = Tokenizer.from_str(vocabularies.trained("byte-level BPE"))
    alphabet = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in alphabet]
    byte_of = {chr(byte): byte for byte in alphabet} | {chr(256 + i): byte for i, byte in enumerate(others)}
    vocabulary = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    tokens = dict.fromkeys(bytes(byte_of[c] for c in token) for token, _ in vocabulary)
    chance = random.Random(1)
    while len(tokens) < count:
        parts = chance.choices(list(itertools.islice(tokens, 4000)), k=chance.randrange(2, 4))
        tokens[b"".join(parts)[:500]] = None
    return {token: rank for rank, token in enumerate(tokens)}


def pair_of(
    name: str, ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[headrace.Tokenizer, tiktoken.Encoding]:
    for loader in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(openai_public, loader, lambda *_, **__: ranks)
    settings = openai_public.ENCODING_CONSTRUCTORS[name]()
    settings.pop("explicit_n_vocab", None)
    path = tmp_path / f"{name}.tiktoken"
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items()))
    return headrace.Tokenizer.from_file(path), tiktoken.Encoding(**settings)


def compare(ours: headrace.Tokenizer, reference: tiktoken.Encoding, texts: Iterable[str]) -> Tally:
    def expected(text: str, special: bool) -> list[int]:
        return reference.encode(text, allowed_special="all" if special else set(), disallowed_special=())

    def differs(text: str) -> bool:
        return any(
            ours.encode(text, allow_special=special).ids != expected(text, special)
            for special in (True, False)
        ) or ours.decode(expected(text, False)) != reference.decode(expected(text, False))

    tally = Tally()
    texts = list(texts)
    batches = [ours.encode_batch(texts, allow_special=special) for special in (False, True)]
    for i, text in enumerate(texts):
        tally.texts += 1
        tally.bytes += len(text.encode())
        ids = expected(text, False)
        if (
            batches[0][i].tolist() != ids
            or batches[1][i].tolist() != expected(text, True)
            or ours.decode(ids) != reference.decode(ids)
        ):
            tally.fail(text, differs, "ids or text")
    return tally


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_ranks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = os.environ.get("HEADRACE_SHARED")
    if not shared:
        pytest.skip(
            f"set HEADRACE_SHARED to the folder with tokenizers/{REAL[name]}; others are compared below"
        )
    lines = gzip.decompress((Path(shared) / "tokenizers" / REAL[name]).read_bytes()).splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    ours, reference = pair_of(name, ranks, tmp_path, monkeypatch)
    words = sorted(reference.special_tokens_set)
    tally = compare(ours, reference, ["", *LONG, *generated(1, 5000, words)])
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 15)))
    tally.add(compare(ours, reference, itertools.islice(shared_corpus(), 0, None, 20)))
    if EXHAUSTIVE:
        tally.add(compare(ours, reference, generated(3, 1_000_000, words)))
        tally.add(compare(ours, reference, shared_corpus()))
        with capsys.disabled():
            print(f"\n{name}: {tally.texts} texts, {tally.bytes} bytes, {tally.mismatches} mismatches")
    assert not tally.failures


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So many that the special tokens' ids are not far behind.
    ranks = trained_ranks(13_000 if name.startswith("o200k") else 8_000)
    ours, reference = pair_of(name, ranks, tmp_path, monkeypatch)
    # That one is a second name for the id of <|endofprompt|>, and tiktoken's table of names an accident.
    words = sorted(reference.special_tokens_set - {"<|reserved_200018|>"})[:30]
    tally = compare(ours, reference, ["", *LONG, *words, *generated(7, 3000, words)])
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 30)))
    assert not tally.failures
    assert {word: ours.token_to_id(word) for word in words} == {
        word: reference.encode_single_token(word) for word in words
    }
