"""The Open Inference Protocol of functions and tensors takes the short way as well, and nothing but its speed tells."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Server
from test_connection import UNUSUAL, Client, request


@pytest.fixture(scope="module")
def functions() -> Iterator[Server]:
    file = Path(__file__).with_name("served_functions.py")
    with Server(f"dense={file}:Dense", f"{file}:double", f"{file}:measure", "demo:minilm") as running:
        yield running


def infer(inputs: dict[str, tuple[str, list[int], Any]], **more: Any) -> dict[str, Any]:
    """The JSON of a request to the Open Inference Protocol."""
    tensors = [
        {"name": name, "datatype": datatype, "shape": shape, "data": data}
        for name, (datatype, shape, data) in inputs.items()
    ]
    return {"inputs": tensors, **more}


X = ("FP32", [1, 4], [1, 2, 3, 4])
DENSE = infer({"x": X, "id": ("INT64", [1], [7])})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("dense", DENSE | {"id": "seven", "outputs": [{"name": "y"}]}, 200),
        ("dense/versions/1", DENSE | {"parameters": {"binary_data_output": True}}, 200),
        ("dense/versions/2", DENSE, 404),
        ("dense", DENSE | {"model_name": "double"}, 400),
        ("dense", DENSE | {"outputs": [{"name": "z"}]}, 400),
        ("dense", DENSE | {"parameters": {"timeout": -1}}, 400),
        ("dense", infer({"x": X}), 400),
        ("dense", infer({"x": X, "id": ("INT64", [1], [100])}), 400),
        ("dense", b"{", 400),
        ("double", infer({"input": ("BYTES", [2], ["3", '"ab"'])}), 200),
        ("double", infer({"input": ("BYTES", [1], ["{"])}), 400),
        ("double", infer({"input": ("BYTES", [1], ['{"a": 1}'])}), 500),
        ("measure", infer({"data": ("BYTES", [2], ["/9gAAQ==", ""])}), 200),
        ("minilm", infer({"text": ("BYTES", [1], ["a mill wheel"])}), 200),
        ("nobody", DENSE, 404),
    ],
)
def test_both_ways_infer_the_same(functions: Server, path: str, body: Any, status: int) -> None:
    with Client(functions.port) as client:
        answers = [
            client.send(request(body, head, f"/v2/models/{path}/infer")).read()
            for head in ("", UNUSUAL, "accept: */*\r\n")
        ]
    for _, headers, _ in answers:
        assert headers.pop("x-request-id")
        assert headers.pop("date")
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == status
    if status != 200:
        assert list(json.loads(answers[0][2])) == ["error"]


@pytest.mark.parametrize("cut", [0, 40])
@pytest.mark.parametrize("kind", ["", "content-type: application/octet-stream\r\n"])
def test_tensors_behind_the_json_take_either_way(functions: Server, kind: str, cut: int) -> None:
    x = np.float32([[1, 2, 3, 4]])
    tensors = [
        {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}},
        {"name": "id", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
    ]
    text = json.dumps({"inputs": tensors, "outputs": [{"name": "y"}]}).encode()
    body = text + x.tobytes() + np.int64([7]).tobytes()

    def sent(head: str, length: object = len(text)) -> bytes:
        lines = f"POST /v2/models/dense/infer HTTP/1.1\r\nhost: localhost\r\n{kind}{head}"
        return f"{lines}Inference-Header-Content-Length: {length}\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    with Client(functions.port) as client:
        for head in ("", UNUSUAL):
            whole = sent(head) + body
            client.send(whole[: len(whole) - cut])
            time.sleep(0.02)
            status, _, answer = client.send(whole[len(whole) - cut :]).read()
            assert status == 200
            weights = np.arange(8, dtype=np.float32).reshape(4, 2) / 7
            assert np.float32(json.loads(answer)["outputs"][0]["data"]).tolist() == (x @ weights)[0].tolist()
            for length in (len(body) + 1, "x", len(text) - 1):
                assert client.send(sent(head, length) + body).read()[0] == 400


def test_inferences_are_counted_by_their_route(functions: Server) -> None:
    route = "/v2/models/{name}/infer"
    before = functions.metric("headrace_http_requests_total", route=route, status="200")
    with Client(functions.port) as client:
        client.send(request(DENSE, path="/v2/models/dense/infer") * 20)
        assert [client.read()[0] for _ in range(20)] == [200] * 20
    assert functions.metric("headrace_http_requests_total", route=route, status="200") == before + 20
