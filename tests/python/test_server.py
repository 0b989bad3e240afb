"""The HTTP routes of a running server: right answers, and a clear refusal of everything else."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
import time
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server

from headrace.serve.inference import ROUTES as INFERENCE_ROUTES

JSON = {"content-type": "application/json"}
LONG = "the water turns the wheel " * 20  # about 100 tokens


def post(http: httpx2.Client, **body: Any) -> httpx2.Response:
    return http.post("/v1/embeddings", json={"model": "minilm", **body})


def vectors(answer: httpx2.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]], dtype=np.float32)


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The error of a refused request, after checking what every refusal must have."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.headers["x-request-id"]
    assert not re.search(r"Traceback|\.py|/headrace|0x[0-9a-f]{6}", answer.text), answer.text
    return error


class TestEmbeddings:
    def test_has_the_shape_of_openai(self, http: httpx2.Client) -> None:
        answer = post(http, input=["a mill wheel", "a water turbine"]).json()
        assert answer["object"] == "list"
        assert answer["model"] == "minilm"
        assert [row["index"] for row in answer["data"]] == [0, 1]
        assert [row["object"] for row in answer["data"]] == ["embedding", "embedding"]
        usage = answer["usage"]
        assert usage["prompt_tokens"] == usage["total_tokens"] > 4
        assert set(usage) == {"prompt_tokens", "total_tokens"}

    def test_vectors_are_normalised_and_mean_something(self, http: httpx2.Client) -> None:
        found = vectors(post(http, input=["How old are you?", "What is your age?", "The market fell."]))
        assert found.shape == (3, 384)
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        likeness = found @ found.T
        assert likeness[0, 1] > 0.7 > 0.3 > likeness[0, 2]

    def test_one_text_is_as_a_list_of_one(self, http: httpx2.Client) -> None:
        one, listed = post(http, input="a mill wheel"), post(http, input=["a mill wheel"])
        assert one.content == listed.content

    def test_alone_equals_in_company_to_the_bit(self, http: httpx2.Client) -> None:
        texts = [LONG, "short", "水车在转动", "A text of middling length, to differ."]
        together = vectors(post(http, input=texts))
        alone = np.concatenate([vectors(post(http, input=text)) for text in texts])
        assert np.array_equal(together, alone)

    def test_base64_holds_the_same_numbers(self, http: httpx2.Client) -> None:
        decimal = vectors(post(http, input=["x y z"]))
        coded = post(http, input=["x y z"], encoding_format="base64").json()["data"][0]["embedding"]
        assert np.array_equal(np.frombuffer(base64.b64decode(coded), "<f4"), decimal[0])

    def test_dimensions_keep_the_first_and_normalise_again(self, http: httpx2.Client) -> None:
        whole, short = vectors(post(http, input="x")), vectors(post(http, input="x", dimensions=64))
        expected = whole[:, :64] / np.linalg.norm(whole[:, :64])
        assert short.shape == (1, 64)
        assert np.allclose(short, expected, atol=1e-6)

    def test_token_ids_equal_the_text_they_stand_for(self, http: httpx2.Client) -> None:
        ids = [101, 1037, 4971, 5217, 102]  # [CLS] a mill wheel [SEP]
        text = vectors(post(http, input="a mill wheel"))
        assert np.array_equal(vectors(post(http, input=ids)), text)
        assert np.array_equal(vectors(post(http, input=[ids, ids])), np.concatenate([text, text]))

    def test_truncation_happens_only_when_asked_and_is_told(self, http: httpx2.Client) -> None:
        long = "word " * 3000
        error = refusal(post(http, input=["fine", long]), 400)
        assert error["code"] == "context_length_exceeded"
        assert error["param"] == "input"
        answer = post(http, input=["fine", long], truncate=True)
        assert vectors(answer).shape == (2, 384)
        assert answer.json()["usage"]["truncated_inputs"] == 1

    def test_accepts_user_and_nulls(self, http: httpx2.Client) -> None:
        assert post(http, input="x", user="u-1", dimensions=None, encoding_format=None).status_code == 200

    def test_2048_texts_are_allowed_and_2049_are_not(self, http: httpx2.Client) -> None:
        assert vectors(post(http, input=["a"] * 2048)).shape == (2048, 384)
        error = refusal(post(http, input=["a"] * 2049), 400)
        assert error["param"] == "input"
        assert "2048" in error["message"]

    def test_a_content_type_with_charset_is_json(self, http: httpx2.Client) -> None:
        headers = {"content-type": "application/json; charset=UTF-8"}
        assert http.post("/v1/embeddings", json={"model": "minilm", "input": "x"}, headers=headers).is_success

    def test_a_chunked_body_is_read(self, http: httpx2.Client) -> None:
        body = json.dumps({"model": "minilm", "input": "x y"}).encode()
        parts = (body[i : i + 7] for i in range(0, len(body), 7))
        assert http.post("/v1/embeddings", content=parts, headers=JSON).status_code == 200

    def test_the_request_id_is_echoed_or_made(self, http: httpx2.Client) -> None:
        body = {"model": "minilm", "input": "x"}
        for path in ("/v1/embeddings", "/nothing"):
            echoed = http.post(path, json=body, headers={"x-request-id": "abc-1"})
            assert echoed.headers["x-request-id"] == "abc-1"
            made = http.post(path, json=body, headers={"x-request-id": "x" * 1000})
            assert 16 <= len(made.headers["x-request-id"]) <= 64


BAD_FIELDS = [
    ({"input": []}, "input", "empty list"),
    ({"input": ""}, "input", "empty string"),
    ({"input": ["fine", ""]}, "input", "input[1]"),
    ({"input": 3}, "input", "`int`"),
    ({"input": None}, "input", "`null`"),
    ({"input": {"text": "x"}}, "input", "`object`"),
    ({"input": ["fine", 3]}, "input", "input[1]"),
    ({"input": [3, "fine"]}, "input", "input[1]"),
    ({"input": ["fine", None]}, "input", "input[1]"),
    ({"input": [1.5]}, "input", "input[0]"),
    ({"input": [[1, 2], []]}, "input", "input[1]"),
    ({"input": [[1, "x"]]}, "input", "input[0][1]"),
    ({"input": [[-1]]}, "input", ">= 0"),
    ({"input": [-1]}, "input", ">= 0"),
    ({"input": [10**30]}, "input", "input[0]"),
    ({"input": [2**31 - 1]}, "input", "2147483647"),  # a valid number, but no such token
    ({"input": "x", "dimensions": 0}, "dimensions", "dimensions=0"),
    ({"input": "x", "dimensions": 385}, "dimensions", "384"),
    ({"input": "x", "dimensions": -(10**30)}, "dimensions", ""),
    ({"input": "x", "dimensions": "64"}, "dimensions", "`str`"),
    ({"input": "x", "encoding_format": "hex"}, "encoding_format", "'hex'"),
    ({"input": "x", "encoding_format": 1}, "encoding_format", "`int`"),
    ({"input": "x", "truncate": "yes"}, "truncate", "`str`"),
    ({"input": "x", "user": 5}, "user", "`int`"),
    ({"input": "x", "model": 5}, "model", "`int`"),
    ({"input": "x", "model": ""}, "model", ">= 1"),
    ({"input": "x", "model": "m" * 1000}, "model", "<= 256"),
    ({"input": "x", "temperature": 1, "n": 2}, "temperature", "temperature, n"),
    ({}, "input", "missing"),
]


@pytest.mark.parametrize(("fields", "param", "told"), BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_a_wrong_field_is_refused_by_name(
    http: httpx2.Client, fields: dict[str, Any], param: str, told: str
) -> None:
    error = refusal(post(http, **fields), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert told in error["message"]


MALFORMED = {
    "empty": b"",
    "no JSON": b"hello",
    "cut off": b'{"model": "minilm", "input": "x',
    "trailing": b'{"model": "minilm", "input": "x"} {}',
    "single quotes": b"{'model': 'minilm'}",
    "NaN": b'{"model": "minilm", "input": NaN}',
    "deep list": b'{"model": "minilm", "input": ' + b"[" * 100_000,
    "deep unknown field": b'{"model": "minilm", "x": ' + b'{"a":' * 100_000,
    "lone high surrogate": b'{"model": "minilm", "input": "\\ud800"}',
    "lone high surrogate inside": b'{"model": "minilm", "input": "a\\ud800bc and more of it"}',
    "lone low surrogate": b'{"model": "minilm", "input": "\\udc00"}',
    "surrogate in the name": b'{"model": "\\ud800", "input": "x"}',
    "not UTF-8": b'{"model": "minilm", "input": "\xff\xfe"}',
    "UTF-8 surrogate": b'{"model": "minilm", "input": "\xed\xa0\x80"}',
    "UTF-16": '{"model": "minilm", "input": "x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model": "minilm", "input": "x"}',
    "raw control character": b'{"model": "minilm", "input": "a\x00b"}',
    "a list": b"[]",
    "a string": b'"minilm"',
    "null": b"null",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_refused(http: httpx2.Client, body: bytes) -> None:
    start = time.perf_counter()
    answer = http.post("/v1/embeddings", content=body, headers=JSON)
    refusal(answer, 400)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("name", ["deep list", "deep unknown field"])
def test_a_hundred_thousand_brackets_are_refused_at_once(http: httpx2.Client, name: str) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        refusal(http.post("/v1/embeddings", content=MALFORMED[name], headers=JSON), 400)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(10)) < 0.02  # what else runs here is not what is asked


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
def test_another_content_type_is_refused(http: httpx2.Client, content_type: str) -> None:
    headers = {"content-type": content_type}
    error = refusal(
        http.post("/v1/embeddings", content=b'{"model":"minilm","input":"x"}', headers=headers), 400
    )
    assert "application/json" in error["message"]


def test_a_compressed_body_is_refused(http: httpx2.Client) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    error = refusal(http.post("/v1/embeddings", content=b"\x1f\x8b\x08", headers=headers), 400)
    assert "content-encoding" in error["message"]


def test_an_unknown_model_is_not_found(http: httpx2.Client) -> None:
    error = refusal(http.post("/v1/embeddings", json={"model": "gpt-9", "input": "x"}), 404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "minilm" in error["message"]


class TestOtherRoutes:
    def test_models_are_listed(self, http: httpx2.Client) -> None:
        listed = http.get("/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["minilm"]
        one = http.get("/v1/models/minilm").json()
        assert one == listed["data"][0]
        assert one["object"] == "model"
        assert one["dimensions"] == 384
        assert abs(one["created"] - time.time()) < 3600

    @pytest.mark.parametrize("name", ["nope", "a/b", "%00", "%0a", "..", "x" * 500])
    def test_an_unknown_name_is_not_found(self, http: httpx2.Client, name: str) -> None:
        answer = http.get(f"/v1/models/{name}")
        refusal(answer, 404)

    def test_unknown_routes_and_methods_have_the_error_shape(self, http: httpx2.Client) -> None:
        assert "/docs" in refusal(http.get("/v1/nothing"), 404)["message"]
        answer = http.get("/v1/embeddings")
        refusal(answer, 405)
        assert answer.headers["allow"] == "POST"

    def test_it_is_alive_and_ready(self, http: httpx2.Client) -> None:
        assert http.get("/livez").text == "ok\n"
        assert http.get("/readyz").status_code == 200

    def test_docs_need_nothing_from_elsewhere(self, http: httpx2.Client) -> None:
        page = http.get("/docs")
        assert page.status_code == 200
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]

    def test_every_documented_example_works(self, http: httpx2.Client) -> None:
        described = http.get("/openapi.json").json()
        assert set(described["paths"]) - {path for _, path in INFERENCE_ROUTES} == {
            *(
                "/",
                "/embed",
                "/rerank",
                "/predict",
                "/similarity",
                "/tokenize",
                "/decode",
                "/info",
                "/health",
            ),
            *("/v1/embeddings", "/v1/models", "/v1/models/{id}"),
            *("/v1/classify", "/v1/rerank", "/v1/tag", "/v1/answer", "/v1/fill-mask", "/v1/predict"),
            "/v1/mask",
            "/v1/pipelines/{name}",
            *("/v1/chat/completions", "/v1/completions"),
            *("/livez", "/readyz", "/metrics", "/v1/status"),
            *("/v1/admin/keys", "/v1/admin/keys/{id}", "/v1/admin/models", "/v1/admin/audit"),
            "/v1/admin/models/{name}/promote",
        }
        body = described["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]
        assert len(body["examples"]) >= 4
        for name, example in body["examples"].items():
            assert http.post("/v1/embeddings", json=example["value"]).status_code == 200, name
        body = described["paths"]["/v2/models/{name}/infer"]["post"]["requestBody"]["content"][
            "application/json"
        ]
        assert http.post("/v2/models/minilm/infer", json=body["example"]).status_code == 200


def open_request(server: Server, texts: list[str]) -> socket.socket:
    body = json.dumps({"model": "minilm", "input": texts}).encode()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
    return connection


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_the_work_of_a_client_that_left_is_cancelled(
    server: Server, http: httpx2.Client, reset: bool
) -> None:
    expected = vectors(post(http, input="a mill wheel"))
    before = server.metric("headrace_cancelled_total", model="minilm")
    connection = open_request(server, [LONG] * 1500)  # seconds of work
    time.sleep(0.3)
    neighbours: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: neighbours.append(vectors(post(http, input="a mill wheel"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    for thread in threads:
        thread.join()
    assert len(neighbours) == 4
    assert all(np.array_equal(found, expected) for found in neighbours)
    end = time.monotonic() + 10
    while server.metric("headrace_cancelled_total", model="minilm") == before:
        assert time.monotonic() < end, "the work went on after its client had left"
        time.sleep(0.05)
    assert server.metric("headrace_cancelled_total", model="minilm") == before + 1
    assert np.array_equal(vectors(post(http, input="a mill wheel")), expected)


def test_a_client_that_leaves_while_sending_harms_nobody(server: Server, http: httpx2.Client) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b'content-length: 5000\r\n\r\n{"model": "min'
            )
    assert post(http, input="x").status_code == 200


def test_garbage_instead_of_http_harms_nobody(server: Server, http: httpx2.Client) -> None:
    for garbage in (
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"POST /v1/embeddings HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert post(http, input="x").status_code == 200
