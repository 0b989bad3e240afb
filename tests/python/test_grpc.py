"""The Open Inference Protocol over gRPC: Triton's own clients, keys, deadlines, cancelling, and malformed messages."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from conftest import TOY_TASKS, Server
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import headrace

PROTO = Path(headrace.__file__).parent / "serve" / "open_inference.proto"
LONG = "the water turns the wheel " * 300


@pytest.fixture(scope="module")
def server(toy_folder: Path) -> Iterator[Server]:
    models = ["demo:minilm", "demo:smollm2", *(f"{task}={toy_folder / task}" for task in TOY_TASKS)]
    with Server(*models, "--grpc-port", "0", "--queue-budget", "60") as server:
        yield server
        assert server.stop() == 0


def address(server: Server) -> str:
    return f"127.0.0.1:{server.started['grpc_port']}"


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address(server)) as client:
        yield client


def texts_input(name: str, texts: list[str], kind: Any = triton) -> Any:
    tensor = kind.InferInput(name, [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_))
    return tensor


def test_the_descriptor_is_that_of_the_proto(tmp_path: Path) -> None:
    made = tmp_path / "made.binpb"
    command = ["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={made}", PROTO.name]
    assert protoc.main(command) == 0
    assert PROTO.with_suffix(".binpb").read_bytes() == made.read_bytes(), (
        "run the command in python/headrace/serve/grpc_messages.py"
    )


def test_names_and_numbers_are_those_of_the_public_protocol() -> None:
    ours = descriptor_pb2.FileDescriptorSet.FromString(PROTO.with_suffix(".binpb").read_bytes()).file[0]
    theirs = {}
    for file in (service_pb2, model_config_pb2):
        found = descriptor_pb2.FileDescriptorProto()
        file.DESCRIPTOR.CopyToProto(found)
        theirs |= {message.name: message for message in found.message_type}
    checked = 0

    def compare(own: Any, other: Any) -> None:
        nonlocal checked
        fields = {field.name: field for field in other.field}
        for field in own.field:
            twin = fields[field.name]
            assert (field.number, field.type, field.label, field.type_name) == (
                *(twin.number, twin.type, twin.label, twin.type_name),
            ), (own.name, field.name)
            checked += 1
        nested = {message.name: message for message in other.nested_type}
        for message in own.nested_type:
            compare(message, nested[message.name])

    for message in ours.message_type:
        compare(message, theirs[message.name])
    assert checked > 120
    methods = {
        method.name: method
        for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    }
    for method in ours.service[0].method:
        twin = methods[method.name]
        assert method.input_type == f".{twin.input_type.full_name}"
        assert method.output_type == f".{twin.output_type.full_name}"
        assert (method.client_streaming, method.server_streaming) == (
            twin.client_streaming,
            twin.server_streaming,
        )


def test_what_the_server_and_its_models_are(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("minilm")
    assert client.is_model_ready("minilm", "1")
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("headrace", headrace.__version__)
    model = client.get_model_metadata("minilm")
    assert [list(tensor.shape) for tensor in model.outputs] == [[-1, 384]]
    config = client.get_model_config("smollm2").config
    assert config.backend == "headrace"
    assert config.model_transaction_policy.decoupled
    index = {model.name: model.state for model in client.get_model_repository_index().models}
    assert index == dict.fromkeys(("minilm", "smollm2", *TOY_TASKS), "READY")


def test_every_task_gives_what_http_gives(client: triton.InferenceServerClient, server: Server) -> None:
    inputs = {
        "minilm": {"text": ["a mill wheel", "Wasser l\u00e4uft", "\u6c34\u8f66"]},
        "classify": {"text": ["a fine mill", "b"]},
        "rerank": {"query": ["water"], "documents": ["the mill", "the water"]},
        "tag": {"text": ["Maria runs the mill in Paris."]},
        "answer": {"question": ["Who runs the mill?"], "context": ["Maria runs the mill."]},
        "fill_mask": {"text": ["The [MASK] turns."]},
    }
    with triton_http.InferenceServerClient(server.url.removeprefix("http://")) as http:
        for model, tensors in inputs.items():
            given = [texts_input(name, texts) for name, texts in tensors.items()]
            ours = client.infer(model, given, request_id="mine")
            theirs = http.infer(model, [texts_input(n, t, triton_http) for n, t in tensors.items()])
            response = ours.get_response()
            assert (response.id, response.model_name, response.model_version) == ("mine", model, "1")
            assert len(response.outputs) > 0
            for output in response.outputs:
                np.testing.assert_array_equal(ours.as_numpy(output.name), theirs.as_numpy(output.name))


def test_contents_may_be_typed_and_outputs_chosen(server: Server) -> None:
    contents = service_pb2.InferTensorContents(bytes_contents=[b"a mill"])
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[1], contents=contents
    )
    with grpc.insecure_channel(address(server)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="classify", inputs=[tensor])
        assert len(stub.ModelInfer(request).outputs) == 2
        request.outputs.add(name="label")
        assert [output.name for output in stub.ModelInfer(request).outputs] == ["label"]


async def test_many_at_once(server: Server) -> None:
    async with triton_aio.InferenceServerClient(address(server)) as client:
        texts = [f"text {number}" for number in range(100)]
        answers = await asyncio.gather(
            *(client.infer("minilm", [texts_input("text", [text], triton_aio)]) for text in texts)
        )
    with headrace.load("demo:minilm") as model:
        expected = model.embed(texts)
    np.testing.assert_array_equal(
        np.concatenate([answer.as_numpy("embedding") for answer in answers]), expected
    )


class Stream:
    """A bidirectional stream and what came of it."""

    def __init__(self, client: triton.InferenceServerClient, **options: Any) -> None:
        self._client = client
        self.answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: self.answers.put(error or result), **options)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream(cancel_requests=True)

    def text(self) -> tuple[str, int]:
        """The whole text, and in how many pieces it came."""
        pieces = []
        while True:
            answer = self.answers.get(timeout=60)
            assert not isinstance(answer, Exception), answer
            pieces.append(answer.as_numpy("text_output")[0].decode())
            if answer.get_response().parameters["triton_final_response"].bool_param:
                return "".join(pieces), len(pieces)


SETTINGS = {"max_tokens": 20, "temperature": 0}


def test_text_is_streamed(client: triton.InferenceServerClient) -> None:
    prompt = [texts_input("text_input", ["Water flows"])]
    whole = client.infer("smollm2", prompt, parameters=SETTINGS).as_numpy("text_output")[0].decode()
    with Stream(client) as stream:
        client.async_stream_infer("smollm2", prompt, parameters=SETTINGS)
        text, pieces = stream.text()
    assert text == whole
    assert pieces > 5


def test_a_stream_takes_several_requests_and_tells_errors_in_it(client: triton.InferenceServerClient) -> None:
    with Stream(client) as stream:
        for number in range(10):
            client.async_stream_infer("minilm", [texts_input("text", [f"t{number}"])], request_id=str(number))
        found = [stream.answers.get(timeout=30) for _ in range(10)]
        assert {answer.get_response().id for answer in found} == {str(number) for number in range(10)}
        client.async_stream_infer("nothing", [texts_input("text", ["a"])], request_id="bad")
        error = stream.answers.get(timeout=30)
        assert isinstance(error, InferenceServerException)
        assert "no model is named" in str(error)
        client.async_stream_infer("minilm", [texts_input("text", ["again"])], request_id="after")
        assert stream.answers.get(timeout=30).get_response().id == "after"


def test_a_stream_that_is_left_stops_its_work(client: triton.InferenceServerClient, server: Server) -> None:
    with Stream(client) as stream:
        client.async_stream_infer(
            "smollm2",
            [texts_input("text_input", ["Once"])],
            parameters={"max_tokens": 4000, "ignore_eos": True},
        )
        stream.answers.get(timeout=30)
    end = time.monotonic() + 5
    while server.metric("headrace_generation_running", model="smollm2"):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.metric("headrace_generation_cancelled_total", model="smollm2") >= 1


def test_a_cancelled_call_is_withdrawn(server: Server) -> None:
    before = server.metric("headrace_cancelled_total", model="minilm")
    with grpc.insecure_channel(address(server)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        contents = service_pb2.InferTensorContents(bytes_contents=[b"the water turns the wheel " * 15] * 500)
        tensor = service_pb2.ModelInferRequest.InferInputTensor(
            name="text", datatype="BYTES", shape=[500], contents=contents
        )
        call = stub.ModelInfer.future(service_pb2.ModelInferRequest(model_name="minilm", inputs=[tensor]))
        time.sleep(0.2)
        assert call.cancel()
    end = time.monotonic() + 5
    while server.metric("headrace_cancelled_total", model="minilm") == before:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_deadline_is_kept(client: triton.InferenceServerClient) -> None:
    texts = [texts_input("text", ["the water turns the wheel " * 15] * 1000)]
    start = time.monotonic()
    with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
        client.infer("minilm", texts, client_timeout=0.05)
    with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
        client.infer("minilm", texts, timeout=50_000)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_name": "nothing"}, "NOT_FOUND.*no model is named 'nothing'"),
        ({"model_version": "2"}, "NOT_FOUND.*no version '2'"),
        ({"parameters": {"nonsense": 1}}, "INVALID_ARGUMENT.*'nonsense' is not known"),
        (
            {"outputs": [triton.InferRequestedOutput("nothing")]},
            "INVALID_ARGUMENT.*has the outputs embedding",
        ),
        ({"inputs": []}, "INVALID_ARGUMENT.*'text' is missing"),
        ({"inputs": [texts_input("text", [LONG])]}, "INVALID_ARGUMENT.*tokens"),
        ({"inputs": [texts_input("other", ["a"])]}, "INVALID_ARGUMENT.*has the inputs text"),
    ],
)
def test_clients_are_told_what_is_wrong(
    client: triton.InferenceServerClient, change: dict[str, Any], message: str
) -> None:
    given = {"model_name": "minilm", "inputs": [texts_input("text", ["a"])], **change}
    with pytest.raises(InferenceServerException, match=message):
        client.infer(**given)


def test_random_messages_are_never_an_internal_error(server: Server) -> None:
    rng = random.Random(23)
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
    plain = service_pb2.ModelInferRequest(
        model_name="minilm", inputs=[tensor], raw_input_contents=[b"\x01\0\0\0a"]
    )
    data = plain.SerializeToString()
    seen, failed = set(), []
    with grpc.insecure_channel(address(server)) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(2000):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(damaged) + 1)
                if rng.random() < 0.5:
                    damaged[at : at + 1] = bytes([rng.randrange(256)])
                else:
                    del damaged[at : at + rng.randint(1, 5)]
            try:
                call(bytes(damaged), timeout=30)
            except grpc.RpcError as error:
                text = error.details() or ""
                if error.code() not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
                    failed.append((bytes(damaged), text))
                seen.add(error.code())
    assert not failed
    assert grpc.StatusCode.INVALID_ARGUMENT in seen
    assert (
        server.metric("headrace_http_requests_total", route="inference.GRPCInferenceService/ModelInfer") > 100
    )


def test_a_message_that_is_too_large_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="RESOURCE_EXHAUSTED"):
        client.infer("minilm", [texts_input("text", ["x" * 12_000_000])])
    assert client.is_server_live()


def test_health_and_reflection(server: Server) -> None:
    with grpc.insecure_channel(address(server)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            assert (
                stub.Check(health_pb2.HealthCheckRequest(service=name)).status
                == health_pb2.HealthCheckResponse.SERVING
            )
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        file = database.FindFileContainingSymbol("inference.ModelInferRequest")
        assert file.name == "open_inference.proto"


def test_nothing_is_lost_at_the_end(toy_folder: Path) -> None:
    with Server("demo:minilm", "--grpc-port", "0", "--queue-budget", "60") as server:
        text = "the water turns the wheel " * 15

        def ask(number: int) -> tuple[int, ...]:
            with triton.InferenceServerClient(address(server)) as client:
                client.is_server_live()
                ready.release()
                embedding = client.infer("minilm", [texts_input("text", [f"{text}{number}"])]).as_numpy(
                    "embedding"
                )
                return tuple(embedding.shape)

        ready = threading.Semaphore(0)
        with ThreadPoolExecutor(100) as pool:
            futures = [pool.submit(ask, number) for number in range(100)]
            for _ in futures:
                ready.acquire()
            time.sleep(0.1)
            server.terminate()
            assert [future.result(60) for future in futures] == [(1, 384)] * 100
        assert server.stop() == 0
