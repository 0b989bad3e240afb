"""Pipelines of served models: what their files may say, and that they answer as the steps do by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from guarded import Guarded
from tritonclient.utils import InferenceServerException

import headrace
import headrace.toy
from headrace.pipeline import in_order, names_in
from headrace.security.audit import read

DOCUMENTS = [
    "the water turns the wheel",
    "maria smith runs the mill in paris",
    "good water",
    "bad river",
    "a wheel of the mill",
    "where is the river",
]
QUERY = "what turns the wheel"
SEARCH = """
[[pipeline]]
step = "retrieve"
model = "embedder"
documents = "documents.jsonl"
vectors = "documents.npy"
top_k = 4
[[pipeline]]
step = "rerank"
model = "reranker"
top_n = 2
"""
ROUTED = """
[[pipeline]]
step = "classify"
model = "classifier"
[[pipeline]]
step = "route"
routes = {positive = "tagger", negative = "search"}
"""
MASKED = """
[[pipeline]]
step = "tag"
model = "tagger"
[[pipeline]]
step = "mask"
labels = ["PER", "LOC"]
replacement = "<{label}>"
"""
TASKS = {"embedder": "embed", "reranker": "rerank", "classifier": "classify", "tagger": "tag"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with three pipelines of them; "routed" leads to "search"."""
    folder = tmp_path_factory.mktemp("models")
    for name, task in TASKS.items():
        headrace.toy.model(task, folder / name)
    for name, text in (("search", SEARCH), ("a-routed", ROUTED), ("masked", MASKED)):
        write(folder / name, text)
    with headrace.load(folder / "embedder") as model:
        np.save(folder / "search" / "documents.npy", model.embed(DOCUMENTS))
    lines = [json.dumps(text if i % 2 else {"text": text}) for i, text in enumerate(DOCUMENTS)]
    (folder / "search" / "documents.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "headrace.toml").write_text(text)
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[headrace.Engine]:
    with headrace.Engine(queue_budget=60) as engine:
        for name in TASKS:
            engine.add(name, folder / name)
        yield engine


def search_by_hand(engine: headrace.Engine, query: str) -> list[tuple[int, float]]:
    with_vectors = headrace.VectorIndex(engine.model("embedder").embed(DOCUMENTS))
    [near] = with_vectors.search(engine.model("embedder").embed(query), k=4).indices.tolist()
    ranked = engine.model("reranker").rerank(query, [DOCUMENTS[i] for i in near], top_n=2)
    return [(near[each.index], each.score) for each in ranked]


def test_retrieve_and_rerank(engine: headrace.Engine, folder: Path) -> None:
    pipeline = engine.add_pipeline("search", folder / "search")
    assert engine.pipeline("search") is pipeline
    for query in (QUERY, *DOCUMENTS):
        result = pipeline.run(query)
        assert [(each.index, each.score) for each in result.output] == search_by_hand(engine, query)
        assert [each.document for each in result.output] == [DOCUMENTS[each.index] for each in result.output]
        assert [(step.step, step.model) for step in result.steps] == [
            ("retrieve", "embedder"), ("rerank", "reranker"),
        ]  # fmt: skip
        assert len(result.steps[0].output) == 4
    assert (pipeline.requests, pipeline.failed) == (7, 0)
    assert engine.stats()["pipelines"]["search"]["requests"] == 7


def test_classify_then_route(engine: headrace.Engine, folder: Path) -> None:
    engine.add_pipeline("search", folder / "search")
    pipeline = engine.add_pipeline("routed", folder / "a-routed")
    seen = set()
    for text in (QUERY, *DOCUMENTS, "good", "bad", "who", "in", "and"):
        label = engine.model("classifier").classify(text)[0][0].label
        seen.add(label)
        found = pipeline.run(text).output
        assert found.label == label
        if label == "positive":
            assert (found.model, found.output) == ("tagger", engine.model("tagger").tag(text)[0])
        else:
            by_hand = search_by_hand(engine, text)
            assert found.model == "search"
            assert [(each.index, each.score) for each in found.output] == by_hand
    assert seen == {"positive", "negative"}


def test_route_to_a_text_that_is_written(engine: headrace.Engine, tmp_path: Path) -> None:
    model = engine.add("smollm2", "demo:smollm2")
    text = ROUTED.partition("routes")[0] + 'routes = {}\ndefault = "smollm2"\nmax_tokens = 6\n'
    with pytest.raises(headrace.CorruptFileError, match="routes must lead"):
        engine.add_pipeline("writer", write(tmp_path, text))
    text = text.replace("{}", '{positive = "smollm2"}')
    written = engine.add_pipeline("writer", write(tmp_path, text)).run("What turns a mill?").output
    messages = [{"role": "user", "content": "What turns a mill?"}]
    assert written.output == model.generate(messages, max_tokens=6, temperature=0).text
    engine.add_pipeline("writer", write(tmp_path, text + "chat = false\n"))
    by_hand = model.generate("Water", max_tokens=6, temperature=0).text
    assert engine.pipeline("writer").run("Water").output.output == by_hand


def test_tag_then_mask(engine: headrace.Engine, folder: Path) -> None:
    pipeline = engine.add_pipeline("masked", folder / "masked")
    changed = 0
    for text in DOCUMENTS:
        entities = [e for e in engine.model("tagger").tag(text)[0] if e.label in ("PER", "LOC")]
        by_hand = text
        for entity in reversed(entities):
            by_hand = f"{by_hand[: entity.start]}<{entity.label}>{by_hand[entity.end :]}"
        assert pipeline.run(text).output == by_hand
        changed += by_hand != text
    assert changed


def test_inside_a_running_loop_and_at_once(engine: headrace.Engine, folder: Path) -> None:
    pipeline = engine.add_pipeline("search", folder / "search")

    async def run() -> None:
        alone = pipeline.run(QUERY).output
        for found in await asyncio.gather(*(pipeline.arun(QUERY) for _ in range(50))):
            assert found.output == alone

    asyncio.run(run())


WRONG = [
    ("step = 3", "step 1: step=3: must be one of retrieve, rerank"),
    ('step = "rerank"\nmodel = "reranker"', "rerank takes documents, and what stands before it gives text"),
    ('step = "tag"', "step 1: model is missing"),
    ('step = "tag"\nmodel = 3', "model=3 must be a str"),
    ('step = "tag"\nmodel = "tagger"\nspeed = 3', "'speed' is not known: known are model, aggregation"),
    ('step = "tag"\nmodel = "tagger"\naggregation = "odd"', "aggregation must be one of"),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "../d"\nvectors = "v"\ntop_k = 2', "own folder"),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "none.txt"\nvectors = "v"\ntop_k = 2', "no such file"),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "d.txt"\nvectors = "d.npy"\ntop_k = 0', "between 1"),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "d.txt"\nvectors = "d.npy"\ntop_k = 2', "3 vectors"),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "d.txt"\nvectors = "o.npy"\ntop_k = 2', r"o\.npy: "),
    ('step = "retrieve"\nmodel = "embedder"\ndocuments = "d.jsonl"\nvectors = "d.npy"\ntop_k = 2', "JSON lines"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_files_that_are_wrong(engine: headrace.Engine, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.txt").write_text("one\ntwo\n")
    (tmp_path / "d.jsonl").write_text('{"body": 3}\n')
    np.save(tmp_path / "d.npy", np.zeros((3, 32), np.float32))
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(headrace.CorruptFileError, match=message):
        engine.add_pipeline("x", write(tmp_path, f"[[pipeline]]\n{text}\n"))


def test_what_is_wrong_between_models(engine: headrace.Engine, folder: Path, tmp_path: Path) -> None:
    tag = '[[pipeline]]\nstep = "tag"\nmodel = "{}"\n'
    with pytest.raises(
        headrace.ModelNotFoundError, match=r"pipeline 'x', step 1 \(tag\): no model is named 'no'"
    ):
        engine.add_pipeline("x", write(tmp_path, tag.format("no")))
    with pytest.raises(
        headrace.InvalidArgumentError, match="the task of 'reranker' is rerank, and must be tag"
    ):
        engine.add_pipeline("x", write(tmp_path, tag.format("reranker")))
    with pytest.raises(headrace.InvalidArgumentError, match="must not be taken"):
        engine.add_pipeline("tagger", write(tmp_path, tag.format("tagger")))
    write(tmp_path, tag.format("tagger") * 9)
    with pytest.raises(headrace.CorruptFileError, match="1 to 8 steps"):
        engine.add_pipeline("x", tmp_path)
    with pytest.raises(headrace.CorruptFileError, match="'other' is not known"):
        engine.add_pipeline("x", write(tmp_path, "other = 1\n" + tag.format("tagger")))
    with pytest.raises(headrace.ModelNotFoundError, match="no pipeline is named 'x'; there is: none"):
        engine.pipeline("x")
    engine.add_pipeline("x", write(tmp_path, tag.format("tagger")))
    with pytest.raises(headrace.InvalidArgumentError, match="must not be taken"):
        engine.add("x", folder / "tagger")
    engine.remove("tagger")
    with pytest.raises(
        headrace.ModelNotFoundError, match=r"pipeline 'x', step 'tag': no model is named 'tagger'"
    ):
        engine.pipeline("x").run("a mill")
    assert engine.pipeline("x").failed == 1


def test_circles(engine: headrace.Engine, folder: Path, tmp_path: Path) -> None:
    route = (
        ROUTED.replace('"tagger"', '"{}"').replace('"search"', '"tagger"').replace("{positive", "{{positive")
    )
    route = route.replace('"tagger"}', '"tagger"}}')
    engine.add_pipeline("a", write(tmp_path / "a", route.format("tagger")))
    engine.add_pipeline("b", write(tmp_path / "b", route.format("a")))
    with pytest.raises(headrace.InvalidArgumentError, match="lead back to itself: a -> b -> a"):
        engine.add_pipeline("a", write(tmp_path / "a", route.format("b")))
    with pytest.raises(headrace.InvalidArgumentError, match="lead back to itself: c -> c"):
        engine.add_pipeline("c", write(tmp_path / "c", route.format("c")))
    assert engine.pipeline("b").run("good").output.label in ("positive", "negative")
    assert names_in(tmp_path / "b") == ["classifier", "a", "tagger"]
    assert in_order({"b": ["a", "m"], "a": ["m"], "c": ["d"], "d": ["c"]}) == ["a", "b", "c", "d"]


def test_the_time_is_that_of_all_steps(engine: headrace.Engine, folder: Path) -> None:
    pipeline = engine.add_pipeline("search", folder / "search")
    assert pipeline.run(QUERY, timeout=60).output
    with pytest.raises(headrace.DeadlineError):
        pipeline.run(QUERY, timeout=1e-6)
    for wrong in (0, -1):
        with pytest.raises(headrace.InvalidArgumentError, match="timeout="):
            pipeline.run(QUERY, timeout=wrong)
    for text in ("", 3):
        with pytest.raises(headrace.InvalidArgumentError, match="at least one character"):
            pipeline.run(text)  # type: ignore[arg-type]


def test_models_come_and_go_beneath(folder: Path) -> None:
    with headrace.load(folder / "embedder") as model:
        size = model.info.bytes
    with headrace.Engine(memory_budget=int(2.2 * size)) as engine:
        for name in TASKS:
            engine.register(name, folder / name)
        engine.add_pipeline("search", folder / "search")
        masked = engine.add_pipeline("masked", folder / "masked")
        for _ in range(3):
            assert len(engine.pipeline("search").run(QUERY).output) == 2
            masked.run(QUERY)
        assert engine.memory_used <= 2.2 * size
        assert sum(row.unloads for row in engine.residences()) > 3
        before = engine.memory_used
        engine.remove_pipeline("search")
        assert engine.memory_used < before  # its documents and vectors


@pytest.fixture(scope="module")
def guarded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    state = tmp_path_factory.mktemp("state")
    broken = write(folder / "broken", '[[pipeline]]\nstep = "tag"\nmodel = "nothing"\n')
    with Guarded(state, str(folder), "--grpc-port", "0", "--audit") as found:
        found.keys["search"] = found.key("infer:search")
        found.keys["all"] = found.key("infer", "manage", "metrics")
        time.sleep(2.5)
        yield found
        assert found.server.stop() == 0
    (broken / "headrace.toml").unlink()
    broken.rmdir()


def test_over_http(guarded: Guarded, folder: Path) -> None:
    server = guarded.server
    assert set(server.started["models"]) == {*TASKS, "search", "a-routed", "masked"}
    assert server.started["failed"] == ["broken"]
    url, name = "/v1/pipelines/search", "search"
    with guarded.client("search") as http, headrace.Engine() as engine:
        for model in TASKS:
            engine.add(model, folder / model)
        answer = http.post(
            url, json={"input": [QUERY, "a mill"], "steps": True}, headers={"x-request-id": "p1"}
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        for row, query in zip(told["data"], [QUERY, "a mill"], strict=True):
            by_hand = search_by_hand(engine, query)
            assert [(each["index"], each["score"]) for each in row["output"]] == by_hand
            assert [step["step"] for step in row["steps"]] == ["retrieve", "rerank"]
        assert told["usage"]["prompt_tokens"] > 20
        assert [row["id"] for row in http.get("/v1/models").json()["data"]] == [name]
        assert http.get("/v1/models/search").json()["task"] == "pipeline"
        for other in ("masked", "tagger", "nothing"):  # no scope; and of the last nothing is told
            assert http.post(f"/v1/pipelines/{other}", json={"input": QUERY}).status_code == 403
        wrong = http.post("/v1/embeddings", json={"model": name, "input": QUERY})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "wrong_task")
        for body in ({}, {"input": []}, {"input": ""}, {"input": ["a"] * 65}, {"input": "a", "timeout": 0}):
            assert http.post(url, json=body).status_code == 400, body
        assert http.post(url, json={"input": QUERY, "timeout": 1e-6}).status_code == 504
    key = guarded.keys["search"]
    with headrace.Client(server.url, api_key=key) as client:
        assert client.run_pipeline(QUERY, pipeline=name) == told["data"][0]["output"]
        many = client.run_pipeline([QUERY, "a mill"] * 40, pipeline=name)
        assert [many[0], many[79]] == [row["output"] for row in told["data"]]

    async def awaited() -> Any:
        async with headrace.AsyncClient(server.url, api_key=key) as client:
            return await client.run_pipeline(QUERY, pipeline=name)

    assert asyncio.run(awaited()) == many[0]
    with guarded.client("all") as http:
        assert http.post("/v1/pipelines/nothing", json={"input": QUERY}).status_code == 404
        assert http.post("/v1/pipelines/broken", json={"input": QUERY}).status_code == 500
        rows = {row["id"]: row for row in http.get("/v1/status").json()["models"]}
        assert rows[name]["task"] == "pipeline"
        assert rows[name]["requests"] >= 80
        counted = server.metric("headrace_pipeline_requests_total", key=guarded.keys["all"], model=name)
        assert counted == rows[name]["requests"]
        assert http.post("/v2/repository/models/masked/unload").status_code == 200
        assert http.post("/v1/pipelines/masked", json={"input": QUERY}).status_code == 404
        assert http.post("/v2/repository/models/masked/load").status_code == 200
        assert http.post("/v1/pipelines/masked", json={"input": QUERY}).status_code == 200
    time.sleep(1)
    [event] = [row for row in read(guarded.folder / "audit") if row.get("request") == "p1"]
    assert (event["model"], event["route"]) == (name, "/v1/pipelines/{name}")
    assert event["prompt_tokens"] == told["usage"]["prompt_tokens"]


def test_over_the_open_inference_protocol(guarded: Guarded) -> None:
    inputs = [{"name": "text", "shape": [2], "datatype": "BYTES", "data": [QUERY, "a mill"]}]
    with guarded.client("search") as http:
        expected = [row["output"] for row in http.post(
            "/v1/pipelines/search", json={"input": [QUERY, "a mill"]}).json()["data"]]  # fmt: skip
        answer = http.post("/v2/models/search/infer", json={"inputs": inputs}).json()
        assert [json.loads(text) for text in answer["outputs"][0]["data"]] == expected
        assert http.get("/v2/models/search").json()["platform"] == "headrace_pipeline"
        assert http.get("/v2/models/search/ready").status_code == 200
        index = http.post("/v2/repository/index").json()
        assert [(row["name"], row["state"]) for row in index] == [("search", "READY")]
        assert http.post("/v2/models/masked/infer", json={"inputs": inputs}).status_code == 403
    text = triton.InferInput("text", [2], "BYTES")
    text.set_data_from_numpy(np.array([QUERY.encode(), b"a mill"], dtype=np.object_))
    headers = {"authorization": f"Bearer {guarded.keys['search']}"}
    with triton.InferenceServerClient(f"127.0.0.1:{guarded.server.started['grpc_port']}") as client:
        found = client.infer("search", [text], headers=headers).as_numpy("output")
        assert [json.loads(each) for each in found] == expected
        with pytest.raises(InferenceServerException, match="scope"):
            client.infer("masked", [text], headers=headers)
        with pytest.raises(InferenceServerException, match=r"DEADLINE|Deadline"):
            client.infer("search", [text], headers=headers, timeout=1)


def test_limits_are_those_of_the_key_and_texts_are_masked(folder: Path, tmp_path: Path) -> None:
    with (
        Server(str(folder), "--mask") as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        body = {"input": "maria smith, maria@example.com, runs the mill", "steps": True}
        told = http.post("/v1/pipelines/masked", json=body)
        assert told.status_code == 200
        assert "example.com" not in told.text
        assert server.stop() == 0
