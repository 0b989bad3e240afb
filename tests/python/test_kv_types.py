"""Keys and values in fewer bits: near to f32's, half and a quarter of the memory, and the same in any company."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Server

import headrace
from headrace import _core, repository

TEXT = (
    "The river mill at Aldenport was built in 1742 by Thomas Garrow, who bought the meadow for forty pounds. Its "
    "wheel was four metres wide and turned two pairs of stones. In 1811 a flood carried away the weir, and the "
    "miller's widow, Agnes Garrow, had it rebuilt in oak. Two hundred years later the wheel turns again: the "
    "town's council has it drive a small dynamo, which lights the bridge on winter evenings."
)
QUESTIONS = [
    "What is the capital of France?",
    "Name three fruits.",
    "What is 2 + 2?",
    "Say hello in Spanish.",
    "Which planet is the largest?",
    "Who wrote Hamlet?",
    "What colour is the sky?",
    "How many days has a week?",
    "What is water made of?",
    "Name a large river.",
    "What do bees make?",
    "What is the opposite of hot?",
]
BYTES = {"f32": 46080, "bf16": 23040, "int8": 12240}  # of a token, over 30 layers of 3 heads


@pytest.fixture(scope="module")
def path() -> Path:
    return repository.resolve("demo:smollm2")


def _logits(path: Path, kv: str, isa: str = "auto") -> Any:
    model = _core.LanguageModel(str(path), precision="f32", kv=kv, isa=isa)
    generator = _core.Generator(str(path), cache_tokens=64)
    ids = generator.tokenizer.encode_ids(TEXT)
    generator.close()
    return model.logits(np.array(ids, np.int32))


def _cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def test_logits_are_near_to_those_of_f32(path: Path) -> None:
    exact = _logits(path, "f32")
    assert _cosine(_logits(path, "bf16"), exact).min() >= 0.9995
    int8 = _cosine(_logits(path, "int8"), exact)
    assert int8.mean() >= 0.999
    assert int8.min() >= 0.998  # single tokens lose more


def _answers(kv: Any) -> list[str]:
    """In f32: matrices of fewer bits round on their own, and turn the least difference into another text."""
    options = headrace.LanguageOptions(kv=kv)
    with headrace.load("demo:smollm2", precision="f32", language=options) as model:

        async def together() -> list[str]:
            messages = ([{"role": "user", "content": question}] for question in QUESTIONS)
            several = (model.agenerate(m, temperature=0, max_tokens=16) for m in messages)
            return [answer.text for answer in await asyncio.gather(*several)]

        return asyncio.run(together())


def test_most_greedy_texts_are_those_of_f32() -> None:
    exact = _answers("f32")
    for kv in ("bf16", "int8"):
        same = sum(a == b for a, b in zip(_answers(kv), exact, strict=True))
        assert same > len(QUESTIONS) / 2, kv


@pytest.mark.parametrize("kv", ["bf16", "int8"])
def test_a_text_is_the_same_in_any_company(kv: Any) -> None:
    """Behind a cached prompt, beside others, preempted, and with speculation."""
    asked: list[dict[str, Any]] = [{"seed": seed, "temperature": 0.8 * (seed % 2)} for seed in range(6)]
    prompt = [{"role": "user", "content": f"Repeat this: {TEXT}"}]

    def options(**more: Any) -> headrace.LanguageOptions:
        return headrace.LanguageOptions(kv=kv, **more)

    with headrace.load("demo:smollm2", language=options(speculation="off")) as model:
        alone = [model.generate(prompt, max_tokens=40, tenant=str(i), **a).text for i, a in enumerate(asked)]
    with headrace.load(
        "demo:smollm2", language=options(speculation=5, context=256, cache_tokens=480, step_tokens=96)
    ) as model:

        async def together() -> list[str]:
            several = (
                model.agenerate(prompt, max_tokens=40, tenant=str(i % 3), **a) for i, a in enumerate(asked)
            )
            return [answer.text for answer in await asyncio.gather(*several)]

        for _ in range(2):
            assert asyncio.run(together()) == alone
        metrics = model._generator.metrics()  # type: ignore[union-attr]
        assert metrics["preemptions"] > 0
        assert metrics["cached_tokens"] > 0
        assert metrics["accepted_tokens"] > 0
        assert metrics["cache_used"] == 0


def test_memory_and_the_tokens_that_it_holds(path: Path) -> None:
    blocks = {}
    for kv, size in BYTES.items():
        generator = _core.Generator(str(path), kv=kv, max_sequences=1000)
        metrics = generator.metrics()
        assert generator.kv == kv
        assert metrics["cache_bytes"] == metrics["cache_blocks"] * 32 * size
        assert metrics["cache_bytes"] <= 2**31
        blocks[kv] = metrics["cache_blocks"]
        generator.close()
    assert blocks["bf16"] == pytest.approx(2 * blocks["f32"], abs=2)
    assert blocks["int8"] > 3.7 * blocks["f32"]


def test_auto_is_as_exact_as_the_matrices(path: Path) -> None:
    for precision, kv in (("f32", "f32"), ("int8", "bf16"), ("auto", "bf16"), ("bf16", "bf16")):
        generator = _core.Generator(str(path), precision=precision, cache_tokens=64)
        assert generator.kv == kv, precision
        generator.close()


@pytest.mark.parametrize("kv", ["f16", "", None, 8])
def test_types_that_are_refused(kv: Any) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="kv="):
        headrace.LanguageOptions(kv=kv)


def test_a_server_keeps_them_in_int8() -> None:
    with Server("demo:smollm2", "--kv-cache-type", "int8") as server:
        size = server.metric("headrace_generation_cache_bytes", model="smollm2")
        blocks = server.metric("headrace_generation_cache_blocks", model="smollm2")
        assert size == blocks * 32 * BYTES["int8"]
        assert server.stop() == 0
