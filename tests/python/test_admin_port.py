"""Operators' routes on a port of their own: there, and nowhere else; and neither port answers without a key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx2
import pytest
from guarded import BODY, Guarded
from test_access import routes
from tritonclient.grpc import service_pb2, service_pb2_grpc

import headrace.toy
from headrace.serve.access import OPEN_PATHS


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("models")
    headrace.toy.model("embed", folder / "minilm")
    state = tmp_path_factory.mktemp("state")
    with Guarded(state, str(folder), "--admin-port", "0", "--grpc-port", "0", "--audit") as found:
        found.keys["everything"] = found.key("admin")
        found.wait_until_known("everything")
        yield found
        assert found.server.stop() == 0


def ports(guarded: Guarded) -> dict[str, str]:
    return {"front": guarded.server.url, "admin": f"http://127.0.0.1:{guarded.server.started['admin_port']}"}


def is_operators(method: str, path: str) -> bool:
    is_page = path == "/" and method in ("GET", "HEAD")
    begins = path.startswith(("/v1/admin", "/v2/repository/models/", "/console/"))
    return is_page or begins or path in ("/metrics", "/v1/status")


@pytest.mark.parametrize("port", ["front", "admin"])
def test_every_route_is_where_it_belongs_and_wants_a_key(guarded: Guarded, port: str) -> None:
    """All routes that the application has, so that a new one cannot be forgotten."""
    url = ports(guarded)[port]
    headers = {"authorization": f"Bearer {guarded.keys['everything']}"}
    found = 0
    with httpx2.Client(base_url=url, timeout=30) as http:
        for method, route in routes():
            path = route.replace("{name}", "nothing").replace("{version}", "1").replace("{id:path}", "minilm")
            path = path.replace("{id}", "x")
            is_open = path in OPEN_PATHS and method in ("GET", "HEAD")
            assert http.request(method, path).status_code == (200 if is_open else 401), (method, path)
            answer = http.request(method, path, headers=headers)
            if is_operators(method, path):
                found += 1
                code = "" if method == "HEAD" else answer.text
                is_hidden = answer.status_code == 404 and (method == "HEAD" or "there is no" in code)
                assert is_hidden == (port == "front"), (method, path, answer.text)
            else:
                assert "there is no '" not in answer.text, (method, path)
    assert found >= 10


def test_what_each_port_answers(guarded: Guarded) -> None:
    front, admin = ports(guarded)["front"], ports(guarded)["admin"]
    headers = {"authorization": f"Bearer {guarded.keys['everything']}"}
    for url in (front, admin):  # the console on the admin port tries models there
        assert httpx2.post(f"{url}/v1/embeddings", json=BODY, headers=headers).status_code == 200
        assert httpx2.get(f"{url}/readyz").status_code == 200
    for path in ("/metrics", "/v1/status", "/", "/v1/admin/keys", "/v1/admin/models", "/console/main.js"):
        assert httpx2.get(admin + path, headers=headers).status_code == 200, path
        told = httpx2.get(front + path, headers=headers)
        assert (told.status_code, told.json()["error"]["code"]) == (404, "no_such_route"), path
        # Whatever name a request gives the server, the port is the one that it came to.
        lies = {**headers, "host": f"127.0.0.1:{guarded.server.started['admin_port']}"}
        assert httpx2.get(front + path, headers=lies).status_code == 404
        lies = {**headers, "x-forwarded-port": str(guarded.server.started["admin_port"])}
        assert httpx2.get(front + path, headers=lies).status_code == 404
    load = "/v2/repository/models/minilm/load"
    assert httpx2.post(front + load, headers=headers).status_code == 404
    assert httpx2.post(admin + load, headers=headers).status_code == 200
    assert httpx2.post(f"{front}/v2/repository/index", headers=headers).status_code == 200


def test_grpc_loads_nothing_then(guarded: Guarded) -> None:
    metadata = (("authorization", f"Bearer {guarded.keys['everything']}"),)
    with grpc.insecure_channel(f"127.0.0.1:{guarded.server.started['grpc_port']}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for call, request in (
            (stub.RepositoryModelLoad, service_pb2.RepositoryModelLoadRequest(model_name="minilm")),
            (stub.RepositoryModelUnload, service_pb2.RepositoryModelUnloadRequest(model_name="minilm")),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call(request, metadata=metadata, timeout=20)
            assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert stub.ModelReady(service_pb2.ModelReadyRequest(name="minilm"), metadata=metadata).ready


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "8123", "--admin-port", "8123"], "another port than --port"),
        (["--admin-host", "127.0.0.2"], "--admin-port"),
        (["--admin-port", "0", "--admin-host", "0.0.0.0"], "no keys and no TLS"),
    ],
)
def test_what_does_not_start(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "headrace.cli", "serve", "--state", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
