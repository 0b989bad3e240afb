"""Embeddings against sentence-transformers and transformers in f32, and against themselves in other company."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from real_text import installed_lines
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

import headrace
from headrace import _core

TOLERANCE = 2e-5  # docs/numerics.md
SEED = 20261122


@pytest.fixture(scope="module")
def model() -> Iterator[headrace.Model]:
    with headrace.load("demo:minilm", precision="f32") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def long_model(model: headrace.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[headrace.Model]:
    """The same, for texts as long as it has positions: its author says 256 tokens."""
    folder = tmp_path_factory.mktemp("long")
    for file in Path(model.info.path).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "sentence_bert_config.json").unlink()
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    with headrace.load(folder, precision="f32") as loaded:
        yield loaded


def texts_of(model: headrace.Model, low: int, high: int, count: int) -> list[str]:
    """Texts whose token counts are spread over [low, high]: lines joined, then cut by words to a length drawn first."""
    chance = random.Random(SEED + low)
    lines = [line.strip() for line in islice(installed_lines(), 60_000) if len(line.strip()) > 3]
    # "[SEP]" in a text stays text here, and becomes the token elsewhere (docs/numerics.md).
    lines = [line for line in lines if not re.search(r"\[(CLS|SEP|MASK|PAD|UNK)\]", line)]
    tokenizer = model.tokenizer
    texts = []
    while len(texts) < count:
        wanted = chance.randint(low, high)
        words = " ".join(chance.choices(lines, k=1 + wanted // 4)).split()
        while words and tokenizer.count(" ".join(words)) > wanted:
            words = words[: max(1, len(words) * 9 // 10)] if len(words) > 1 else []
        text = " ".join(words)
        if text and low <= tokenizer.count(text) <= high:
            texts.append(text)
    return texts


def test_equals_sentence_transformers_on_1000_texts_up_to_256_tokens(model: headrace.Model) -> None:
    texts = texts_of(model, 3, 256, 1000)
    lengths = [model.tokenizer.count(text) for text in texts]
    assert min(lengths) < 8
    assert max(lengths) > 240
    expected = SentenceTransformer(model.info.path, device="cpu").encode(texts, batch_size=32)
    np.testing.assert_allclose(model.embed(texts), expected, rtol=0, atol=TOLERANCE)


def test_equals_transformers_up_to_512_tokens(long_model: headrace.Model) -> None:
    model = long_model
    texts = texts_of(model, 257, 512, 24)
    texts.append(" ".join(["wheel"] * 510))
    tokenizer = AutoTokenizer.from_pretrained(model.info.path)
    reference = AutoModel.from_pretrained(model.info.path).eval()
    longest = 0
    for text, ours in zip(texts, model.embed(texts), strict=True):
        encoded = tokenizer(text, return_tensors="pt", truncation=False)
        longest = max(longest, encoded["input_ids"].shape[1])
        with torch.no_grad():
            pooled = reference(**encoded).last_hidden_state[0].mean(0)
        expected = torch.nn.functional.normalize(pooled, dim=0).numpy()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)
    assert longest == 512


# docs/numerics.md: the mean cosine, and what no text falls below.
@pytest.mark.parametrize(("precision", "mean", "least"), [("bf16", 0.9999, 0.9995), ("int8", 0.998, 0.98)])
def test_fewer_bits_stay_near_f32(
    long_model: headrace.Model, precision: str, mean: float, least: float
) -> None:
    model = long_model
    texts = texts_of(model, 3, 512, 200)
    with headrace.load(model.info.path, precision=precision) as narrow:
        assert narrow.info.precision == precision
        cosines = (narrow.embed(texts) * model.embed(texts)).sum(axis=1)
        assert narrow.info.weight_bytes < model.info.weight_bytes
    assert cosines.mean() >= mean
    assert cosines.min() >= least


def test_one_character_gives_the_shortest_sequence_there_is(model: headrace.Model) -> None:
    expected = SentenceTransformer(model.info.path, device="cpu").encode(["a", "\u00ad"])
    np.testing.assert_allclose(model.embed(["a", "\u00ad"]), expected, rtol=0, atol=TOLERANCE)


_ALONE = """
import sys
import numpy as np
import headrace

texts = sys.stdin.read().split(chr(0))
with headrace.load("demo:minilm", threads=int(sys.argv[1])) as model:
    together = model.embed(texts)
    for order in (list(range(len(texts)))[::-1], [i for i in range(len(texts)) if i % 3]):
        assert np.array_equal(model.embed([texts[i] for i in order]), together[order]), "another batch, other bits"
    alone = np.concatenate([model.embed(text) for text in texts])
    assert np.array_equal(alone, together), "alone, other bits"
    sys.stdout.buffer.write(together.tobytes())
"""


@pytest.mark.parametrize("isa", _core.runnable_isas())
def test_alone_equals_in_batch_bit_for_bit_on_every_table(model: headrace.Model, isa: str) -> None:
    # The reference table takes about a second for a hundred tokens, so it gets few and short texts.
    texts = texts_of(model, 3, 24, 6) if isa == "reference" else texts_of(model, 3, 256, 60)
    vectors = {}
    for threads in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", _ALONE, threads],
            input="\0".join(texts).encode(),
            capture_output=True,
            env={**os.environ, "HEADRACE_ISA": isa},
            timeout=300,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
        vectors[threads] = run.stdout
    assert vectors["1"] == vectors["2"], "another number of threads, other bits"
