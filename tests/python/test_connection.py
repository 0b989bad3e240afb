"""Plain requests take a short way through the server; nothing but their speed tells them from others."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from conftest import FIGURES, Server

import headrace

LONG = "the water turns the wheel " * 20  # about 100 tokens
UNUSUAL = "te: trailers\r\n"  # changes nothing but the way


def request(body: Any = None, head: str = "", path: str = "/v1/embeddings") -> bytes:
    """A plain request, unless `head` makes it another."""
    content = (
        body if isinstance(body, bytes) else json.dumps(body or {"model": "minilm", "input": "x"}).encode()
    )
    lines = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{head}"
    return f"{lines}content-length: {len(content)}\r\n\r\n".encode() + content


class Client:
    """A connection that is read an answer at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body of the next answer."""
        line = self.file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = {name.lower(): value for name, value in http.client.parse_headers(self.file).items()}
        return int(line.split()[1]), headers, self.file.read(int(headers["content-length"]))

    def ends(self) -> bool:
        return self.file.read(1) == b""


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.port) as connection:
        yield connection


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "minilm", "input": ["a mill wheel", "水车"]}, 200),
        ({"model": "minilm", "input": [[101, 102]], "encoding_format": "base64", "truncate": True}, 200),
        ({"model": "minilm", "input": "x", "dimensions": 7}, 200),
        ({"model": "minilm", "input": "x", "dimensions": 0}, 400),
        ({"model": "minilm", "input": []}, 400),
        ({"model": "minilm", "input": ["word " * 1000]}, 400),
        ({"model": "nobody", "input": "x"}, 404),
        (b"{", 400),
        (b"", 400),
    ],
)
def test_both_ways_answer_the_same(client: Client, body: Any, status: int) -> None:
    plain, unusual = (client.send(request(body, head)).read() for head in ("", UNUSUAL))
    for _, headers, _ in (plain, unusual):
        assert len(headers.pop("x-request-id")) >= 16
        assert headers.pop("date")
    assert plain == unusual
    assert plain[0] == status


def test_the_request_id_is_echoed(client: Client) -> None:
    assert client.send(request(head="X-Request-Id: abc-1\r\n")).read()[1]["x-request-id"] == "abc-1"
    made = client.send(request(head=f"x-request-id: {'x' * 200}\r\n")).read()[1]["x-request-id"]
    assert 16 <= len(made) <= 64


def test_answers_come_in_the_order_of_their_requests(client: Client) -> None:
    slow = {"model": "minilm", "input": [LONG] * 20}
    livez = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
    wrong = request({"model": "nobody", "input": "x"})
    client.send(request(slow) + wrong + livez + request() + request(head=UNUSUAL) + wrong + request() + livez)
    assert [client.read()[0] for _ in range(8)] == [200, 404, 200, 200, 200, 404, 200, 200]
    client.send(livez + request(slow))
    client.send(wrong)
    assert [client.read()[0] for _ in range(3)] == [200, 200, 404]


@pytest.mark.parametrize("head", ["", UNUSUAL], ids=["plain", "unusual"])
def test_packets_may_end_anywhere(client: Client, head: str) -> None:
    data = request(head=head)
    for cut in (1, 20, 50, data.index(b"\r\n\r\n") + 2, data.index(b"\r\n\r\n") + 4, len(data) - 1):
        client.send(data[:cut])
        time.sleep(0.02)
        assert client.send(data[cut:]).read()[0] == 200, cut
    body = data.index(b"\r\n\r\n") + 4
    client.send(data[:body])
    for i in range(body, len(data)):
        time.sleep(0.001)
        client.send(data[i : i + 1])
    assert client.read()[0] == 200
    client.send(data + data[:70])
    assert client.read()[0] == 200
    assert client.send(data[70:]).read()[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        "transfer-encoding: chunked\r\n",
        "content-length: 5\r\n",
        "Content-Length: +9\r\n",
        "a b: c\r\n",
        "a\r\n",
    ],
)
def test_doubtful_framing_is_refused_and_the_connection_ends(client: Client, head: str) -> None:
    """What a proxy may read otherwise than we do; the request hidden behind is never answered."""
    client.send(request() + request(head=head) + request(head="x-request-id: hidden\r\n"))
    assert client.read()[0] == 200
    status, headers, _ = client.read()
    assert status == 400
    assert headers["connection"] == "close"
    assert client.ends()


def test_a_request_to_close_is_followed(client: Client) -> None:
    client.send(request() + request(head="connection: close\r\n"))
    assert client.read()[0] == 200
    assert client.read()[1]["connection"] == "close"
    assert client.ends()


def test_a_large_body_takes_the_long_way(client: Client) -> None:
    texts = [LONG] * 70
    status, _, body = client.send(request({"model": "minilm", "input": texts})).read()
    assert (status, len(json.loads(body)["data"])) == (200, 70)
    status, _, body = client.send(request({"model": "minilm", "input": ["a"] * 300})).read()
    assert (status, len(json.loads(body)["data"])) == (200, 300)
    assert client.send(request(b"a" * 10_000_001)).read()[0] == 413
    assert client.ends()


def test_a_client_that_reads_late_gets_every_answer(client: Client) -> None:
    count = 4000
    sender = threading.Thread(
        target=lambda: client.send(request({"model": "nobody", "input": "x"}) * count + request())
    )
    sender.start()
    time.sleep(0.5)
    assert {client.read()[0] for _ in range(count)} == {404}
    assert client.read()[0] == 200
    sender.join()


@pytest.mark.parametrize("behind", [b"", request(), b"POST /v1/emb"], ids=["alone", "more", "a part"])
def test_the_work_of_a_client_that_left_is_cancelled(server: Server, behind: bytes) -> None:
    def cancelled() -> float:
        return server.metric("headrace_cancelled_total", model="minilm")

    body = {"model": "minilm", "input": [LONG] * 60}
    assert len(request(body)) < 32_768, "this is about the short way"
    before = cancelled()
    with Client(server.port) as first, Client(server.port) as second, Client(server.port) as third:
        for one in (first, second, third):
            one.send(request(body))
        with Client(server.port) as leaving:
            leaving.send(request(body) + behind)
            time.sleep(0.05)
        end = time.monotonic() + 10
        while cancelled() == before:
            assert time.monotonic() < end, "the work went on after its client had left"
            time.sleep(0.02)
        assert [one.read()[0] for one in (first, second, third)] == [200] * 3
    assert cancelled() == before + 1
    assert server.metric("headrace_http_requests_total", route="/v1/embeddings", status="499") >= 1


def test_it_stops_within_fifty_milliseconds(server: Server) -> None:
    """What is queued of it goes at once, and the batch under way is broken off; in the best of some."""
    body = request({"model": "minilm", "input": [LONG] * 60})
    seconds: dict[str, list[float]] = {"queued": [], "running": []}
    with httpx2.Client(base_url=server.url) as http:

        def tokens(state: str) -> int:
            found = re.search(rf'headrace_{state}_tokens{{model="minilm"}} (\S+)', http.get("/metrics").text)
            assert found
            return int(float(found[1]))

        for _ in range(10):
            with Client(server.port) as leaving:
                leaving.send(body)
                while tokens("queued") == 0 or tokens("running") == 0:
                    pass
            left = time.perf_counter()
            for state, found in seconds.items():
                while tokens(state) != 0:
                    pass
                found.append(time.perf_counter() - left)
    told = ", ".join(
        f"{state} {1e3 * min(one):.0f} (best), {1e3 * sorted(one)[5]:.0f}" for state, one in seconds.items()
    )
    FIGURES.append(f"work of a client that left is gone after milliseconds: {told}")
    assert min(seconds["queued"]) <= 0.05
    assert min(seconds["running"]) <= 0.05


def test_a_refusal_leaves_the_connection_open() -> None:
    with Server("--queue-budget", "0.01") as server:
        server.warm_up()
        body = {"model": "minilm", "input": [LONG] * 32}
        with Client(server.port) as first, Client(server.port) as second, Client(server.port) as third:
            first.send(request(body))
            second.send(request(body))
            time.sleep(0.02)
            third.send(request(body) + request({"model": "nobody", "input": "x"}))
            status, headers, answer = third.read()
            assert status == 429
            assert int(headers["retry-after-ms"]) >= 1
            assert json.loads(answer)["error"]["code"] == "overloaded"
            assert third.read()[0] == 404
            assert first.read()[0] == 200
            second.read()
            assert third.send(request()).read()[0] == 200
        assert server.stop() == 0


def test_the_time_limit_of_a_drain_is_told() -> None:
    with Server("--queue-budget", "300", "--drain-seconds", "1") as server:
        server.warm_up()
        clients = [
            Client(server.port).send(request({"model": "minilm", "input": [LONG] * 60})) for _ in range(40)
        ]
        while server.metric("headrace_queued_tokens", model="minilm") == 0:
            time.sleep(0.01)
        server.terminate()
        answers = [client.read() for client in clients]
        assert {status for status, _, _ in answers} <= {200, 503}
        told = [json.loads(body)["error"]["code"] for status, _, body in answers if status == 503]
        assert set(told) == {"draining"}
        assert all(headers["connection"] == "close" for _, headers, _ in answers[-10:])
        for client in clients:
            client.__exit__()
        assert server.stop() == 0


def test_a_request_half_sent_when_the_drain_begins_is_answered() -> None:
    with Server() as server, Client(server.port) as client:
        data = request()
        client.send(data[:-5])
        time.sleep(0.1)
        server.terminate()
        time.sleep(0.7)  # past the time in which idle connections end
        status, headers, _ = client.send(data[-5:]).read()
        assert (status, headers["connection"]) == (200, "close")
        assert client.ends()
        assert server.stop() == 0


def test_an_access_log_has_every_request() -> None:
    with Server("--access-log", "--log-level", "info") as server:
        with Client(server.port) as client:
            assert client.send(request()).read()[0] == 200
        assert server.stop() == 0
        assert '"POST /v1/embeddings HTTP/1.1" 200' in server.errors()


class Served:
    """A Connection on a loop of the test's own, to look into."""

    def __init__(self, keep_alive: int = 75) -> None:
        import uvicorn
        from uvicorn.server import ServerState

        from headrace.serve import create_app
        from headrace.serve.connection import Connection

        self.engine = headrace.Engine()
        self.engine.add("minilm", "demo:minilm")
        app = create_app(self.engine)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_keep_alive=keep_alive)
        config.load()
        state = ServerState()
        self.made: list[Connection] = []

        def make() -> Connection:
            self.made.append(Connection(app.state.headrace, config, state, {}))
            return self.made[-1]

        self.factory = make

    async def __aenter__(self) -> Served:
        self.listener = await asyncio.get_running_loop().create_server(self.factory, "127.0.0.1", 0)
        port = self.listener.sockets[0].getsockname()[1]
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        self.listener.close()
        await self.listener.wait_closed()
        self.engine.close(drain=False)

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await self.reader.readexactly(length)


async def test_a_plain_request_makes_no_asgi_cycle() -> None:
    async with Served() as served:
        assert (await served.ask(request())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert served.made[0].cycle is None
        assert (await served.ask(request(head=UNUSUAL))).startswith(b"HTTP/1.1 200 OK\r\n")
        long_way = served.made[0].cycle
        assert long_way is not None
        assert (await served.ask(request())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert served.made[0].cycle is long_way


async def test_an_idle_connection_ends_in_time_and_no_sooner() -> None:
    async with Served(keep_alive=1) as served:
        for _ in range(3):
            await served.ask(request())
            await asyncio.sleep(0.6)
        start = time.monotonic()
        assert await served.reader.read() == b""
        assert time.monotonic() - start < 2
