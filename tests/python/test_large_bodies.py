"""Bodies at the limit, over it, and without an end: what is refused, and how much memory they take."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import FIGURES, Server
from test_server import JSON, post, refusal

URL = "/v1/embeddings"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_10_mb_is_refused(http: httpx2.Client, server: Server, chunked: bool) -> None:
    body = b'{"model": "minilm", "input": "' + b"a" * 11_000_000 + b'"}'
    content: Any = (body[i : i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    error = refusal(http.post(URL, content=content, headers=JSON), 413)
    assert "10000000" in error["message"]
    assert post(http, input="still here").status_code == 200


def test_a_body_just_under_10_mb_is_read(http: httpx2.Client) -> None:
    body = json.dumps({"model": "minilm", "input": "x", "truncate": True, "user": "u" * 9_999_000})
    assert len(body) < 10_000_000
    assert http.post(URL, content=body.encode(), headers=JSON).status_code == 200


def test_an_endless_body_is_cut_off(server: Server) -> None:
    """A client that never stops sending is answered and closed long before it has sent a gigabyte."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        piece = b"%x\r\n%b\r\n" % (1 << 20, b"a" * (1 << 20))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(piece * 200)


def peak_bytes(server: Server) -> int:
    """The most memory that the server has had since the last call."""
    folder = Path("/proc") / str(server.process.pid)
    [line] = [line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM")]
    (folder / "clear_refs").write_text("5")
    return int(line.split()[1]) * 1024


def test_three_hundred_megabytes_take_no_more_memory_than_the_limit(server: Server) -> None:
    peak_bytes(server)
    idle = peak_bytes(server)
    piece = b"%x\r\n%b\r\n" % (1 << 20, b"a" * (1 << 20))

    def send() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = b"host: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\n%b\r\n" % head)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for _ in range(300):
                    connection.sendall(piece)

    send()
    grown = peak_bytes(server) - idle
    FIGURES.append(f"a chunked body of 300 MiB: {grown / 2**20:.1f} MiB beside the limit of 10 MB")
    assert grown <= 10_000_000 + (16 << 20)


def test_expect_continue_is_answered_before_the_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
