"""A server with a memory budget: whichever protocol asks, what it needs is loaded, and the budget holds."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from fleet_models import COUNT, TEXT, expected, fleet

import headrace
import headrace.toy

__all__ = ["expected", "fleet"]  # fixtures


@pytest.fixture(scope="module")
def server(fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    for path in fleet.iterdir():
        shutil.copytree(path, folder / path.name)
    shutil.copytree(fleet / "toy00", folder / "broken")
    os.truncate(folder / "broken" / "model.safetensors", 1000)
    shutil.copytree(fleet / "toy00", folder / "pinned")
    (folder / "pinned" / "headrace.toml").write_text('pinned = true\naliases = ["prod"]\n')
    shutil.copytree(fleet / "toy00", folder / "aliased")
    (folder / "aliased" / "headrace.toml").write_text('aliases = ["also"]\n')
    headrace.toy.model("classify", folder / "classifier")
    options = ("--memory-budget", "900kB", "--precision", "f32", "--grpc-port", "0", "--queue-budget", "60")
    with Server(str(folder), *options) as running:
        yield running
        assert running.stop() == 0


def test_over_http_a_fleet_is_served(server: Server, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    assert len(server.started["models"]) == COUNT + 4
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        listed = {row["id"]: row["loaded"] for row in http.get("/v1/models").json()["data"]}
        assert len(listed) == COUNT + 4
        assert listed["pinned"]
        assert http.get("/v1/models/toy07").json()["id"] == "toy07"
        assert http.get("/readyz").status_code == 200
        assert http.get("/v2/models/toy07/ready").status_code == 200
        assert http.get("/v2/models/none/ready").status_code == 404

    failed = []

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        with httpx2.Client(base_url=server.url, timeout=60) as http:
            for _ in range(60):
                name = chance.choice(sorted(expected))
                answer = http.post("/v1/embeddings", json={"model": name, "input": TEXT})
                if answer.status_code != 200 or not np.array_equal(
                    np.float32(answer.json()["data"][0]["embedding"]), expected[name][0]
                ):
                    failed.append(answer.text)

    with ThreadPoolExecutor(4) as clients:
        used = [clients.submit(ask, seed) for seed in range(4)]
        with httpx2.Client(base_url=server.url, timeout=60) as http:
            most = 0
            while not all(each.done() for each in used):
                memory = http.get("/v1/status").json()["memory"]
                most = max(most, memory["used"])
            [each.result() for each in used]
    assert failed == []
    assert 500_000 < most <= memory["budget"] == 900_000
    assert server.metric("headrace_model_loads_total") > COUNT
    assert server.metric("headrace_model_unloads_total") > 10
    assert server.metric("headrace_model_load_seconds_total", model="toy03") > 0
    assert server.metric("headrace_memory_budget_bytes") == 900_000
    assert 0 < server.metric("headrace_memory_bytes") == server.metric("headrace_model_bytes") <= 900_000
    assert server.metric("headrace_model_unloads_total", model="pinned") == 0


def test_one_that_cannot_be_loaded_is_told_at_its_request(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        for _ in range(2):
            answer = http.post("/v1/embeddings", json={"model": "broken", "input": TEXT})
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_failed")
        assert http.get("/readyz").status_code == 200
        rows = {row["id"]: row for row in http.get("/v1/status").json()["models"]}
        assert (rows["broken"]["state"], rows["broken"]["loads"]) == ("failed", 0)


def test_every_protocol_loads_what_it_needs(server: Server) -> None:
    address = f"127.0.0.1:{server.started['grpc_port']}"
    text = triton.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([TEXT.encode()], dtype=np.object_))
    with (
        httpx2.Client(base_url=server.url, timeout=60) as http,
        triton.InferenceServerClient(address) as client,
    ):

        def push_out(name: str) -> None:
            for number in range(7):
                body = {"model": f"toy{number:02d}", "input": TEXT}
                assert http.post("/v1/embeddings", json=body).status_code == 200
            index = {row["name"]: row for row in http.post("/v2/repository/index").json()}
            assert index[name]["state"] == "UNAVAILABLE"
            assert "next request" in index[name]["reason"]
            ready = http.post("/v2/repository/index", json={"ready": True}).json()
            assert name not in {row["name"] for row in ready}

        push_out("classifier")
        assert http.post("/v1/classify", json={"model": "classifier", "input": TEXT}).status_code == 200
        push_out("classifier")
        assert http.post("/predict", json={"model": "classifier", "inputs": TEXT}).status_code == 200
        push_out("classifier")
        assert client.is_model_ready("classifier")
        assert client.get_model_metadata("classifier").outputs[0].name == "scores"
        push_out("classifier")  # told without loading it
        assert client.infer("classifier", [text]).as_numpy("label").shape == (1,)
        push_out("toy11")
        inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]
        assert http.post("/v2/models/toy11/infer", json={"inputs": inputs}).status_code == 200
        ids = {"model": "toy12", "input": [[2, 5, 3]]}
        assert http.post("/v1/embeddings", json=ids).json()["usage"]["prompt_tokens"] == 3
        assert http.post("/v1/embeddings", json={"model": "also", "input": TEXT}).status_code == 200


def test_one_that_is_larger_than_the_budget(fleet: Path, tmp_path: Path) -> None:
    shutil.copytree(fleet / "toy00", tmp_path / "a")
    with Server(
        str(tmp_path), "--memory-budget", "100kB", "--precision", "f32", "--grpc-port", "0"
    ) as server:
        answer = httpx2.post(f"{server.url}/v1/embeddings", json={"model": "a", "input": TEXT})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "model_too_large")
        assert "152 KiB" in answer.json()["error"]["message"]
        assert server.stop() == 0
