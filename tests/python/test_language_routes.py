"""The routes of language models: OpenAI's clients unchanged, streams, and a clear refusal of everything else."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema
import openai
import pydantic
import pytest
from conftest import Server
from langchain_openai import ChatOpenAI

# It has one likely answer; "What is the capital of France?" has two, almost alike.
QUESTION = [{"role": "user", "content": "Name the capital of France."}]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("demo:smollm2", "demo:minilm") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0)
    choice = answer.choices[0]
    assert answer.object == "chat.completion"
    assert choice.message.role == "assistant"
    assert "Paris" in (choice.message.content or "")
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    again = client.chat.completions.create(model="smollm2", messages=parts, temperature=0)  # type: ignore[arg-type]
    assert again.choices[0].message.content == choice.message.content


def test_a_streamed_chat_is_the_same_text(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "smollm2", "messages": QUESTION, "seed": 3, "max_tokens": 40}
    whole = client.chat.completions.create(**settings)
    chunks = list(
        client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True})
    )
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        == whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(c.usage is None for c in chunks[:-1])


def test_several_choices_differ_and_can_be_had_again(client: openai.OpenAI) -> None:
    def ask(stream: bool) -> list[str]:
        settings: dict[str, Any] = {
            "model": "smollm2",
            "messages": QUESTION,
            "n": 3,
            "seed": 11,
            "max_tokens": 12,
        }
        if not stream:
            found = client.chat.completions.create(**settings, temperature=1.2)
            return [choice.message.content or "" for choice in found.choices]
        texts = ["", "", ""]
        for chunk in client.chat.completions.create(**settings, temperature=1.2, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        return texts

    first = ask(False)
    assert len(set(first)) > 1
    assert ask(True) == first


def test_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=2, max_tokens=4
    )
    scores = answer.choices[0].logprobs
    assert scores is not None
    assert scores.content is not None
    assert "".join(score.token for score in scores.content) == answer.choices[0].message.content
    assert all(len(score.top_logprobs) == 2 and score.logprob <= 0 for score in scores.content)
    old = client.completions.create(model="smollm2", prompt="Water", temperature=0, logprobs=2, max_tokens=3)
    assert old.choices[0].logprobs is not None
    assert len(old.choices[0].logprobs.token_logprobs or []) == 3


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="smollm2", prompt=["Water flows", "The sun"], temperature=0, max_tokens=6, echo=True
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].text.startswith("Water flows ")
    assert answer.choices[1].text.startswith("The sun")
    ids = client.completions.create(model="smollm2", prompt=[504, 253], max_tokens=2)
    assert ids.usage is not None
    assert ids.usage.prompt_tokens == 2


def test_langchain(server: Server) -> None:
    chat = ChatOpenAI(
        model="smollm2", base_url=f"{server.url}/v1", api_key="none", temperature=0, max_retries=0
    )  # type: ignore[arg-type]
    assert "Paris" in str(chat.invoke("Name the capital of France.").content)
    assert "Paris" in "".join(str(chunk.content) for chunk in chat.stream("Name the capital of France."))


def test_many_at_once(server: Server) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:

            async def ask(number: int) -> str:
                messages: Any = [{"role": "user", "content": f"Count from {number}"}]
                answer = await client.chat.completions.create(
                    model="smollm2", messages=messages, temperature=0, max_tokens=16
                )
                return answer.choices[0].message.content or ""

            alone = await ask(3)
            together = await asyncio.gather(*(ask(number) for number in range(24)))
            assert together[3] == alone
            return together

    assert all(asyncio.run(run()))


def test_every_documented_example_works(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        paths = http.get("/openapi.json").json()["paths"]
        for path in ("/v1/chat/completions", "/v1/completions"):
            body = paths[path]["post"]["requestBody"]["content"]["application/json"]
            assert http.post(path, json=body["example"]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tools": "f"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"lark": "a"}}, "structured_outputs"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": "two"}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"other": 1}}, "stream_options"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"presence_penalty": 9}, "presence_penalty"),
        ({"seed": 1.5}, "seed"),
        ({"stop": ["", "x"]}, None),
        ({"max_tokens": 10**9}, None),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_what_is_wrong_is_named(server: Server, fields: dict[str, Any], param: str | None) -> None:
    body = {"model": "smollm2", "messages": QUESTION, **fields}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert error["param"] == param, error


def test_other_models_and_tasks(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-5", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="its task is embed"):
        client.chat.completions.create(model="minilm", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="its task is generate"):
        client.embeddings.create(model="smollm2", input="x")
    assert {model.id for model in client.models.list()} == {"smollm2", "minilm"}


def test_a_client_that_left_gets_nothing_computed(server: Server) -> None:
    before = _metric(server, "cancelled")
    body = json.dumps(
        {"model": "smollm2", "messages": QUESTION, "stream": True, "max_tokens": 4000, "ignore_eos": True}
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    for _ in range(100):
        if _metric(server, "cancelled") > before and _metric(server, "running", "") == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the text is still being written")


def _metric(server: Server, name: str, ending: str = "_total") -> float:
    text = httpx2.get(f"{server.url}/metrics", timeout=60).text
    line = next(
        line for line in text.splitlines() if line.startswith(f"headrace_generation_{name}{ending}{{")
    )
    return float(line.rsplit(" ", 1)[1])


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_answers_of_a_schema(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Invent a person."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
        "seed": 8,  # of three seeds whose texts are complete within max_tokens
        "n": 3,
        "max_tokens": 60,
    }
    whole = client.chat.completions.create(**settings)
    texts = [choice.message.content or "" for choice in whole.choices]
    for text in texts:
        jsonschema.validate(json.loads(text), PERSON)
    assert all(choice.finish_reason == "stop" for choice in whole.choices)
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**settings, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts
    settings |= {"response_format": {"type": "json_object"}, "n": 1, "max_tokens": 200, "temperature": 0}
    settings["messages"] = [{"role": "user", "content": "What is the capital of France? Answer in JSON."}]
    assert isinstance(
        json.loads(client.chat.completions.create(**settings).choices[0].message.content or ""), dict
    )


def test_parsed_answers(client: openai.OpenAI) -> None:
    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(
        model="smollm2", messages=[{"role": "user", "content": "Invent a person."}], response_format=Person, seed=1,
        temperature=0,
    )  # fmt: skip
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_forms_of_completions(client: openai.OpenAI) -> None:
    def ask(**form: Any) -> str:
        answer = client.completions.create(
            model="smollm2",
            prompt="The answer is",
            max_tokens=20,
            seed=2,
            extra_body={"structured_outputs": form},
        )
        assert answer.choices[0].finish_reason == "stop"
        return answer.choices[0].text

    assert re.fullmatch(r" \d{3}-\d{4}", ask(regex=r" \d{3}-\d{4}"))
    assert ask(choice=[" yes", " no"]) in (" yes", " no")
    assert re.fullmatch("a[bc]{1,3}", ask(grammar='start: "a" /[bc]{1,3}/'))
    with pytest.raises(openai.BadRequestError, match="regex does not compile"):
        ask(regex="(")
    with pytest.raises(openai.BadRequestError, match="json_schema does not compile"):
        ask(json={"type": "nonsense"})
    with pytest.raises(openai.BadRequestError, match="at most 65536"):
        ask(regex="a" * 70_000)
