"""Speculation gives the same text in fewer steps, whatever is asked for and whoever else asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from conftest import Server

import headrace

ARTICLE = (
    "The river mill at Aldenport was built in 1742 by Thomas Garrow, who bought the meadow for forty pounds. Its "
    "wheel was four metres wide and turned two pairs of stones. In 1811 a flood carried away the weir, and the "
    "miller's widow, Agnes Garrow, had it rebuilt in oak."
)
MILLS = {
    "type": "object",
    "properties": {
        "mills": {
            "type": "array",
            "minItems": 3,
            "maxItems": 3,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 16},
                    "built_in": {"type": "integer", "minimum": 1700, "maximum": 1900},
                    "is_open": {"type": "boolean"},
                },
                "required": ["name", "built_in", "is_open"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["mills"],
    "additionalProperties": False,
}
COPY = [{"role": "user", "content": f"Repeat the following text word for word:\n\n{ARTICLE}"}]
SUMMARY = [{"role": "user", "content": f"Summarise the following text:\n\n{ARTICLE}"}]
STORY = [{"role": "user", "content": "Write a story about a lighthouse keeper."}]

SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0, "logprobs": 2},
    {"seed": 1},
    {"seed": 2, "temperature": 0.7, "top_p": 0.9, "logprobs": 0},
    {"seed": 3, "top_k": 5, "min_p": 0.02},
    {"temperature": 0, "repetition_penalty": 1.1},
    {"seed": 4, "temperature": 0.5, "presence_penalty": 0.3, "frequency_penalty": 0.4},
    {"temperature": 0, "stop": ["stones", "by Thomas"]},
    {"temperature": 0, "logit_bias": {28: 3.0, 30: -5.0}, "min_tokens": 40},
    {"temperature": 0, "regex": "(The [a-z ]{5,30}[.] ){3}"},
    {"temperature": 0.6, "seed": 5, "regex": "(The [a-z ]{5,30}[.] ){3}", "logprobs": 1},
    {"temperature": 0, "json_schema": MILLS},
    {"temperature": 0.9, "seed": 6, "json_schema": MILLS},
    {
        "temperature": 0.9,
        "seed": 8,
        "choice": [ARTICLE[:60], ARTICLE[:60] + " twice", "The river", "Aldenport"],
    },
]


@pytest.fixture(scope="module")
def plain() -> Iterator[headrace.Model]:
    with headrace.load("demo:smollm2", language=headrace.LanguageOptions(speculation="off")) as model:
        yield model


@pytest.fixture(scope="module")
def texts(plain: headrace.Model) -> list[headrace.Generation]:
    """Without speculation: each prompt with each setting."""
    return [plain.generate(prompt, **settings) for prompt, settings in _asked()]


def _asked() -> list[tuple[list[dict[str, str]], dict[str, Any]]]:
    return [(prompt, {"max_tokens": 60, **more}) for prompt in (COPY, SUMMARY, STORY) for more in SETTINGS]


def _same(a: headrace.Generation, b: headrace.Generation) -> bool:
    return (a.text, a.finish_reason, a.tokens) == (b.text, b.finish_reason, b.tokens)


@pytest.mark.parametrize("speculation", [1, 8, "auto"])
def test_texts_are_the_same_alone_and_beside_others(
    speculation: Any, texts: list[headrace.Generation]
) -> None:
    options = headrace.LanguageOptions(speculation=speculation, max_sequences=9)
    with headrace.load("demo:smollm2", language=options) as model:
        for (prompt, settings), text in zip(_asked(), texts, strict=True):
            assert _same(model.generate(prompt, **settings), text), settings

        async def together() -> list[headrace.Generation]:
            return await asyncio.gather(
                *(model.agenerate(prompt, **settings) for prompt, settings in _asked())
            )

        for answer, text, (_, settings) in zip(asyncio.run(together()), texts, _asked(), strict=True):
            assert _same(answer, text), settings
        metrics = model._generator.metrics()  # type: ignore[union-attr]
        assert metrics["cache_used"] == 0
        assert 0 < metrics["accepted_tokens"] <= metrics["proposed_tokens"]


@pytest.mark.parametrize("speculation", [4, "auto"])
def test_texts_are_the_same_when_memory_is_short(speculation: Any, texts: list[headrace.Generation]) -> None:
    options = headrace.LanguageOptions(speculation=speculation, context=224, cache_tokens=608, step_tokens=96)
    with headrace.load("demo:smollm2", language=options) as model:

        async def together() -> list[headrace.Generation]:
            asked = (model.agenerate(prompt, tenant=str(i), **s) for i, (prompt, s) in enumerate(_asked()))
            return await asyncio.gather(*asked)

        for answer, text, (_, settings) in zip(asyncio.run(together()), texts, _asked(), strict=True):
            assert _same(answer, text), settings
        metrics = model._generator.metrics()  # type: ignore[union-attr]
        assert metrics["preemptions"] > 0
        assert metrics["cache_used"] == 0


@pytest.mark.parametrize(("speculation", "most"), [("off", 1.0), (4, 0.6), ("auto", 0.6)])
def test_what_is_copied_takes_fewer_steps(speculation: Any, most: float) -> None:
    with headrace.load("demo:smollm2", language=headrace.LanguageOptions(speculation=speculation)) as model:
        answer = model.generate(COPY, temperature=0, max_tokens=60)
        metrics = model._generator.metrics()  # type: ignore[union-attr]
        assert metrics["steps"] <= most * answer.generated_tokens
        assert metrics["accepted_tokens"] == answer.accepted_tokens
        assert (answer.accepted_tokens > 0) == (metrics["proposed_tokens"] > 0) == (speculation != "off")


def test_what_a_form_repeats_takes_fewer_steps() -> None:
    """Names of fields come again in each object of an array; tokens that the form forbids are not even tried."""
    steps = {}
    texts = set()
    for speculation in ("off", 6, "auto"):
        options = headrace.LanguageOptions(speculation=speculation)  # type: ignore[arg-type]
        with headrace.load("demo:smollm2", language=options) as model:
            answer = model.generate(SUMMARY, temperature=0, max_tokens=120, json_schema=MILLS)
            metrics = model._generator.metrics()  # type: ignore[union-attr]
        texts.add(answer.text)
        steps[speculation] = metrics["steps"]
        assert metrics["accepted_tokens"] == answer.accepted_tokens
    assert len(texts) == 1
    assert steps[6] <= 0.7 * steps["off"]
    assert steps["auto"] <= 0.9 * steps["off"]


@pytest.mark.parametrize("speculation", ["on", -1, 33, 1.5, True, None])
def test_options_that_are_refused(speculation: Any) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="speculation="):
        headrace.LanguageOptions(speculation=speculation)


def test_a_server_with_and_without() -> None:
    """Several texts of one request, streamed text, and the counters."""
    asked: dict[str, Any] = {"model": "smollm2", "messages": COPY, "max_tokens": 50, "seed": 7}
    found = {}
    for speculation in ("off", "8"):
        with Server("demo:smollm2", "--speculation", speculation) as server:
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
                several = client.chat.completions.create(**asked, n=3, logprobs=True, top_logprobs=2)
                stream = client.chat.completions.create(**{**asked, "temperature": 0}, stream=True)
                streamed = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
            found[speculation] = [choice.model_dump() for choice in several.choices], streamed
            for name in ("accepted", "proposed"):
                counted = server.metric(f"headrace_generation_{name}_tokens_total", model="smollm2")
                assert (counted > 0) == (speculation == "8")
            assert server.stop() == 0
    assert found["off"] == found["8"]
