"""The Open Inference Protocol over REST: Triton's own client, and a clear refusal of everything malformed."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from conftest import TOY_TASKS, Server
from tritonclient.utils import InferenceServerException

import headrace

TEXTS = ["a mill wheel", "Wasser läuft über das Rad", "水车"]


@pytest.fixture(scope="module")
def server(toy_folder: Path) -> Iterator[Server]:
    with Server(
        "demo:minilm", "demo:smollm2", *(f"{task}={toy_folder / task}" for task in TOY_TASKS)
    ) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def texts_input(name: str, texts: list[str], *, binary: bool = True, kind: Any = triton) -> Any:
    tensor = kind.InferInput(name, [len(texts)], "BYTES")
    tensor.set_data_from_numpy(
        np.array([text.encode() for text in texts], dtype=np.object_), binary_data=binary
    )
    return tensor


def test_what_the_server_and_its_models_are(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("minilm")
    assert client.is_model_ready("minilm", "1")
    metadata = client.get_server_metadata()
    assert metadata["name"] == "headrace"
    assert "binary_tensor_data" in metadata["extensions"]
    model = client.get_model_metadata("minilm")
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]
    config = client.get_model_config("minilm")
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    states = {row["name"]: row["state"] for row in client.get_model_repository_index()}
    assert states == dict.fromkeys(["minilm", "smollm2", *TOY_TASKS], "READY")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_embeddings_are_those_of_the_engine(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool | None
) -> None:
    asked = None if binary_out is None else [triton.InferRequestedOutput("embedding", binary_data=binary_out)]
    tensor = texts_input("text", TEXTS, binary=binary_in)
    result = client.infer("minilm", [tensor], outputs=asked, request_id="seven")
    assert result.get_response()["id"] == "seven"
    with headrace.load("demo:minilm") as model:
        np.testing.assert_array_equal(result.as_numpy("embedding"), model.embed(TEXTS))
        short = client.infer("minilm", [tensor], parameters={"dimensions": 32}).as_numpy("embedding")
        np.testing.assert_array_equal(short, model.embed(TEXTS, dimensions=32))


async def test_many_at_once(server: Server) -> None:
    async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
        results = await asyncio.gather(
            *(
                client.infer("minilm", [texts_input("text", [f"text {i}"], kind=triton_aio)])
                for i in range(40)
            )
        )
    with headrace.load("demo:minilm") as model:
        expected = model.embed([f"text {i}" for i in range(40)])
    np.testing.assert_array_equal(np.concatenate([r.as_numpy("embedding") for r in results]), expected)


def test_every_task_gives_what_its_method_gives(
    client: triton.InferenceServerClient, toy_folder: Path
) -> None:
    with headrace.load(toy_folder / "classify") as model:
        result = client.infer("classify", [texts_input("text", TEXTS)])
        for row, label, expected in zip(
            result.as_numpy("scores"), result.as_numpy("label"), model.classify(TEXTS), strict=True
        ):
            assert label.decode() == expected[0].label
            assert dict(zip(model.info.labels, row.tolist(), strict=True)) == pytest.approx(
                {each.label: each.score for each in expected}
            )
    with headrace.load(toy_folder / "rerank") as model:
        inputs = [texts_input("query", ["mill"]), texts_input("documents", TEXTS)]
        scores = client.infer("rerank", inputs).as_numpy("score")
        assert {r.index: r.score for r in model.rerank("mill", TEXTS)} == pytest.approx(
            dict(enumerate(scores.tolist()))
        )
    with headrace.load(toy_folder / "tag") as model:
        told = client.infer("tag", [texts_input("text", TEXTS)]).as_numpy("entities")
        expected = [[(e.label, e.start, e.end) for e in entities] for entities in model.tag(TEXTS)]
        assert [[(e["label"], e["start"], e["end"]) for e in json.loads(text)] for text in told] == expected
    with headrace.load(toy_folder / "answer") as model:
        inputs = [
            texts_input("question", ["What turns?"]),
            texts_input("context", ["The wheel turns in the water."]),
        ]
        result = client.infer("answer", inputs)
        best = model.answer("What turns?", "The wheel turns in the water.").best
        assert best is not None
        assert result.as_numpy("answer")[0].decode() == best.text
        assert (result.as_numpy("start")[0], result.as_numpy("end")[0]) == (best.start, best.end)
    with headrace.load(toy_folder / "fill_mask") as model:
        text = "the [MASK] turns"
        told = client.infer("fill_mask", [texts_input("text", [text])], parameters={"top_k": 3}).as_numpy(
            "candidates"
        )
        [places] = [model.fill_mask(text, top_k=3)]
        assert [c["text"] for c in json.loads(told[0])] == [c.text for c in places[0]]


def test_a_text_is_generated(client: triton.InferenceServerClient) -> None:
    tensor = texts_input("text_input", ["Water flows"])
    result = client.infer("smollm2", [tensor], parameters={"max_tokens": 8, "temperature": 0})
    with headrace.load("demo:smollm2") as model:
        assert (
            result.as_numpy("text_output")[0].decode()
            == model.generate("Water flows", max_tokens=8, temperature=0).text
        )


def test_statistics_count(client: triton.InferenceServerClient) -> None:
    def counted() -> int:
        return int(
            client.get_inference_statistics("minilm")["model_stats"][0]["inference_stats"]["success"]["count"]
        )

    before = counted()
    client.infer("minilm", [texts_input("text", TEXTS)])
    assert counted() == before + 1
    names = [row["name"] for row in client.get_inference_statistics()["model_stats"]]
    assert names == ["minilm", "smollm2", *TOY_TASKS]


def test_clients_are_told_what_is_wrong(client: triton.InferenceServerClient) -> None:
    for name, version, message in (("nobody", "", "nobody"), ("minilm", "2", "no version '2'")):
        with pytest.raises(InferenceServerException, match=message):
            client.infer(name, [texts_input("text", TEXTS)], model_version=version)
    with pytest.raises(InferenceServerException, match="known are"):
        client.infer("minilm", [texts_input("text", TEXTS)], parameters={"unheard_of": 1})
    with pytest.raises(InferenceServerException, match="dimensions"):
        client.infer("minilm", [texts_input("text", TEXTS)], parameters={"dimensions": 5000})
    with pytest.raises(InferenceServerException, match="embedding"):
        client.infer("minilm", [texts_input("text", TEXTS)], outputs=[triton.InferRequestedOutput("vector")])


TEXT = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "missing"),
        ({"inputs": [{**TEXT, "name": "other"}]}, "has the inputs text"),
        ({"inputs": [TEXT, TEXT]}, "each once"),
        ({"inputs": [{**TEXT, "datatype": "FP32"}]}, "must be BYTES"),
        ({"inputs": [{**TEXT, "shape": [2]}]}, "as many texts"),
        ({"inputs": [{**TEXT, "shape": [-1]}]}, "shape"),
        ({"inputs": [{**TEXT, "shape": []}]}, "shape"),
        ({"inputs": [{**TEXT, "shape": [2**31, 2**31]}]}, "shape"),
        ({"inputs": [{**TEXT, "shape": [0]}]}, "shape"),
        ({"inputs": [{**TEXT, "data": [3]}]}, "list of as many texts"),
        ({"inputs": [{**TEXT, "data": "a"}]}, "list of as many texts"),
        ({"inputs": [{**TEXT, "data": [""]}]}, "empty"),
        ({"inputs": [{**TEXT, "parameters": {"binary_data_size": 4}}]}, "binary_data_size"),
        ({"parameters": {"truncate": "yes"}}, "wrong kind"),
        ({"parameters": {"dimensions": True}}, "wrong kind"),
        ({"parameters": {"sequence_id": 3}}, "not known"),
        ({"parameters": {"timeout": -1}}, "not known"),
        ({"outputs": [{"name": "embedding", "parameters": {"classification": 3}}]}, "classification"),
        ({"unheard_of": 1}, "unknown fields"),
    ],
)
def test_malformed_requests(http: httpx2.Client, change: dict[str, Any], message: str) -> None:
    answer = http.post("/v2/models/minilm/infer", json={"inputs": [TEXT], **change})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("raw", "size", "message"),
    [
        (b"", 5, "0 bytes are left"),
        (b"\x01\0\0\0", 4, "goes beyond"),
        (b"\xff\xff\xff\xffa", 5, "goes beyond"),
        (b"\x01\0\0\0\xff", 5, "not UTF-8"),
        (b"\x01\0\0\0ab", 6, "not its shape's"),
        (b"\x01\0\0\0ab", 5, "behind the last tensor"),
        (b"\x01\0", 2, "goes beyond"),
        (b"\x01\0\0\0a", True, "binary_data_size"),
    ],
)
def test_malformed_binary_tensors(http: httpx2.Client, raw: bytes, size: Any, message: str) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = http.post("/v2/models/minilm/infer", content=head + raw, headers=headers)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    for length in ("-1", "x", str(len(head) + len(raw) + 1), "9" * 40):
        answer = http.post(
            "/v2/models/minilm/infer", content=head + raw, headers={"inference-header-content-length": length}
        )
        assert answer.status_code == 400


def test_random_bytes_are_never_an_internal_error(http: httpx2.Client) -> None:
    random = np.random.default_rng(5)
    head = json.dumps(
        {
            "inputs": [
                {"name": "text", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": 24}}
            ]
        }
    )
    for _ in range(200):
        raw = bytearray(struct.pack("<I4sI4sI4s", 4, b"mill", 4, b"turn", 4, b"wate"))
        body = bytearray(head.encode() + raw)
        for place in random.integers(0, len(body), 3):
            body[place] = int(random.integers(256))
        answer = http.post(
            "/v2/models/minilm/infer",
            content=bytes(body),
            headers={"inference-header-content-length": str(len(head))},
        )
        assert answer.status_code in (200, 400)


def test_a_deadline_is_kept(http: httpx2.Client) -> None:
    body = {
        "inputs": [{**TEXT, "name": "text_input"}],
        "parameters": {"timeout": 20_000, "max_tokens": 4000, "ignore_eos": True},
    }
    answer = http.post("/v2/models/smollm2/infer", json=body)
    assert answer.status_code == 504
