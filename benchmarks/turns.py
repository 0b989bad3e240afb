"""Processes that take turns: while one works the others are stopped, so that no spinning pool disturbs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Child:
    """A process that first says what it is, and then answers each command, in JSON lines; stopped (SIGSTOP) except
    during its turn."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # some libraries print notices
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self.name}: its process ended with status {self._process.wait()}")

    def turn(self, **command: Any) -> dict[str, Any]:
        """One command and its answer; the process runs only in between."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """Ends the process by closing its input, or by a signal if that does not do."""
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Worker(Child):
    """benchmarks/worker.py in a child process."""

    def __init__(self, engine: str, model: Path, cpus: Sequence[int]) -> None:
        self.engine = engine
        self.threads = len(cpus)
        script = Path(__file__).with_name("worker.py")
        listed = ",".join(map(str, cpus))
        super().__init__(
            engine, [sys.executable, str(script), engine, "--model", str(model), "--cpus", listed]
        )
        self.about = self.about["about"]
