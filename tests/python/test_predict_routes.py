"""Functions and models of tensors as a service: /v1/predict, the Open Inference Protocol, the clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from conftest import Server

import headrace

FILE = Path(__file__).with_name("served_functions.py")
NAMES = ("double", "spell", "endless", "failing", "measure")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = [f"{FILE}:{name}" for name in NAMES]
    with Server(*models, f"dense={FILE}:Dense", "--grpc-port", "0") as running:
        yield running
        assert running.stop() == 0


def ask(server: Server, **body: Any) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/predict", json=body, timeout=30)


def test_items(server: Server) -> None:
    answer = ask(server, model="double", input=21).json()
    assert answer == {"object": "prediction", "output": 42, "model": "double", "usage": {"items": 1}}
    assert ask(server, model="double", input="ab").json()["output"] == "abab"
    several = ask(server, model="double", inputs=[1, [2], "3"]).json()
    assert [row["output"] for row in several["data"]] == [2, [2, 2], "33"]
    assert several["usage"] == {"items": 3}
    assert ask(server, model="spell", input="mill").json()["output"] == list("mill")


def test_tensors_as_objects(server: Server) -> None:
    found = ask(server, model="dense", inputs=[{"x": [1, 2, 3, 4], "id": i} for i in range(3)]).json()
    # As one batch, since numpy's products of one row and of three may differ in the last digit.
    y = np.float32([[1, 2, 3, 4]] * 3) @ (np.arange(8, dtype=np.float32).reshape(4, 2) / 7)
    for i, row in enumerate(found["data"]):
        assert (
            np.float32(row["output"]["y"]).tolist() == y[i].tolist()
        )  # the shortest decimals read back as the same
        assert (row["output"]["id"], row["output"]["name"]) == (i + 1, f"n{i}")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"model": "double"}, 400, "give input"),
        ({"model": "double", "input": 1, "inputs": [1]}, 400, "give input"),
        ({"model": "double", "inputs": []}, 400, "inputs"),
        ({"model": "double", "inputs": 3}, 400, "inputs"),
        ({"model": "double", "input": 1, "more": 1}, 400, "more"),
        ({"model": "nobody", "input": 1}, 404, "no model is named"),
        ({"model": "double", "input": 1, "stream": True}, 400, "does not stream"),
        ({"model": "spell", "inputs": ["a"], "stream": True}, 400, "one item"),
        ({"model": "dense", "input": [1, 2]}, 400, "must be a dict"),
        ({"model": "dense", "input": {"x": [1, 2, 3], "id": 1}}, 400, "must be [n, 4]"),
        ({"model": "dense", "input": {"x": [1, 2, 3, 4], "id": 100}}, 400, "between 0 and 99"),
        ({"model": "dense", "input": {"x": ["a"], "id": 100}}, 400, "x"),
        ({"model": "double", "input": {"a": 1}}, 500, "raised TypeError"),
    ],
)
def test_refusals(server: Server, body: dict[str, Any], status: int, says: str) -> None:
    answer = ask(server, **body)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_what_a_model_raises_is_not_told_with_its_words(server: Server) -> None:
    error = ask(server, model="failing", input="the secret of someone").json()["error"]
    assert error["code"] == "model_error"
    assert "KeyError" in error["message"]
    assert "secret" not in json.dumps(error)
    assert "the secret of someone" not in server.errors()


def test_streams(server: Server) -> None:
    with headrace.Client(server.url) as client:
        assert list(client.predict_stream("mill", model="spell")) == list("mill")
        seen = []
        for piece in client.predict_stream(0, model="endless"):
            seen.append(piece)
            if len(seen) == 5:
                break
        assert seen == [0, 1, 2, 3, 4]
        with pytest.raises(headrace.InvalidArgumentError):
            list(client.predict_stream(1, model="double"))
    body = {"model": "spell", "input": "ab", "stream": True}
    text = httpx2.post(f"{server.url}/v1/predict", json=body).text
    assert text.startswith('data: {"object":"prediction.chunk","output":"a","model":"spell"}\n\n')
    assert text.endswith("data: [DONE]\n\n")


def test_an_error_in_a_stream_has_the_id_of_its_request() -> None:
    body = {"model": "breaking", "input": 0, "stream": True}
    with Server(f"{FILE}:breaking") as server:
        for headers in ({"x-request-id": "mine-4711"}, {}):
            answer = httpx2.post(f"{server.url}/v1/predict", json=body, headers=headers)
            identity = answer.headers["x-request-id"]
            assert headers.get("x-request-id", identity) == identity
            events = [event.removeprefix("data: ") for event in answer.text.strip().split("\n\n")]
            first, last = map(json.loads, events)
            assert first["output"] == "a"
            assert last["error"]["message"].endswith(f"under request {identity}")
            assert server.errors().count(identity) == 1
        server.terminate()
        assert server.process.wait(30) == 0


def test_the_client(server: Server) -> None:
    with headrace.Client(server.url) as client:
        assert client.predict(21, model="double") == 42
        assert client.predict_many(range(600), model="double") == [2 * i for i in range(600)]
        x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
        found = client.predict(model="dense", x=x, id=range(5))
        np.testing.assert_array_equal(found["y"], x @ (np.arange(8, dtype=np.float32).reshape(4, 2) / 7))
        assert found["y"].dtype == np.float32
        assert found["name"].tolist() == [f"n{i}" for i in range(5)]
        with pytest.raises(headrace.InvalidArgumentError, match="cannot be sent"):
            client.predict(object(), model="double")


async def test_the_client_awaited(server: Server) -> None:
    async with headrace.AsyncClient(server.url) as client:
        assert await client.predict(21, model="double") == 42
        assert await client.predict_many([1, 2], model="double") == [2, 4]
        assert [piece async for piece in client.predict_stream("ab", model="spell")] == ["a", "b"]
        found = await client.predict(model="dense", x=np.ones((1, 4)), id=[7])
        assert found["id"].tolist() == [8]


@pytest.mark.parametrize("library", [triton_http, triton_grpc], ids=["http", "grpc"])
@pytest.mark.parametrize("binary", [True, False])
def test_triton_clients(server: Server, library: Any, binary: bool) -> None:
    url = f"127.0.0.1:{server.port if library is triton_http else server.started['grpc_port']}"
    kind = {"binary_data": binary} if library is triton_http else {}
    with library.InferenceServerClient(url) as client:
        metadata = client.get_model_metadata("dense", **({} if library is triton_http else {"as_json": True}))
        assert [spec["name"] for spec in metadata["inputs"]] == ["x", "id"]
        assert [spec["datatype"] for spec in metadata["outputs"]] == ["FP32", "INT64", "BYTES"]
        x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
        inputs = [library.InferInput("x", [3, 4], "FP32"), library.InferInput("id", [3], "INT64")]
        inputs[0].set_data_from_numpy(x, **kind)
        inputs[1].set_data_from_numpy(np.array([4, 5, 6], np.int64), **kind)
        outputs = [library.InferRequestedOutput(name, **kind) for name in ("y", "name", "id")]
        found = client.infer("dense", inputs, outputs=outputs)
        np.testing.assert_array_equal(
            found.as_numpy("y"), x @ (np.arange(8, dtype=np.float32).reshape(4, 2) / 7)
        )
        names = [name.decode() if isinstance(name, bytes) else name for name in found.as_numpy("name")]
        assert names == ["n4", "n5", "n6"]
        assert found.as_numpy("id").tolist() == [5, 6, 7]

        item = library.InferInput("input", [2], "BYTES")
        item.set_data_from_numpy(np.array([b"3", b'"ab"'], dtype=object))
        assert client.infer("double", [item]).as_numpy("output").tolist() == [b"6", b'"abab"']
        item.set_data_from_numpy(np.array([b"3", b"{"], dtype=object))
        with pytest.raises(Exception, match="is not JSON"):
            client.infer("double", [item])
        wrong = library.InferInput("x", [3, 4], "FP64")
        wrong.set_data_from_numpy(x.astype(np.float64), **kind)
        with pytest.raises(Exception, match="must be FP32"):
            client.infer("dense", [wrong, inputs[1]])


def infer(server: Server, **tensor: Any) -> httpx2.Response:
    one = {"name": "id", "datatype": "INT64", "shape": [1], "data": [1]}
    given = {"name": "x", "datatype": "FP32", "shape": [1, 4], **tensor}
    return httpx2.post(f"{server.url}/v2/models/dense/infer", json={"inputs": [given, one]})


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({"data": [1, 2, 3]}, "as many numbers as its shape"),
        ({"data": [[1, 2], [3]]}, "as many numbers"),
        ({"data": [1, 2, 3, "4"]}, "as many numbers"),
        ({"data": None}, "as many numbers"),
        ({"data": [1, 2, 3, 4], "shape": [4]}, "must be [n, 4]"),
        ({"data": [1, 2, 3, 4], "shape": [-1, 4]}, "sizes are at least 0"),
        ({"data": [], "shape": [2**40, 2**40]}, "must not hold more"),
        ({"data": [], "shape": [0, 4]}, "at least 1"),
        ({"data": [1, 2, 3, 1e300]}, "x[0, 3] is inf"),
        ({"data": [1, 2, 3, 4], "datatype": "FP16"}, "must be FP32"),
        ({"parameters": {"binary_data_size": 16}}, "0 bytes are left"),
    ],
)
def test_unfit_tensors(server: Server, tensor: dict[str, Any], says: str) -> None:
    answer = infer(server, **tensor)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_nested_data_is_taken_too(server: Server) -> None:
    flat, nested = infer(server, data=[1, 2, 3, 4]).json(), infer(server, data=[[1, 2, 3, 4]]).json()
    assert flat["outputs"] == nested["outputs"]


def test_grpc_streams(server: Server) -> None:
    import queue

    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
        found: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: found.put(error or result))
        item = triton_grpc.InferInput("input", [1], "BYTES")
        item.set_data_from_numpy(np.array([b'"mill"'], dtype=object))
        client.async_stream_infer("spell", [item])
        pieces = []
        while True:
            result = found.get(timeout=10)
            assert not isinstance(result, Exception), result
            pieces += [json.loads(piece) for piece in result.as_numpy("output")]
            if result.get_response().parameters["triton_final_response"].bool_param:
                break
        client.stop_stream()
    assert pieces == list("mill")


def test_it_is_counted_and_listed(server: Server) -> None:
    models = {model["id"]: model["task"] for model in httpx2.get(f"{server.url}/v1/models").json()["data"]}
    assert models == dict.fromkeys((*NAMES, "dense"), "predict")
    before = server.metric("headrace_sequences_total", model="double")
    ask(server, model="double", inputs=[1, 2, 3])
    assert server.metric("headrace_sequences_total", model="double") == before + 3
    config = httpx2.get(f"{server.url}/v2/models/dense/config").json()
    assert config["input"][0] == {"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}
    assert httpx2.get(f"{server.url}/v2/models/double/stats").json()["model_stats"][0]["inference_count"] > 0


def test_masking() -> None:
    with Server(f"{FILE}:secretive", f"{FILE}:double", "--mask") as server:
        answer = ask(server, model="secretive", input="write to jane.doe@example.com").json()["output"]
        assert "jane.doe" not in answer
        assert "1234567" not in answer
        assert "jane.doe" not in json.dumps(
            ask(server, model="double", input=["jane.doe@example.com"]).json()
        )
        assert server.stop() == 0


def test_a_folder_with_code_needs_trust(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    canary = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    code += "def answer(batch):\n    return [len(x) for x in batch]\n"
    (folder / "model.py").write_text(code)
    manifest = folder / "headrace.toml"
    manifest.write_text('runtime = "python"\nfunction = "model.py:answer"\n[batch]\nmax_batch = 4\n')
    with headrace.Engine(threads=1) as engine:
        with pytest.raises(headrace.UnsupportedError, match="trusted = true") as caught:
            engine.add("mine", folder)
        assert caught.value.code == "not_trusted"
        assert not canary.exists()
        manifest.write_text("trusted = true\n" + manifest.read_text())
        assert engine.add("mine", folder).predict("four") == 4
        assert canary.exists()
    for function in ("../model.py:answer", "model.py", "model.py:", "/etc/passwd:x", "model.py:missing"):
        manifest.write_text(f'runtime = "python"\ntrusted = true\nfunction = "{function}"\n')
        with headrace.Engine(threads=1) as engine, pytest.raises(headrace.Error):
            engine.add("mine", folder)
    manifest.write_text('runtime = "python"\ntrusted = true\nfunction = "model.py:answer"\n')
    with Server(str(tmp_path)) as server:  # a folder of models, in which this one is found
        assert server.stop() == 0


@pytest.mark.parametrize("library", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_any_bytes_reach_a_function(server: Server, library: Any) -> None:
    """Also such as are no text, or end in zeros, which numpy's own type drops."""
    url = f"127.0.0.1:{server.port if library is triton_http else server.started['grpc_port']}"
    given = [b"\xff\xd8\x00\x01", b"ends in zeros\x00\x00"]
    with library.InferenceServerClient(url) as client:
        item = library.InferInput("data", [2], "BYTES")
        item.set_data_from_numpy(np.array(given, dtype=object))
        found = client.infer("measure", [item])
        assert found.as_numpy("length").tolist() == [4, 15]
        assert found.as_numpy("data").tolist() == given


def test_bytes_of_items_are_base64(server: Server) -> None:
    given = [b"\xff\xd8\x00\x01", b"ends in zeros\x00\x00", b""]
    items = [{"data": base64.b64encode(each).decode()} for each in given]
    rows = ask(server, model="measure", inputs=items).json()["data"]
    assert [row["output"]["length"] for row in rows] == [4, 15, 0]
    assert [base64.b64decode(row["output"]["data"]) for row in rows] == given
    for wrong in ("no base64!", "/9gAAQ", 7, None, ["a"], {"b": 1}):
        answer = ask(server, model="measure", input={"data": wrong})
        assert answer.status_code == 400
        assert "data must be base64" in answer.text or "data: the shape" in answer.text
    assert "missing" in ask(server, model="measure", input={}).text
    with headrace.Client(server.url) as client:
        assert client.predict({"data": given[0]}, model="measure")["length"] == 4
        many = client.predict_many([{"data": each} for each in given], model="measure")
        assert [row["length"] for row in many] == [4, 15, 0]
        assert client.predict(model="measure", data=given)["length"].tolist() == [4, 15, 0]


def test_bytes_in_json_are_base64(server: Server) -> None:
    tensor = {"name": "data", "datatype": "BYTES", "shape": [1], "data": ["/9gAAQ=="]}
    answer = httpx2.post(
        f"{server.url}/v2/models/measure/infer", json={"inputs": [tensor], "outputs": [{"name": "length"}]}
    )
    assert answer.json()["outputs"][0]["data"] == [4]
    tensor["data"] = ["no base64!"]
    answer = httpx2.post(f"{server.url}/v2/models/measure/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert "must be base64" in answer.text
