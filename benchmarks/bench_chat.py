"""Sixteen conversations at once over HTTP: tokens a second and seconds to the first one, beside llama.cpp's server.

    python benchmarks/bench_chat.py --llama-server path/to/llama-server
    python benchmarks/bench_chat.py --models smollm2-q4_0 --streams 1 16

Both serve the same GGUF on this machine, as a client of OpenAI's interface sees it: questions of about 145 tokens,
each its own, answers of 64 tokens, greedy, ends of text ignored, streamed, a new connection for each. Each of the
streams asks again as soon as it is answered, three times a round; servers have their rounds in turn, and the one
whose turn it is not stands still. first_token_s and gap_s are of all requests of all rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gguf_models
import harness
from bench_generate import ARTICLE
from servers import Running, free_port

ANSWER, ASKED = 64, 3
WORDS = ARTICLE.split()


class Chat:
    """A server that stands still except during its turn."""

    def __init__(self, server: Running) -> None:
        self.name, self.port, self._server = server.name, server.port, server
        self.model = server.get("/v1/models")["data"][0]["id"]
        server.send(signal.SIGSTOP)

    def turn(self, streams: int, seed: int) -> dict[str, Any]:
        self._server.send(signal.SIGCONT)
        found = asyncio.run(_round(self, streams, seed))
        self._server.send(signal.SIGSTOP)
        return found


async def _round(server: Chat, streams: int, seed: int) -> dict[str, Any]:
    """Every stream asks three times."""
    firsts: list[float] = []
    gaps: list[float] = []

    async def stream(number: int) -> None:
        for turn in range(ASKED):
            rng = random.Random(f"{seed} {number} {turn}")
            question = (
                " ".join(rng.choice(WORDS) for _ in range(100))
                + "\nWhich of these words go together, and why?"
            )
            times = await _ask(server, question)
            firsts.append(times[1] - times[0])
            gaps.extend(b - a for a, b in itertools.pairwise(times[1:]))

    begin = time.perf_counter()
    await asyncio.gather(*map(stream, range(streams)))
    seconds = time.perf_counter() - begin
    return {"rate": streams * ASKED * ANSWER / seconds, "firsts": firsts, "gaps": gaps}


async def _ask(server: Chat, question: str) -> list[float]:
    """When it was asked, and when each piece of text came."""
    body = json.dumps(
        {
            "model": server.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": ANSWER,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    times, reason = [time.perf_counter()], None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + body)
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{server.name}: {status!r} {(await reader.read())[-500:]!r}")
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:]).get("choices", []):
            if choice.get("delta", {}).get("content"):
                times.append(time.perf_counter())
            reason = choice.get("finish_reason") or reason
    writer.close()
    if reason != "length" or len(times) < 3:  # a piece may hold what several tokens say
        raise SystemExit(f"{server.name}: {len(times) - 1} pieces, ended by {reason}")
    return times


def main() -> None:
    parser = harness.parser("chat", __doc__)
    parser.add_argument(
        "--models", nargs="+", default=["smollm2", "smollm2-q4_0"], help="of gguf_models.py, or paths"
    )
    parser.add_argument("--streams", nargs="+", type=int, default=[16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llama-server", metavar="FILE", help="measured beside ours")
    arguments = parser.parse_args()
    for name in [arguments.model] * bool(arguments.model) or arguments.models:
        path = gguf_models.file(name)
        for streams in arguments.streams:
            harness.write("chat", _compare(path, streams, arguments), arguments.out)


def _compare(path: Path, streams: int, arguments: Any) -> list[dict[str, Any]]:
    threads = str(arguments.threads)
    ports = free_port(), free_port()
    ours = ["-m", "headrace.cli", "serve", f"chat={path}", "--threads", threads, "--port", str(ports[0])]
    servers = [Running("headrace", [sys.executable, *ours], ports[0], "/readyz")]
    if arguments.llama_server:
        options = ["-np", str(streams), "-c", str(512 * streams), "-t", threads, "-tb", threads]
        command = [arguments.llama_server, "-m", str(path), "--port", str(ports[1]), *options]
        servers.append(Running("llama-server", command, ports[1], "/health"))
    found: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    try:
        chats = [Chat(server) for server in servers]
        for turn in range(-1, arguments.rounds):  # the first is not counted
            for chat in chats:
                one = chat.turn(streams, turn)
                if turn >= 0:
                    found[chat.name].append(one)
    finally:
        for server in servers:
            server.stop()
    lines = []
    for name, rounds in found.items():
        line = {"server": name, "model": path.stem, "streams": streams, "threads": arguments.threads}
        line |= {"unit": "tokens/s, s", "rate": harness.spread([one["rate"] for one in rounds], 1)}
        for key, label in (("firsts", "first_token_s"), ("gaps", "gap_s")):
            values = [value for one in rounds for value in one[key]]
            shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
            line[label] = {at: round(harness.percentile(values, share), 4) for at, share in shares.items()}
        lines.append(line)
    lines[0]["versions"] = harness.versions("headrace")
    if arguments.llama_server:
        about = subprocess.run(
            [arguments.llama_server, "--version"], capture_output=True, text=True, check=False
        )
        lines[1]["versions"] = {"llama.cpp": (about.stderr or about.stdout).split("\n")[0]}
    return lines


if __name__ == "__main__":
    main()
