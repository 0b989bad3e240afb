"""The load generator reads answers of a known size and such as come in chunks, wherever their packets end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from headrace.loadtest import closed_loop

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n\r\n0\r\n\r\n...\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("cut", [7, 50, 62, -3, -1])
async def test_answers_are_read_to_their_end(answer: bytes, cut: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"body"):
                for part in (answer[:cut], answer[cut:]):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.002)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await closed_loop(f"http://127.0.0.1:{port}/", [b"body"], connections=2, seconds=0.1)
    assert set(result.statuses) == {200}
    assert result.lost == 0
    assert result.statuses[200] > 5
