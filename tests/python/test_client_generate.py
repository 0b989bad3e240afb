"""generate and stream of both clients: what a Model's methods give, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from conftest import Server

import headrace

PROMPT = "Water flows"
MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("demo:smollm2") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def model() -> Iterator[headrace.Model]:
    with headrace.load("demo:smollm2") as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[headrace.Client]:
    with headrace.Client(server.url) as found:
        yield found


@pytest.mark.parametrize("prompt", [PROMPT, MESSAGES, [504, 1000, 20]], ids=["text", "chat", "ids"])
def test_a_text_is_that_of_the_model(client: headrace.Client, model: headrace.Model, prompt: object) -> None:
    expected = model.generate(prompt, max_tokens=12, temperature=0)  # type: ignore[arg-type]
    found = client.generate(prompt, model="smollm2", max_tokens=12, temperature=0)  # type: ignore[arg-type]
    assert (found.text, found.finish_reason) == (expected.text, expected.finish_reason)
    assert (found.prompt_tokens, found.generated_tokens) == (
        expected.prompt_tokens,
        expected.generated_tokens,
    )
    pieces = list(client.stream(prompt, model="smollm2", max_tokens=12, temperature=0))  # type: ignore[arg-type]
    assert "".join(piece.text for piece in pieces) == expected.text
    assert pieces[-1].finish_reason == expected.finish_reason
    assert len(pieces) > 3


async def test_the_same_awaited(server: Server, model: headrace.Model) -> None:
    expected = model.generate(PROMPT, max_tokens=12, temperature=0).text
    async with headrace.AsyncClient(server.url) as client:
        assert (await client.generate(PROMPT, model="smollm2", max_tokens=12, temperature=0)).text == expected
        stream = client.stream(PROMPT, model="smollm2", max_tokens=12, temperature=0)
        assert "".join([piece.text async for piece in stream]) == expected


def test_settings_have_their_effect(client: headrace.Client) -> None:
    chosen = client.generate(PROMPT, model="smollm2", choice=["left", "right"])
    assert chosen.text in ("left", "right")
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    for given in (schema, json.dumps(schema)):
        text = client.generate(
            "A number as JSON:", model="smollm2", json_schema=given, max_tokens=60, seed=1
        ).text
        assert isinstance(json.loads(text)["n"], int)
    one, two = (client.generate(PROMPT, model="smollm2", seed=7, max_tokens=10).text for _ in range(2))
    assert one == two
    stopped = client.generate(PROMPT, model="smollm2", temperature=0, max_tokens=30, stop=["the"])
    assert "the" not in stopped.text
    biased = client.generate(PROMPT, model="smollm2", temperature=0, max_tokens=3, logit_bias={504: 100.0})
    plain = client.generate(PROMPT, model="smollm2", temperature=0, max_tokens=3)
    assert biased.text != plain.text


def test_errors_are_those_of_the_engine(client: headrace.Client, server: Server) -> None:
    with pytest.raises(headrace.ModelNotFoundError):
        client.generate(PROMPT, model="nothing")
    with pytest.raises(headrace.ModelNotFoundError):
        list(client.stream(PROMPT, model="nothing"))
    with pytest.raises(headrace.InvalidArgumentError, match="temperature"):
        client.generate(PROMPT, model="smollm2", temperature=-1)
    with pytest.raises(headrace.InvalidArgumentError, match="temperature"):
        list(client.stream(PROMPT, model="smollm2", temperature=-1))
    with pytest.raises(headrace.InvalidArgumentError, match="priority is not a setting"):
        client.generate(PROMPT, model="smollm2", priority="batch")
    with (
        headrace.Client("http://127.0.0.1:1", max_retries=0) as away,
        pytest.raises(headrace.Error, match="cannot reach"),
    ):
        list(away.stream(PROMPT, model="smollm2"))


def test_leaving_a_stream_ends_the_work(client: headrace.Client, server: Server) -> None:
    for piece in client.stream(PROMPT, model="smollm2", max_tokens=4000, ignore_eos=True):
        assert piece.finish_reason is None
        break
    end = time.monotonic() + 5
    while server.metric("headrace_generation_running", model="smollm2"):
        assert time.monotonic() < end
        time.sleep(0.05)
