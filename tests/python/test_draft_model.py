"""A draft model changes no text: by load, by a server, and with errors that say what is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import Server

import headrace
from headrace import inputs

WORDS = 300
PROMPTS = ["w5 w6 w7 w8 w9 w10", "w20 w21 w22", "w100 w101 w102 w103"]
SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"seed": 1},
    {"seed": 2, "temperature": 0.6, "top_p": 0.9, "logprobs": 1},
    {"seed": 3, "repetition_penalty": 1.2, "top_k": 20},
]


def make_model(directory: Path, *, seed: int, layers: int, words: int = WORDS) -> Path:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=WORDS, hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=1, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer = {
        "model": {"type": "WordLevel", "unk_token": "w0", "vocab": {f"w{i}": i for i in range(words)}},
        "pre_tokenizer": {"type": "Whitespace"},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("large") / "large", seed=1, layers=4)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("small") / "small", seed=2, layers=1)


@pytest.fixture(scope="module")
def texts(large: Path) -> Iterator[list[headrace.Generation]]:
    with headrace.load(large, language=headrace.LanguageOptions(speculation="off")) as model:
        yield [model.generate(p, max_tokens=60, ignore_eos=True, **s) for p in PROMPTS for s in SETTINGS]


@pytest.mark.parametrize("speculation", [4, "auto"])
@pytest.mark.parametrize("is_own", [False, True])
def test_texts_are_the_same(
    large: Path, small: Path, texts: list[headrace.Generation], speculation: Any, is_own: bool
) -> None:
    options = headrace.LanguageOptions(draft=large if is_own else small, speculation=speculation)
    with headrace.load(large, language=options) as model:

        async def together() -> list[headrace.Generation]:
            several = (
                model.agenerate(p, max_tokens=60, ignore_eos=True, **s) for p in PROMPTS for s in SETTINGS
            )
            return await asyncio.gather(*several)

        for answer, text in zip(asyncio.run(together()), texts, strict=True):
            assert (answer.text, answer.tokens) == (text.text, text.tokens)
        metrics = model._generator.metrics()  # type: ignore[union-attr]
        assert metrics["cache_used"] == metrics["draft_blocks"] == 0
        assert metrics["draft_steps"] > 0
        if is_own and speculation == 4:
            assert metrics["accepted_tokens"] > 0.9 * metrics["proposed_tokens"]
            assert metrics["steps"] < 40


def test_a_draft_by_name(large: Path, small: Path) -> None:
    options = headrace.LanguageOptions(draft={"large": small}, speculation=2)
    with headrace.Engine(language=options) as engine:
        for name in ("large", "other"):
            engine.add(name, large).generate("w5 w6", max_tokens=20, ignore_eos=True)
        steps = {name: m["draft_steps"] for name, m in engine.stats()["language_models"].items()}
        assert steps["large"] > 0
        assert steps["other"] == 0


def test_drafts_that_are_refused(large: Path, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other", seed=3, layers=1, words=WORDS - 10)
    with pytest.raises(headrace.InvalidArgumentError, match="another vocabulary: its token 290 is none"):
        headrace.load(large, language=headrace.LanguageOptions(draft=other))
    with pytest.raises(headrace.InvalidArgumentError, match="nothing to do"):
        headrace.LanguageOptions(draft=large, speculation="off")
    with pytest.raises(headrace.ModelNotFoundError):
        headrace.load(large, language=headrace.LanguageOptions(draft=tmp_path / "missing"))
    with pytest.raises(headrace.InvalidArgumentError, match="no language model"):
        headrace.load(large, language=headrace.LanguageOptions(draft="demo:minilm"))


@pytest.mark.parametrize(
    ("argument", "message"), [("large", "must be MODEL=DRAFT"), ("huge=small", "no model is named 'huge'")]
)
def test_options_that_are_refused(argument: str, message: str) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        inputs.drafts([argument], {"large": None})


def test_a_server_with_a_draft(large: Path, small: Path) -> None:
    with Server(str(large), "--draft", f"large={small}", "--speculation", "3") as server:
        with headrace.Client(server.url) as client:
            answer = client.generate(
                "w5 w6 w7 w8", model="large", max_tokens=30, temperature=0, ignore_eos=True
            )
        assert answer.generated_tokens == 30
        assert server.metric("headrace_generation_draft_steps_total", model="large") > 0
        assert server.metric("headrace_generation_draft_blocks", model="large") == 0
        assert server.stop() == 0
