"""The tasks over HTTP: routes, their description, both clients and the command line, on a server of toy models."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from conftest import Server

import headrace
import headrace.toy

TASKS = ("classify", "rerank", "tag", "answer", "fill-mask")
ROUTES = [f"/v1/{task}" for task in TASKS]
TEXT = "Maria Smith runs the mill in Paris."


@pytest.fixture(scope="module")
def paths() -> dict[str, Path]:
    return {task: headrace.toy.model(task) for task in TASKS}


@pytest.fixture(scope="module")
def server(paths: dict[str, Path]) -> Iterator[Server]:
    with Server("--queue-budget", "300", *(str(path) for path in paths.values())) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def models(paths: dict[str, Path]) -> Iterator[dict[str, headrace.Model]]:
    with headrace.Engine() as engine:
        yield {task: engine.add(task, path) for task, path in paths.items()}


def post(http: httpx2.Client, route: str, **body: Any) -> httpx2.Response:
    return http.post(route, json={"model": f"toy-{route.removeprefix('/v1/')}", **body})


@pytest.mark.parametrize("route", ROUTES)
def test_every_documented_example_works_and_is_as_described(http: httpx2.Client, route: str) -> None:
    described = http.get("/openapi.json").json()["paths"][route]["post"]
    content = described["requestBody"]["content"]["application/json"]
    answer = described["responses"]["200"]["content"]["application/json"]["schema"]
    for name, example in content["examples"].items():
        jsonschema.validate(example["value"], content["schema"])
        reply = http.post(route, json=example["value"])
        assert reply.status_code == 200, (name, reply.text)
        jsonschema.validate(reply.json(), answer)
        assert reply.json()["model"] == example["value"]["model"]
        assert reply.json()["usage"]["total_tokens"] > 3


def test_answers_are_those_of_the_model(http: httpx2.Client, models: dict[str, headrace.Model]) -> None:
    labels = post(http, "/v1/classify", input=[TEXT, "bad"], top_k=1).json()["data"]
    expected = models["classify"].classify([TEXT, "bad"], top_k=1)
    assert [[headrace.Label(**label) for label in row["labels"]] for row in labels] == expected
    assert [row["index"] for row in labels] == [0, 1]
    documents = ["the mill", "the water", "paris"]
    ranked = models["rerank"].rerank("who", documents)
    told = post(http, "/v1/rerank", query="who", documents=documents, return_documents=True).json()
    assert [(row["index"], row["relevance_score"], row["document"]["text"]) for row in told["results"]] == [
        (r.index, r.score, r.document) for r in ranked
    ]
    [row] = post(http, "/v1/tag", input=TEXT, aggregation="max").json()["data"]
    assert [headrace.Entity(**e) for e in row["entities"]] == models["tag"].tag(TEXT, aggregation="max")[0]
    told = post(http, "/v1/answer", question="who", context=TEXT, top_k=2).json()
    answer = models["answer"].answer("who", TEXT, top_k=2)
    assert [headrace.Span(**span) for span in told["answers"]] == list(answer.spans)
    assert told["no_answer_score"] == answer.no_answer_score
    [row] = post(http, "/v1/fill-mask", input="a [MASK] turns", top_k=2).json()["data"]
    places = models["fill-mask"].fill_mask("a [MASK] turns", top_k=2)
    assert [[headrace.Candidate(**c) for c in row["candidates"]]] == places


def test_long_documents_are_cut_on_request_and_counted(http: httpx2.Client) -> None:
    body = {"query": "who", "documents": ["a", "the mill " * 500]}
    refused = post(http, "/v1/rerank", **body)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert refused.json()["error"]["param"] == "documents"
    cut = post(http, "/v1/rerank", **body, truncate=True).json()
    assert cut["usage"]["truncated_inputs"] == 1


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/v1/classify", {}, "input"),
        ("/v1/classify", {"input": []}, "input"),
        ("/v1/classify", {"input": ["a", ["b", "c"]]}, "input"),
        ("/v1/classify", {"input": [["a", "b", "c"]]}, "input"),
        ("/v1/classify", {"input": ["x"] * 2049}, "input"),
        ("/v1/classify", {"input": "a", "top_k": 0}, "top_k"),
        ("/v1/classify", {"input": "a", "top_k": 10**30}, "top_k"),
        ("/v1/classify", {"input": "a", "temperature": 1}, "temperature"),
        ("/v1/rerank", {"query": "", "documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["b"] * 2049}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [{"title": "b"}]}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
        ("/v1/rerank", {"query": "the " * 600, "documents": ["b"]}, "query"),
        ("/v1/tag", {"input": "a", "aggregation": "all"}, "aggregation"),
        ("/v1/tag", {"input": "a", "stride": -1}, "stride"),
        ("/v1/tag", {"input": "a", "stride": 10**9}, "stride"),
        ("/v1/tag", {"input": "a", "stride": 510}, "stride"),
        ("/v1/tag", {"input": "a", "ignore_labels": ["x"] * 1001}, "ignore_labels"),
        ("/v1/answer", {"question": "a"}, "context"),
        ("/v1/answer", {"question": "a", "context": "b", "top_k": 101}, "top_k"),
        ("/v1/answer", {"question": "a", "context": "b", "max_answer_tokens": 513}, "max_answer_tokens"),
        ("/v1/answer", {"question": "a", "context": "b", "window": 7}, "window"),
        ("/v1/answer", {"question": "the " * 600, "context": "b"}, "question"),
        ("/v1/fill-mask", {"input": "no mask"}, "input"),
        ("/v1/fill-mask", {"input": ["a [MASK]"]}, "input"),
        ("/v1/fill-mask", {"input": "a [MASK]", "top_k": 1001}, "top_k"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_400_and_its_field(
    http: httpx2.Client, route: str, body: dict[str, Any], param: str
) -> None:
    reply = post(http, route, **body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param
    assert len(reply.json()["error"]["message"]) < 400


def test_malformed_and_unknown(http: httpx2.Client) -> None:
    for route in ROUTES:
        content_type = {"content-type": "application/json"}
        assert (
            http.post(route, content=b"{", headers=content_type).json()["error"]["code"] == "malformed_json"
        )
        assert http.get(route).status_code == 405
        body = {"model": "nobody", "input": "a [MASK]", "query": "a", "documents": ["a"]}
        keep = {"/v1/rerank": ("query", "documents"), "/v1/answer": ("question", "context")}.get(
            route, ("input",)
        )
        fields = {key: body.get(key, "a") for key in keep}
        reply = http.post(route, json={"model": "nobody", **fields})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_another_task_s_route_says_what_the_model_can_do(http: httpx2.Client) -> None:
    reply = http.post("/v1/classify", json={"model": "toy-tag", "input": "a"})
    told = reply.json()["error"]
    assert (reply.status_code, told["code"], told["param"]) == (400, "wrong_task", "model")
    assert "its task is tag" in told["message"]
    reply = http.post("/v1/embeddings", json={"model": "toy-rerank", "input": "a"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "wrong_task")


def test_models_tell_their_task_and_labels(http: httpx2.Client, server: Server) -> None:
    by_name = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert by_name["toy-classify"]["task"] == "classify"
    assert by_name["toy-classify"]["labels"] == ["negative", "positive"]
    assert server.metric("headrace_http_requests_total", route="/v1/classify", status="200") >= 1


def test_both_clients_have_the_model_s_methods(server: Server, models: dict[str, headrace.Model]) -> None:
    texts = [f"the mill {i}" for i in range(300)]  # more than one request

    def calls(client: Any) -> list[Any]:
        return [
            client.classify(texts, model="toy-classify"),
            client.classify([("a", "b"), ("c", "d")], model="toy-classify", top_k=1),
            client.rerank("the wheel", texts, model="toy-rerank", top_n=7),
            client.tag([TEXT, "paris"], model="toy-tag", aggregation="average"),
            client.answer("who", TEXT * 40, model="toy-answer", top_k=3),
            client.fill_mask("the [MASK] [MASK]", model="toy-fill-mask", top_k=2),
        ]

    async def awaited() -> list[Any]:
        async with headrace.AsyncClient(server.url) as client:
            return [await call for call in calls(client)]

    expected = [
        models["classify"].classify(texts),
        models["classify"].classify([("a", "b"), ("c", "d")], top_k=1),
        models["rerank"].rerank("the wheel", texts, top_n=7),
        models["tag"].tag([TEXT, "paris"], aggregation="average"),
        models["answer"].answer("who", TEXT * 40, top_k=3),
        models["fill-mask"].fill_mask("the [MASK] [MASK]", top_k=2),
    ]
    with headrace.Client(server.url) as client:
        assert calls(client) == expected
        with pytest.raises(headrace.InvalidArgumentError, match="its task is tag") as raised:
            client.classify("a", model="toy-tag")
        assert raised.value.code == "wrong_task"
    assert asyncio.run(awaited()) == expected


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    command = [sys.executable, "-m", "headrace.cli", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_commands(paths: dict[str, Path], models: dict[str, headrace.Model]) -> None:
    code, out, _ = run(
        "classify", str(paths["classify"]), TEXT, "--file", "-", "--json", "--top-k", "1", text="bad\n"
    )
    assert code == 0
    told = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in told] == [TEXT, "bad"]
    expected = models["classify"].classify([TEXT, "bad"], top_k=1)
    assert [[headrace.Label(**label) for label in row["labels"]] for row in told] == expected

    code, out, _ = run(
        "rerank", str(paths["rerank"]), "who", "the mill", "the water", "--top-n", "1", "--json"
    )
    assert headrace.Ranked(**json.loads(out)) == models["rerank"].rerank("who", ["the mill", "the water"])[0]

    entities = models["tag"].tag(TEXT)[0]
    _, out, _ = run("tag", str(paths["tag"]), TEXT, "--json")
    assert [headrace.Entity(**entity) for entity in json.loads(out)["entities"]] == entities
    _, out, _ = run("tag", str(paths["tag"]), TEXT + "\x1b[2J", "--colour", "always")
    assert out.count("\x1b[48;5;") == len(models["tag"].tag(TEXT + "\x1b[2J")[0])
    assert "\x1b[2J" not in out  # a text cannot steer the terminal
    _, out, _ = run("tag", str(paths["tag"]), TEXT)
    assert len(out.splitlines()) == len(entities)

    _, out, _ = run("answer", str(paths["answer"]), "who", "--file", "-", "--top-k", "2", "--json", text=TEXT)
    assert [headrace.Span(**span) for span in json.loads(out)["spans"]] == list(
        models["answer"].answer("who", TEXT, top_k=2).spans
    )
    code, out, error = run("fill-mask", str(paths["fill-mask"]), "the [MASK] turns", "--top-k", "3")
    assert (code, len(out.splitlines()), error) == (0, 3, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "{tag}", "a"], "its task is tag"),
        (["classify", "{classify}"], "no text"),
        (["answer", "{answer}", "who"], "the context: give it as an argument or as --file"),
        (["fill-mask", "{fill-mask}", "none"], r"has no [MASK]"),
        (["tag", "{tag}", "a", "--stride", "9999"], "stride=9999"),
    ],
)
def test_commands_end_with_one_line_and_2(paths: dict[str, Path], arguments: list[str], message: str) -> None:
    code, out, error = run(*(part.format(**{k: str(v) for k, v in paths.items()}) for part in arguments))
    assert (code, out) == (2, "")
    assert error.startswith("headrace: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_path_of_a_toy_is_printed() -> None:
    code = subprocess.run([sys.executable, "-m", "headrace.toy"], capture_output=True, text=True, check=False)
    assert code.returncode == 1
    assert "usage" in code.stderr
