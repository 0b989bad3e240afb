"""Pictures over HTTP, by both clients, the Open Inference Protocol and the command line, on toy models that see."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from PIL import Image
from tritonclient.utils import InferenceServerException

import headrace
import headrace.toy
from headrace import pictures


def encoded(seed: int, kind: str = "PNG") -> bytes:
    picture = np.random.default_rng(seed).integers(0, 256, (20 + seed, 33, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


FILES = [encoded(0), encoded(1, "JPEG"), encoded(2, "WEBP")]
PLAIN = [base64.b64encode(data).decode() for data in FILES]
URLS = [f"data:image/png;base64,{text}" for text in PLAIN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    headrace.toy.vision_model(folder / "sees")
    headrace.toy.vision_model(folder / "vectors", labels=0)
    headrace.toy.model("embed", folder / "reads")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(
        *("--queue-budget", "300", "--grpc-port", "0"),
        *(str(folder / name) for name in ("sees", "vectors", "reads")),
    ) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def labels(folder: Path) -> list[list[headrace.Label]]:
    with headrace.load(folder / "sees") as model:
        return model.classify(images=FILES)


@pytest.fixture(scope="module")
def vectors(folder: Path) -> Any:
    with headrace.load(folder / "vectors") as model:
        return model.embed(images=FILES)


@pytest.mark.parametrize("route", ["/v1/embeddings", "/v1/classify"])
def test_the_description_asks_for_one_of_input_and_images(server: Server, route: str) -> None:
    described = httpx2.get(f"{server.url}/openapi.json").json()["paths"][route]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    sees, reads = ("vectors", "reads") if route == "/v1/embeddings" else ("sees", "sees")
    for body, allowed in (
        ({"model": sees, "images": URLS[0]}, True),
        ({"model": sees, "images": URLS[0], "input": "a mill"}, False),
        ({"model": reads, "input": "a mill"}, True),
        ({"model": sees}, False),
    ):
        status = httpx2.post(f"{server.url}{route}", json=body, timeout=60).status_code
        told = jsonschema.Draft202012Validator(schema).is_valid(body)
        takes_texts = route == "/v1/embeddings" or "input" not in body
        assert told == allowed, body
        if takes_texts:
            assert (status == 200) == allowed, body


def as_labels(answer: httpx2.Response) -> list[list[headrace.Label]]:
    assert answer.status_code == 200, answer.text
    return [[headrace.Label(**label) for label in row["labels"]] for row in answer.json()["data"]]


def test_classify_takes_base64_urls_parts_and_forms(http: httpx2.Client, labels: Any) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in URLS]
    for body in ({"images": PLAIN}, {"images": URLS}, {"input": parts}):
        answer = http.post("/v1/classify", json={"model": "sees", **body})
        assert as_labels(answer) == labels
        assert answer.json()["usage"]["total_tokens"] == 3 * 17
    assert as_labels(http.post("/v1/classify", json={"model": "sees", "images": URLS[1], "top_k": 1})) == [
        labels[1][:1]
    ]
    files = [("image", (f"{i}.bin", data)) for i, data in enumerate(FILES)]
    assert as_labels(http.post("/v1/classify", data={"model": "sees", "top_k": "3"}, files=files)) == labels


def test_embeddings_take_pictures(http: httpx2.Client, vectors: Any) -> None:
    for format in ("float", "base64"):
        body = {"model": "vectors", "images": PLAIN, "encoding_format": format}
        rows = [row["embedding"] for row in http.post("/v1/embeddings", json=body).json()["data"]]
        if format == "base64":
            rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
        np.testing.assert_array_equal(np.asarray(rows, np.float32), vectors)
    form = http.post(
        "/v1/embeddings", data={"model": "vectors", "dimensions": "8"}, files={"image": FILES[0]}
    )
    assert len(form.json()["data"][0]["embedding"]) == 8
    [listed] = [row for row in http.get("/v1/models").json()["data"] if row["id"] == "vectors"]
    assert (listed["modalities"], listed["image_size"]) == (["image"], [32, 32])


async def test_both_clients(server: Server, labels: Any, vectors: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(FILES[0])
    with headrace.Client(server.url) as client:
        assert client.classify(images=[path, FILES[1], URLS[2]], model="sees") == labels
        assert client.classify(images=pictures.decode(FILES[0]), model="sees") == labels[:1]
        np.testing.assert_array_equal(client.embed(images=FILES, model="vectors"), vectors)
    async with headrace.AsyncClient(server.url) as remote:
        assert await remote.classify(images=str(path), model="sees") == labels[:1]
        np.testing.assert_array_equal(await remote.embed(images=FILES, model="vectors"), vectors)


def test_open_inference_protocol(http: httpx2.Client, folder: Path, vectors: Any, labels: Any) -> None:
    described = http.get("/v2/models/vectors").json()["inputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in described] == [
        ("image", "BYTES", [-1]),
        ("pixel_values", "FP32", [-1, 3, 32, 32]),
    ]
    raw = b"".join(struct.pack("<I", len(data)) + data for data in FILES)
    planes = np.stack([
        pictures.prepare([pictures.decode(data)], resize=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)[0] for data in FILES
    ])  # fmt: skip

    def infer(model: str, tensor: dict[str, Any], binary: bytes | None = None) -> httpx2.Response:
        if binary is None:
            return http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})
        tensor["parameters"] = {"binary_data_size": len(binary)}
        head = json.dumps({"inputs": [tensor]}).encode()
        headers = {"inference-header-content-length": str(len(head))}
        return http.post(f"/v2/models/{model}/infer", content=head + binary, headers=headers)

    image = {"name": "image", "datatype": "BYTES", "shape": [3]}
    values = {"name": "pixel_values", "datatype": "FP32", "shape": [3, 3, 32, 32]}
    for tensor, binary in (
        (image, raw),
        ({**image, "data": PLAIN}, None),
        (values, planes.tobytes()),
        ({**values, "data": planes.ravel().tolist()}, None),
    ):
        answer = infer("vectors", dict(tensor), binary)
        assert answer.status_code == 200, answer.text
        found = np.float32(answer.json()["outputs"][0]["data"]).reshape(3, -1)
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)
    told = infer("sees", dict(image), raw).json()["outputs"]
    assert told[1]["data"] == [row[0].label for row in labels]
    for tensor, binary in (
        ({**image, "shape": [2]}, raw),
        (image, raw[:-1]),
        ({**image, "data": ["!"]}, None),
        ({**values, "shape": [3, 3, 16, 16]}, planes.tobytes()),
        (values, planes.tobytes()[:-4]),
        ({**values, "datatype": "FP64"}, planes.tobytes()),
    ):
        assert infer("vectors", dict(tensor), binary).status_code == 400
    assert infer("reads", {**image, "data": PLAIN}).status_code == 400


def test_pictures_over_grpc(server: Server, vectors: Any, labels: Any) -> None:
    """Files as one BYTES tensor, and planes as FP32: vectors and labels are those of the library."""

    def image(files: list[bytes]) -> Any:
        tensor = triton.InferInput("image", [len(files)], "BYTES")
        return tensor.set_data_from_numpy(np.array(files, dtype=np.object_))

    with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
        described = client.get_model_metadata("vectors").inputs
        assert [(each.name, each.datatype) for each in described] == [
            ("image", "BYTES"),
            ("pixel_values", "FP32"),
        ]
        answer = client.infer("vectors", [image(FILES)])
        [output] = answer.get_response().outputs
        np.testing.assert_array_equal(answer.as_numpy(output.name), vectors)
        found = client.infer("sees", [image(FILES)])
        assert found.as_numpy("label").tolist() == [row[0].label.encode() for row in labels]
        best = [row[0].score for row in labels]
        np.testing.assert_allclose(found.as_numpy("scores").max(1), best, rtol=0, atol=1e-6)
        planes = np.zeros((2, 3, 32, 32), np.float32)
        values = triton.InferInput("pixel_values", planes.shape, "FP32").set_data_from_numpy(planes)
        assert client.infer("vectors", [values]).as_numpy(output.name).shape == (2, vectors.shape[1])
        for model, files, message, status in (
            ("vectors", [FILES[0], b"no picture"], "JPEG, PNG", "UNIMPLEMENTED"),
            ("vectors", [FILES[0][:40]], "PNG", "INVALID_ARGUMENT"),
            ("reads", FILES, "image", "INVALID_ARGUMENT"),
        ):
            with pytest.raises(InferenceServerException, match=message) as told:
                client.infer(model, [image(files)])
            assert told.value.status() == f"StatusCode.{status}"


@pytest.mark.parametrize(
    ("route", "body", "message"),
    [
        ("/v1/classify", {"model": "sees", "input": "a text"}, "reads no texts"),
        ("/v1/embeddings", {"model": "vectors", "input": "a text"}, "reads no texts"),
        ("/v1/embeddings", {"model": "reads", "images": PLAIN}, "takes no images"),
        ("/v1/embeddings", {"model": "sees", "images": PLAIN}, "cannot embed"),
        ("/v1/classify", {"model": "sees", "images": ["https://example.org/a.png"]}, "not fetched"),
        ("/v1/classify", {"model": "sees", "images": ["/etc/passwd"]}, "images"),
        ("/v1/classify", {"model": "sees", "images": ["!!"]}, "base64"),
        ("/v1/classify", {"model": "sees", "images": []}, "1 to 64"),
        ("/v1/classify", {"model": "sees", "images": PLAIN * 30}, "1 to 64"),
        ("/v1/classify", {"model": "sees", "images": PLAIN, "input": "a"}, "both given"),
        ("/v1/classify", {"model": "sees"}, "input is missing"),
        ("/v1/embeddings", {"model": "vectors"}, "input is missing"),
        ("/v1/classify", {"model": "sees", "input": [{"type": "text", "text": "a"}]}, "image_url"),
        ("/v1/classify", {"model": "sees", "images": [base64.b64encode(FILES[0][:200]).decode()]}, "cannot be decoded"),
        ("/v1/classify", {"model": "sees", "images": [base64.b64encode(b"GIF87a").decode()]}, "no size"),
        ("/v1/embeddings", {"model": "vectors", "images": PLAIN, "prompt_name": "q"}, "prompt"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(http: httpx2.Client, route: str, body: dict[str, Any], message: str) -> None:
    answer = http.post(route, json=body)
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]["message"]


def test_forms_that_are_damaged(http: httpx2.Client) -> None:
    for content_type, body in (
        ("multipart/form-data", b"--x\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nnothing\r\n\r\nabc\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n" * 100 + b"--x--"),
    ):
        answer = http.post("/v1/classify", content=body, headers={"content-type": content_type})
        assert answer.status_code == 400


def test_command_line(folder: Path, tmp_path: Path, labels: Any) -> None:
    files = []
    for i, data in enumerate(FILES):
        files.append(str(tmp_path / f"{i}.picture"))
        Path(files[-1]).write_bytes(data)
    command = [sys.executable, "-m", "headrace.cli", "classify", str(folder / "sees"), *files, "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    assert [row["image"] for row in rows] == files
    assert [[headrace.Label(**label) for label in row["labels"]] for row in rows] == labels
