"""SIGTERM loses no request: what was sent is answered, then the process exits with 0."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from conftest import Server

LONG = "the water turns the wheel " * 20


def test_a_hundred_requests_in_flight_are_answered() -> None:
    with Server("--queue-budget", "300") as server:
        server.warm_up()
        body = json.dumps({"model": "minilm", "input": [LONG] * 5}).encode()
        head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        with contextlib.ExitStack() as stack:
            sent = []
            for _ in range(100):
                connection = stack.enter_context(
                    socket.create_connection(("127.0.0.1", server.port), timeout=120)
                )
                connection.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
                sent.append(connection)
            answered, _, _ = select.select(sent, [], [], 0)
            assert len(answered) < 50, "too few are still in flight: no test"
            server.terminate()
            for connection in sent:
                answer = b"".join(iter(lambda c=connection: c.recv(1 << 20), b""))
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                content = answer.partition(b"\r\n\r\n")[2]
                assert len(json.loads(content)["data"]) == 5
        assert server.stop() == 0


def test_clients_that_keep_sending_lose_nothing() -> None:
    """Keep-alive connections under load are told to close; nothing that was accepted goes unanswered."""
    with Server("--queue-budget", "300") as server:
        server.warm_up()
        body = {"model": "minilm", "input": "a mill wheel"}
        outcomes: list[str] = []
        stop = threading.Event()

        def keep_sending() -> None:
            with httpx2.Client(timeout=60) as http:
                while not stop.is_set():
                    try:
                        outcomes.append(str(http.post(f"{server.url}/v1/embeddings", json=body).status_code))
                    except httpx2.ConnectError:
                        return  # the socket is closed: refused before anything was sent
                    except httpx2.HTTPError as error:
                        outcomes.append(repr(error))

        threads = [threading.Thread(target=keep_sending) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(outcomes) < 50:
            time.sleep(0.01)
        assert server.stop() == 0
        stop.set()
        for thread in threads:
            thread.join()
        assert set(outcomes) == {"200"}


def test_it_is_not_ready_while_it_finishes() -> None:
    with Server("--queue-budget", "300") as server:
        server.warm_up()
        body = {"model": "minilm", "input": [LONG] * 100}
        with httpx2.Client(base_url=server.url, timeout=60) as http, ThreadPoolExecutor(1) as pool:
            assert http.get("/readyz").status_code == 200
            slow = pool.submit(httpx2.post, f"{server.url}/v1/embeddings", json=body, timeout=60)
            time.sleep(0.2)
            server.terminate()
            time.sleep(0.05)
            answer = http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "draining"
            assert answer.headers["connection"] == "close"
            assert slow.result().status_code == 200
        assert server.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def test_an_idle_server_ends_at_once() -> None:
    with Server() as server, httpx2.Client(base_url=server.url) as http:
        http.get("/livez")  # leaves an idle connection behind
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 3


def test_the_time_limit_of_a_drain_is_told() -> None:
    """What cannot be finished in time is refused in words, and the process still ends well."""
    with Server("--queue-budget", "300", "--drain-seconds", "1") as server:
        server.warm_up()
        body = {"model": "minilm", "input": [LONG] * 2000}
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(httpx2.post, f"{server.url}/v1/embeddings", json=body, timeout=60)
            while server.metric("headrace_queued_tokens", model="minilm") == 0:
                time.sleep(0.01)
            server.terminate()
            answer = slow.result()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "draining"
        assert server.stop() == 0
