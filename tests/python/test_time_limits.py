"""How long a request is wanted: what the queue cannot make in that time is refused at the door, and what takes longer
is ended; over every protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from tritonclient.utils import InferenceServerException

HEADER = "x-request-timeout-ms"
LONG = "the water turns the wheel " * 20  # a turn of a batch, nearly
WAITING = 150


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--grpc-port", "0", "--queue-budget", "300")
    with Server("demo:minilm", "demo:smollm2", *options) as running:
        running.warm_up()
        yield running
        assert running.stop() == 0


def embed(http: httpx2.Client, timeout: object) -> httpx2.Response:
    body = {"model": "minilm", "input": "a mill"}
    return http.post("/v1/embeddings", json=body, headers={HEADER: str(timeout)})


@pytest.mark.parametrize("given", ["", "0", "-1", "1.5", "1e3", "soon", "3600001", "9" * 30, "\u0661"])
def test_what_is_no_time(http: httpx2.Client, given: str) -> None:
    answer = http.get("/v1/models", headers={HEADER: given.encode()})
    assert answer.status_code == 400
    assert HEADER in answer.json()["error"]["message"]


def test_enough_time_changes_nothing(http: httpx2.Client) -> None:
    vectors = [embed(http, timeout).json()["data"] for timeout in (60_000, 3_600_000)]
    assert vectors[0] == vectors[1]


def test_a_text_ends_with_its_time(http: httpx2.Client) -> None:
    body = {"model": "smollm2", "prompt": "Once", "max_tokens": 4000, "ignore_eos": True}
    begin = time.monotonic()
    answer = http.post("/v1/completions", json=body, headers={HEADER: "300"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert time.monotonic() - begin < 3


def while_busy(server: Server, check: Callable[[], None]) -> None:
    """Calls `check` while work for some tenths of a second waits, all of which is answered."""

    def waits() -> bool:
        return server.metric("headrace_queued_tokens", model="minilm") > 5_000

    async def run() -> list[int]:
        limits = httpx2.Limits(max_connections=WAITING)
        async with httpx2.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http:
            body = {"model": "minilm", "input": LONG}
            waiting = [asyncio.create_task(http.post("/v1/embeddings", json=body)) for _ in range(WAITING)]
            while not await asyncio.to_thread(waits):
                assert not all(task.done() for task in waiting), "this machine is too quick: let more wait"
            await asyncio.to_thread(check)
            return [answer.status_code for answer in await asyncio.gather(*waiting)]

    assert asyncio.run(run()) == [200] * WAITING


def count(server: Server, name: str) -> float:
    return server.metric(f"headrace_{name}_total", model="minilm")


def test_who_could_not_be_served_in_time_is_refused_at_once(server: Server) -> None:
    """And nothing of it ever waits, or runs."""

    def check() -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as http:
            begin = time.perf_counter()
            answer = embed(http, 5)
            assert time.perf_counter() - begin < 0.5
            assert answer.status_code == 429, answer.text
            assert "the request has only" in answer.json()["error"]["message"]
            assert int(answer.headers["retry-after-ms"]) >= 1
            text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a mill"]}
            asked = {"inputs": [text], "parameters": {"timeout": 5_000}}
            assert http.post("/v2/models/minilm/infer", json=asked).status_code == 429
            assert embed(http, 60_000).status_code == 200  # who has the time waits

    before = count(server, "refused"), count(server, "expired")
    while_busy(server, check)
    assert (count(server, "refused"), count(server, "expired")) == (before[0] + 2, before[1])


def test_over_grpc(server: Server) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:

        def infer(timeout_us: int) -> Any:
            text = triton.InferInput("text", [1], "BYTES")
            text.set_data_from_numpy(np.array([b"a mill"], dtype=np.object_))
            return client.infer("minilm", [text], timeout=timeout_us)

        def check() -> None:
            with pytest.raises(InferenceServerException, match=r"RESOURCE_EXHAUSTED.*has only"):
                infer(5_000)

        assert infer(60_000_000).as_numpy("embedding").shape == (1, 384)
        while_busy(server, check)
