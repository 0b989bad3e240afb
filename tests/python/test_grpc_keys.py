"""Keys over gRPC: every method but health wants one, and what it allows is what it allows over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from headrace.catalogue import Catalogue
from headrace.security.audit import read
from headrace.security.keys import Pepper, make_key
from headrace.security.scopes import Limits


def address(server: Server) -> str:
    return f"127.0.0.1:{server.started['grpc_port']}"


# Every method that there is, with what a client would send.
METHODS = [method.name for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, dict[str, str]]]:
    state = tmp_path_factory.mktemp("state")
    pepper = Pepper.find(state, create=True)
    wanted = {
        "infer": (["infer:minilm"], Limits()),
        "other": (["infer:other"], Limits()),
        "little": (["infer"], Limits(requests_per_minute=2)),
    }
    keys = {}
    with Catalogue(f"sqlite:///{state}/catalogue.sqlite") as catalogue:
        for name, (scopes, limits) in wanted.items():
            keys[name], key = make_key(pepper, name, scopes, limits=limits)
            catalogue.add(key)
    with Server("--grpc-port", "0", "--require-keys", "--audit-strict", "--state", str(state)) as server:
        yield server, state, keys
        assert server.stop() == 0


@pytest.mark.parametrize(
    "method",
    [
        *(f"inference.GRPCInferenceService/{name}" for name in METHODS),
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "inference.GRPCInferenceService/Nothing",
        "nothing.At/All",
    ],
)
def test_every_method_but_health_wants_a_key(
    guarded: tuple[Server, Path, dict[str, str]], method: str
) -> None:
    server, _, _ = guarded
    service, _, name = method.rpartition("/")
    is_open = name in ("ServerLive", "ServerReady", "Check")
    is_missing = "othing" in method or "Shared" in name or name in ("TraceSetting", "LogSettings")
    for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", ""),)):
        with grpc.insecure_channel(address(server)) as channel:
            call = channel.stream_stream(f"/{method}")(iter([b""]), metadata=metadata, timeout=20)
            if is_open:
                assert len(list(call)) == 1
                continue
            with pytest.raises(grpc.RpcError) as raised:
                list(call)
            code = raised.value.code()
            missing = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)
            assert (
                code in missing
                if is_missing or ".v1." in service
                else code == grpc.StatusCode.UNAUTHENTICATED
            )


def test_keys_are_those_of_http(guarded: tuple[Server, Path, dict[str, str]]) -> None:
    server, state, keys = guarded
    text = triton.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"a mill"], dtype=np.object_))
    texts = [text]
    with triton.InferenceServerClient(address(server)) as client:

        def infer(name: str, **headers: str) -> Any:
            return client.infer("minilm", texts, headers={"authorization": f"Bearer {keys[name]}", **headers})

        assert infer("infer", **{"x-request-id": "over-grpc"}).as_numpy("embedding").shape == (1, 384)
        with pytest.raises(InferenceServerException, match=r"PERMISSION_DENIED.*scope"):
            infer("other")
        infer("little")
        infer("little")
        with pytest.raises(InferenceServerException, match=r"RESOURCE_EXHAUSTED.*2 requests a minute"):
            infer("little")
        headers = {"authorization": f"Bearer {keys['other']}"}
        assert not client.get_model_repository_index(headers=headers).models
    [row] = [row for row in read(state / "audit") if row.get("request") == "over-grpc"]
    assert (row["route"], row["model"], row["status"], row["prompt_tokens"]) == (
        *("inference.GRPCInferenceService/ModelInfer", "minilm", 200, 4),
    )
