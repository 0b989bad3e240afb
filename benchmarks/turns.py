"""Processes that take turns: while one works the others are stopped, so that no spinning pool disturbs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Worker:
    """benchmarks/worker.py in a child process; stopped (SIGSTOP) except during its turn."""

    def __init__(self, engine: str, model: Path, cpus: Sequence[int]) -> None:
        self.engine = engine
        self.threads = len(cpus)
        script = Path(__file__).with_name("worker.py")
        listed = ",".join(map(str, cpus))
        self._process = subprocess.Popen(
            [sys.executable, str(script), engine, "--model", str(model), "--cpus", listed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()["about"]
        self._process.send_signal(signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.engine}: its process ended with status {self._process.wait()}")
        return json.loads(line)

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
