"""Client and AsyncClient, against a running server and against one that misbehaves by script."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from conftest import Server

import headrace
from headrace.client import _chunks

ANSWER = json.dumps({"data": [{"embedding": "AACAPwAAAAA="}]}).encode()  # [1.0, 0.0]


def http_answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def scripted(answers: list[bytes]) -> Iterator[tuple[str, list[float]]]:
    """A server that gives these answers, one a connection (b"": hangs up); its URL, and when each came."""
    times: list[float] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received = connection.recv(65536)
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                times.append(time.monotonic())
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", times
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def embed_sync(url: str, **options: Any) -> np.ndarray:
    with headrace.Client(url, **options) as client:
        return client.embed("x")


def embed_async(url: str, **options: Any) -> np.ndarray:
    async def run() -> np.ndarray:
        async with headrace.AsyncClient(url, **options) as client:
            return await client.embed("x")

    return asyncio.run(run())


both = pytest.mark.parametrize("embed", [embed_sync, embed_async], ids=["sync", "async"])
Embed = Callable[..., np.ndarray]


class TestAgainstTheServer:
    def test_rows_follow_the_texts(self, server: Server) -> None:
        texts = [f"text number {i}" for i in range(600)]  # three requests
        with headrace.Client(server.url) as client:
            found = client.embed(texts)
            assert found.dtype == np.float32
            assert found.shape == (600, 384)
            assert np.array_equal(client.embed(texts[450]), found[450:451])
            assert np.allclose(np.linalg.norm(client.embed(texts[:3], dimensions=32), axis=1), 1, atol=1e-5)
            assert found.flags.writeable

    async def test_async_gives_the_same(self, server: Server) -> None:
        async with headrace.AsyncClient(f"{server.url}/v1/") as client:
            one, two = await asyncio.gather(client.embed("a b"), client.embed(["c", "a b"]))
            assert np.array_equal(one[0], two[1])
            assert [model["id"] for model in await client.models()] == ["minilm"]

    def test_models(self, server: Server) -> None:
        with headrace.Client(server.url) as client:
            (model,) = client.models()
        assert (model["id"], model["dimensions"], model["task"]) == ("minilm", 384, "embed")

    def test_errors_are_those_of_the_engine(self, server: Server) -> None:
        with headrace.Client(server.url) as client:
            with pytest.raises(headrace.ModelNotFoundError, match="minilm"):
                client.embed("x", model="nope")
            with pytest.raises(headrace.InvalidArgumentError, match="empty"):
                client.embed(["x", ""])
            with pytest.raises(headrace.InvalidArgumentError) as caught:
                client.embed("word " * 5000)
            assert caught.value.code == "context_length_exceeded"
            assert client.embed("word " * 5000, truncate=True).shape == (1, 384)
            with pytest.raises(headrace.InvalidArgumentError, match="valid Unicode"):
                client.embed("\ud800")
            with pytest.raises(headrace.InvalidArgumentError, match="empty"):
                client.embed([])
            with pytest.raises(headrace.InvalidArgumentError, match="input"):
                client.embed(["x", 3])  # type: ignore[list-item]

    def test_a_long_list_can_show_its_progress(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with headrace.Client(server.url) as client:
            client.embed(["x"] * 10, show_progress=True)
            assert "10/10" in capsys.readouterr().err
            client.embed(["x"] * 10)
        assert capsys.readouterr() == ("", "")


class TestRetries:
    @both
    @pytest.mark.parametrize(
        ("header", "least"),
        [("retry-after-ms: 300", 0.3), ("retry-after: 1", 1.0), ("retry-after: soon", 0.0)],
    )
    def test_the_server_s_wish_is_honoured(self, embed: Embed, header: str, least: float) -> None:
        answers = [http_answer(429, b"{}", header), http_answer(200, ANSWER)]
        with scripted(answers) as (url, times):
            assert embed(url).tolist() == [[1.0, 0.0]]
        assert least <= times[1] - times[0] < least * 1.25 + 0.5

    @both
    def test_failures_of_a_gateway_or_connection_are_tried_again(self, embed: Embed) -> None:
        answers = [b"", http_answer(503, b"busy"), http_answer(502, b""), http_answer(200, ANSWER)]
        with scripted(answers) as (url, times):
            assert embed(url).shape == (1, 2)
        pauses = np.diff(times)
        assert 0.04 < pauses[0] < pauses[2] < 1

    @both
    def test_at_most_max_retries(self, embed: Embed) -> None:
        refused = http_answer(
            429, b'{"error": {"message": "full", "code": "overloaded"}}', "retry-after-ms: 10"
        )
        with (
            scripted([refused] * 3) as (url, times),
            pytest.raises(headrace.OverloadedError, match="full") as caught,
        ):
            embed(url, max_retries=2)
        assert len(times) == 3
        assert caught.value.retry_after == 0.01
        assert caught.value.code == "overloaded"

    @both
    def test_a_wish_beyond_patience_is_not_waited_for(self, embed: Embed) -> None:
        answers = [http_answer(429, b"{}", "retry-after: 3600")]
        with scripted(answers) as (url, _), pytest.raises(headrace.OverloadedError) as caught:
            embed(url)
        assert caught.value.retry_after == 3600

    @both
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, headrace.InvalidArgumentError),
            (404, headrace.ModelNotFoundError),
            (413, headrace.InvalidArgumentError),
            (500, headrace.InternalError),
            (501, headrace.UnsupportedError),
        ],
    )
    def test_other_errors_are_raised_at_once(
        self, embed: Embed, status: int, kind: type[headrace.Error]
    ) -> None:
        with (
            scripted([http_answer(status, b"<html>")]) as (url, times),
            pytest.raises(kind, match=str(status)),
        ):
            embed(url)
        assert len(times) == 1

    @both
    def test_an_unreachable_server_is_told_in_words(self, embed: Embed) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(headrace.Error, match="headrace serve"):
            embed(url, max_retries=1)

    @both
    def test_a_silent_server_is_a_deadline(self, embed: Embed) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(headrace.DeadlineError):
                embed(url, timeout=0.1, max_retries=0)


def test_requests_are_bounded_in_texts_and_characters() -> None:
    assert [len(chunk) for chunk in _chunks(["x"] * 600)] == [256, 256, 88]
    assert [len(chunk) for chunk in _chunks(["x" * 400_000] * 5)] == [2, 2, 1]
    assert [len(chunk) for chunk in _chunks(["x" * 3_000_000, "y"])] == [1, 1]
    assert list(_chunks([])) == []


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="http://"):
        headrace.Client("localhost:8000")
    with pytest.raises(headrace.InvalidArgumentError, match="max_retries"):
        headrace.Client("http://localhost:8000", max_retries=-1)


def test_repr_shows_where_and_not_the_key() -> None:
    with headrace.Client("http://localhost:8000/v1", api_key="secret") as client:
        assert repr(client) == "Client('http://localhost:8000')"
