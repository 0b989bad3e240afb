"""Servers under test as child processes: started, waited for, stopped while others are measured, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process on a port of its own. `body` makes a request of a text, `vector` reads an answer."""

    name = ""
    path = ""
    ready_path = ""
    packages: tuple[str, ...] = ("fastapi", "uvicorn", "uvloop", "httptools")

    def __init__(self, model: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        environment = {**os.environ, "BENCH_MODEL": str(model)}
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, *self.command(model), *options],
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd=Path(__file__).parent,
        )
        self.pid = self._process.pid
        self._wait_until_ready(60.0)
        self.ready_seconds = round(time.perf_counter() - start, 3)

    def command(self, model: Path) -> list[str]:
        raise NotImplementedError

    def body(self, text: str) -> bytes:
        return json.dumps({"text": text}).encode()

    def vector(self, answer: Any) -> list[float]:
        return answer["embedding"]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.base + self.path

    def _wait_until_ready(self, limit_seconds: float) -> None:
        end = time.monotonic() + limit_seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise SystemExit(
                    f"{self.name}: ended with status {self._process.returncode} before it was ready"
                )
            try:
                self.get(self.ready_path)
                return
            except (OSError, urllib.error.URLError):
                time.sleep(0.02)
        self.stop()
        raise SystemExit(f"{self.name}: not ready within {limit_seconds} s")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            return answer.read().decode()

    def embed(self, text: str) -> list[float]:
        """One text's vector over HTTP, for checking answers."""
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url, data=self.body(text), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return self.vector(json.load(answer))

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def memory_mb(self) -> float:
        """Resident memory of the process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def cpu_seconds(self) -> float:
        """Processor time of the process and its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Running:
    """Any server by its command line, and all of its processes."""

    def __init__(self, name: str, command: list[str], port: int, ready: str, **environment: str) -> None:
        self.name, self.port = name, port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop
        here = Path(__file__).parent
        path = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            command, cwd=here, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5).close()
                return
            except OSError as error:
                code = getattr(error, "code", 500)
                if code < 500 and code != 404:  # Ray listens before its applications are there
                    return
                if time.monotonic() > end or self._process.poll() is not None:
                    self._log.seek(0)
                    raise SystemExit(f"{name} did not start: {self._log.read().decode()[-3000:]}") from None
                time.sleep(0.2)

    def _pids(self) -> list[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    parents[int(entry.name)] = int(fields[1])
        found, rest = [], [self._process.pid]
        while rest:  # some start sessions of their own, so it is the family that counts
            found.append(rest.pop())
            rest += [pid for pid, parent in parents.items() if parent == found[-1]]
        return [pid for pid in found if pid in parents]

    def cpu_seconds(self) -> float:
        total = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> Any:
        """What it answers as JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)

    def send(self, number: int) -> None:
        for pid in self._pids():
            os.kill(pid, number)

    def stop(self) -> None:
        self.send(signal.SIGCONT)
        family = self._pids()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self._log.close()


class HeadraceServer(Server):
    name = "headrace"
    path = "/v1/embeddings"
    ready_path = "/readyz"
    packages = ("headrace", *Server.packages)

    def command(self, model: Path) -> list[str]:
        start = "import sys; from headrace.cli import main; sys.exit(main())"
        return ["-c", start, "serve", f"minilm={model}", "--port", str(self.port)]

    def body(self, text: str) -> bytes:
        return json.dumps({"model": "minilm", "input": text}).encode()

    def vector(self, answer: Any) -> list[float]:
        return answer["data"][0]["embedding"]


def infer_request(text: str) -> bytes:
    """A ModelInferRequest of the Open Inference Protocol for a HeadraceServer."""
    from headrace.serve.grpc_messages import message

    request = message("ModelInferRequest")(model_name="minilm")
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    raw = text.encode()
    request.raw_input_contents.append(struct.pack("<I", len(raw)) + raw)
    found: bytes = request.SerializeToString()
    return found


class _FastApiServer(Server):
    path = "/embed"
    ready_path = "/openapi.json"
    packages = (*Server.packages, "sentence-transformers", "transformers", "torch")
    app = ""

    def command(self, model: Path) -> list[str]:
        return [
            "-m",
            "uvicorn",
            self.app,
            "--port",
            str(self.port),
            "--log-level",
            "warning",
            "--no-access-log",
        ]


class NaiveServer(_FastApiServer):
    name = "fastapi+sentence-transformers"
    app = "rivals.naive:app"


class BatchedServer(_FastApiServer):
    name = "fastapi+sentence-transformers, batched"
    app = "rivals.batched:app"


SERVERS: dict[str, Callable[..., Server]] = {
    "headrace": HeadraceServer,
    "naive": NaiveServer,
    "batched": BatchedServer,
}
