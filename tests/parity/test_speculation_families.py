"""Speculation with random models of every family and precision: the same tokens and the same log probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import language_models
import numpy as np
import pytest

from headrace import _core


@pytest.fixture(scope="module", params=list(language_models.FAMILIES))
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp(request.param)
    language_models.make(request.param, made)
    words = {f"w{i}": i for i in range(500)}
    tokenizer = {
        "model": {"type": "WordLevel", "unk_token": "w0", "vocab": words},
        "pre_tokenizer": {"type": "Whitespace"},
    }
    (made / "tokenizer.json").write_text(json.dumps(tokenizer))
    return made


def _texts(generator: Any) -> list[list[Any]]:
    """Eight texts asked for at once, the last two beside those before: tokens with their scores."""
    words = np.random.default_rng(5).integers(3, 500, 24).astype(np.int32)
    few = [(int(word), 60.0) for word in words[:4]]  # texts of few tokens repeat themselves
    settings: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"temperature": 0.0, "repetition_penalty": 1.2},
        {"seed": 1, "logit_bias": few, "top_logprobs": 2},
        {"seed": 2, "logit_bias": few, "temperature": 0.6, "frequency_penalty": 0.3},
    ]
    prompts = [np.tile(words, 3), words]
    streams = [
        generator.submit(prompt, max_tokens=70, ignore_eos=True, **given)
        for prompt in prompts
        for given in settings
    ]
    texts: list[list[Any]] = [[] for _ in streams]
    for text, stream in zip(texts, streams, strict=True):
        while not stream.ended or stream.done:
            if generator.wait(stream, 100_000):
                _, tokens, _, error = stream.take()
                assert error is None
                text += tokens
    return texts


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8", "q8", "q4"])
def test_the_same_tokens(directory: Path, precision: str) -> None:
    plain = _core.Generator(str(directory), precision=precision, speculation=0, context=512)
    expected = _texts(plain)
    assert [len(text) for text in expected] == [70] * 8
    for speculation in (-1, 2, 7):
        generator = _core.Generator(str(directory), precision=precision, speculation=speculation, context=512)
        assert _texts(generator) == expected
        metrics = generator.metrics()
        assert metrics["cache_used"] == 0
        if speculation > 0:
            assert metrics["accepted_tokens"] > 20
        generator.close()
    plain.close()
