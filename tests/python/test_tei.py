"""The routes of text-embeddings-inference, and huggingface_hub's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server
from huggingface_hub import InferenceClient

import headrace
import headrace.toy

TEXTS = ["a mill wheel", "the water turns it", "a shop"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in ("classify", "rerank"):
        headrace.toy.model(task, folder / task)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server("demo:minilm", f"labels={folder / 'classify'}", f"ranks={folder / 'rerank'}") as server:
        yield server
        assert server.stop() == 0


def test_vectors(http: httpx2.Client) -> None:
    with headrace.load("demo:minilm") as model:
        expected = model.embed(TEXTS)
        assert np.array_equal(np.float32(http.post("/embed", json={"inputs": TEXTS}).json()), expected)
        [one] = http.post("/embed", json={"inputs": TEXTS[0], "truncate": True, "normalize": True}).json()
        assert np.array_equal(np.float32(one), expected[0])
        short = http.post("/embed", json={"inputs": TEXTS, "dimensions": 64}).json()
        np.testing.assert_allclose(short, model.embed(TEXTS, dimensions=64), atol=1e-7)
        inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
        similar = http.post("/similarity", json={"inputs": inputs}).json()
        np.testing.assert_allclose(similar, model.similarity(expected[:1], expected[1:])[0], atol=1e-6)


def test_ranks_and_labels(http: httpx2.Client, folder: Path) -> None:
    with headrace.load(folder / "rerank") as model:
        told = http.post("/rerank", json={"query": "mill", "texts": TEXTS, "return_text": True}).json()
        expected = model.rerank("mill", TEXTS)
        assert [(row["index"], row["text"]) for row in told] == [(r.index, r.document) for r in expected]
        assert [row["score"] for row in told] == pytest.approx([r.score for r in expected])
    with headrace.load(folder / "classify") as model:

        def labels(inputs: Any) -> Any:
            return http.post("/predict", json={"inputs": inputs}).json()

        [alone], several = model.classify(TEXTS[0]), model.classify(TEXTS)
        [pair] = model.classify([(TEXTS[0], TEXTS[1])])
        assert [row["label"] for row in labels(TEXTS[0])] == [label.label for label in alone]
        assert [[row["score"] for row in rows] for rows in labels(TEXTS)] == [
            pytest.approx([label.score for label in found]) for found in several
        ]
        assert [row["score"] for row in labels(TEXTS[:2])] == pytest.approx([label.score for label in pair])
        assert [row["score"] for row in labels([TEXTS[:2]])[0]] == pytest.approx(
            [label.score for label in pair]
        )


def test_tokens(http: httpx2.Client) -> None:
    [tokens] = http.post("/tokenize", json={"inputs": "a mill wheel", "model": "minilm"}).json()
    assert [token["id"] for token in tokens] == [101, 1037, 4971, 5217, 102]
    assert [token["text"] for token in tokens] == ["[CLS]", "a", "mill", "wheel", "[SEP]"]
    assert [token["special"] for token in tokens] == [True, False, False, False, True]
    assert (tokens[2]["start"], tokens[2]["stop"]) == (2, 6)
    assert http.post("/decode", json={"ids": [101, 1037, 4971, 102], "model": "minilm"}).json() == ["a mill"]


def test_hugging_faces_client() -> None:
    with Server("demo:minilm") as server, headrace.load("demo:minilm") as model:
        client = InferenceClient(model=server.url, token="none")
        np.testing.assert_array_equal(client.feature_extraction(TEXTS[0])[0], model.embed(TEXTS[0])[0])
        vectors = httpx2.post(server.url, json={"inputs": TEXTS}).json()
        np.testing.assert_array_equal(np.float32(vectors), model.embed(TEXTS))
        info = httpx2.get(f"{server.url}/info").json()
        assert info["model_id"] == "minilm"
        assert info["max_input_length"] == model.info.max_tokens
        assert httpx2.get(f"{server.url}/health").status_code == 200
        for path, body in httpx2.get(f"{server.url}/openapi.json").json()["paths"].items():
            if path in ("/", "/embed", "/similarity", "/tokenize", "/decode"):
                example = body["post"]["requestBody"]["content"]["application/json"]["example"]
                assert httpx2.post(f"{server.url}{path}", json=example).status_code == 200, path
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/embed", {"inputs": []}, 400, "inputs"),
        ("/embed", {"inputs": ""}, 400, "inputs"),
        ("/embed", {"inputs": "word " * 600}, 400, "256"),
        ("/embed", {"inputs": "a", "normalize": False}, 400, "length 1"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, 400, "right only"),
        ("/embed", {"inputs": "a", "prompt_name": "none"}, 400, "prompt"),
        ("/embed", {"inputs": "a", "encoding_format": "base64"}, 400, "float"),
        ("/embed", {"inputs": "a", "unheard_of": 1}, 400, "unknown fields"),
        ("/embed", {"inputs": "a", "model": "labels"}, 400, "cannot embed"),
        ("/embed", {"inputs": "a", "model": "nobody"}, 404, "nobody"),
        ("/predict", {"inputs": [["a", "b", "c"]]}, 400, "inputs"),
        ("/predict", {"inputs": "a", "raw_scores": True}, 400, "raw_scores"),
        ("/tokenize", {"inputs": "a"}, 400, "name one of"),
        ("/decode", {"ids": [-1], "model": "minilm"}, 400, "ids"),
        ("/", {"inputs": "a"}, 400, "name one of"),
    ],
)
def test_what_is_refused(
    http: httpx2.Client, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "error_type"}
    assert message in answer.json()["error"]
