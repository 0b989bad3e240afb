"""Keys over gRPC: every method but health wants one, and what it allows is what it allows over HTTP."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
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
        "writer": (["infer"], Limits()),
        "reader": (["infer"], Limits()),
        "metrics": (["metrics"], Limits()),
        "saver": (["infer"], Limits(tokens_per_minute=100)),
    }
    keys = {}
    with Catalogue(f"sqlite:///{state}/catalogue.sqlite") as catalogue:
        for name, (scopes, limits) in wanted.items():
            keys[name], key = make_key(pepper, name, scopes, limits=limits)
            catalogue.add(key)
    with Server(
        "demo:minilm",
        "demo:smollm2",
        "--grpc-port",
        "0",
        "--require-keys",
        "--audit-strict",
        "--state",
        str(state),
    ) as server:
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


def _written(server: Server, key: str, prompt: str, *, streamed: bool, **settings: Any) -> str:
    """A text by a key, in one answer or piece by piece."""
    headers = {"authorization": f"Bearer {key}"}
    text = triton.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([prompt.encode()], dtype=np.object_))
    parameters = {"max_tokens": 4, "temperature": 0, **settings}
    with triton.InferenceServerClient(address(server)) as client:
        if not streamed:
            found = client.infer("smollm2", [text], parameters=parameters, headers=headers)
            return str(found.as_numpy("text_output")[0].decode())
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put(error or result), headers=headers)
        client.async_stream_infer("smollm2", [text], parameters=parameters)
        pieces = []
        while True:
            answer = answers.get(timeout=60)
            if isinstance(answer, Exception):
                raise answer
            pieces.append(answer.as_numpy("text_output")[0].decode())
            if answer.get_response().parameters["triton_final_response"].bool_param:
                return "".join(pieces)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_tenant_had_read_is_not_taken_for_another(
    guarded: tuple[Server, Path, dict[str, str]], streamed: bool
) -> None:
    server, _, keys = guarded
    prompt = f"The mill stands by the river, {streamed}, and its wheel turns day and night. " * 12

    def cached(key: str) -> float:
        def count() -> float:
            return server.metric(
                "headrace_generation_cached_tokens_total", key=keys["metrics"], model="smollm2"
            )

        before = count()
        _written(server, keys[key], prompt, streamed=streamed)
        return count() - before

    assert cached("writer") == 0
    assert cached("reader") == 0
    assert cached("writer") > 100


@pytest.mark.parametrize("streamed", [False, True])
def test_a_text_takes_what_it_may_cost_from_the_limits(
    guarded: tuple[Server, Path, dict[str, str]], streamed: bool
) -> None:
    server, _, keys = guarded
    _written(server, keys["saver"], "Water", streamed=streamed)
    with pytest.raises(InferenceServerException, match="tokens a minute"):
        _written(server, keys["saver"], "Water", streamed=streamed, max_tokens=500)


def test_a_stream_is_recorded_before_it_begins(guarded: tuple[Server, Path, dict[str, str]]) -> None:
    server, state, keys = guarded
    _written(server, keys["writer"], "Water flows", streamed=True)
    rows = [
        row
        for row in read(state / "audit")
        if row.get("key") == keys["writer"][3:15] and row["event"] == "begun"
    ]
    assert rows[-1]["route"] == "inference.GRPCInferenceService/ModelStreamInfer"
    ended = [row for row in read(state / "audit") if row.get("request") == rows[-1]["request"]]
    assert [row["event"] for row in ended] == ["begun", "request"]
    assert ended[-1]["generated_tokens"] == 4


def test_the_status_counts_grpc_as_work(guarded: tuple[Server, Path, dict[str, str]]) -> None:
    server, _, keys = guarded

    def answered() -> int:
        headers = {"authorization": f"Bearer {keys['metrics']}"}
        return int(httpx2.get(f"{server.url}/v1/status", headers=headers).json()["http"]["requests"])

    before = answered()
    for streamed in (False, True):
        _written(server, keys["writer"], "Water flows", streamed=streamed)
    assert answered() == before + 2
