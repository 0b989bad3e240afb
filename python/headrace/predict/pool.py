"""The parent's side of worker processes: starts them, hands them batches, and takes their place when they die.

A batch and its results lie in memory that both processes have mapped; the socket between them carries 12 bytes a
message, and its end is how a death is noticed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from .. import errors
from ..errors import InternalError, InvalidArgumentError, UnsupportedError
from .target import Emit, RemoteError, Target, WorkerDiedError
from .worker import (
    FAILED,
    MESSAGE,
    NEXT,
    PIECES,
    RAISED,
    READY,
    RESULTS,
    RUN,
    START,
    STOP,
    SharedBlock,
    receive,
)

if TYPE_CHECKING:
    from .function import Function
    from .work import Values

_FIRST_BYTES = 1 << 20
_START_SECONDS = 600.0  # weights may be large
_STARTS = 5  # in a row, before it is given up for now
_OTHERS_BLAME = 0.5  # of a death by SIGKILL, which may come from anywhere
_KNOWN = {
    name: kind for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.Error) and kind is not errors.Error
}  # fmt: skip


def describe(function: Function) -> dict[str, Any]:
    """Where a worker finds the function. UnsupportedError for one that has no place."""
    made_of = function.made_of
    module = getattr(made_of, "__module__", None) or ""
    qualname = getattr(made_of, "__qualname__", "<lambda>")
    where: dict[str, Any] = {
        "module": module,
        "qualname": qualname,
        "sys_path": list(sys.path),
        "arguments": function.arguments,
    }
    found = sys.modules.get(module)
    where["file"] = getattr(found, "__file__", None)
    if "<" not in qualname and where["file"] is not None:
        if module != "__main__" and getattr(getattr(found, "__spec__", None), "name", None) == module:
            # A module of a package knows its siblings only under its own name.
            where["file"] = None if _importable(module) else where["file"]
        return where
    try:
        import cloudpickle
    except ImportError:
        raise UnsupportedError(
            f"{qualname}: a worker process cannot find a function made inside another or in a notebook; write it "
            "at the top of a .py file, or pip install cloudpickle"
        ) from None
    return {"pickle": cloudpickle.dumps(function), "qualname": "", "sys_path": list(sys.path)}


def _importable(module: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class WorkerTarget(Target):
    """One worker process."""

    def __init__(self, function: Function) -> None:
        self._where = describe(function)
        self._time_limit = function.options.time_limit
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except WorkerDiedError as death:
            self.close()
            raise InvalidArgumentError(f"a worker died while it made its function: {death.reason}") from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def run(self, values: Values, emit: Emit) -> Any:
        if self._process is None or self._process.poll() is not None:
            self._restart()
        limit = None if self._time_limit is None else time.monotonic() + self._time_limit
        self._requests.write(values)
        self._send(RUN)
        while True:
            kind = self._answer(limit)
            if kind == PIECES:
                self._send(NEXT if emit(self._answers.read()) else STOP)
                continue
            found = self._answers.read()
            if kind == RAISED:
                raise _raised(found)
            if kind != RESULTS:
                raise InternalError(f"a worker sent a message of kind {kind}")
            return _results(found)

    def close(self) -> None:
        if self._process is None:
            return
        self._let_go()  # the socket's end is the worker's
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _restart(self) -> None:
        """InternalError when it does not work; a worker that is killed meanwhile is no batch's fault."""
        reason = ""
        for _ in range(_STARTS):
            try:
                self._start()
                return
            except WorkerDiedError as death:
                reason = death.reason
            except InvalidArgumentError as failed:
                reason = str(failed).rpartition("\n")[2]
        error = InternalError(f"the model's worker could not be started again: {reason}")
        error.code = "worker_died"
        raise error

    def _start(self) -> None:
        """InvalidArgumentError with the worker's words where it cannot make its function."""
        if self._process is not None:
            self._let_go()
        self._connection, theirs = socket.socketpair()
        descriptors = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("requests", "answers")]
        for descriptor in descriptors:
            os.ftruncate(descriptor, _FIRST_BYTES)
        self._requests, self._answers = (SharedBlock(os.dup(descriptor)) for descriptor in descriptors)
        passed = [theirs.fileno(), *descriptors]
        command = [sys.executable, "-m", "headrace.predict.worker", *map(str, passed)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(command, pass_fds=passed, stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        for descriptor in descriptors:
            os.close(descriptor)
        self._requests.write(self._where)
        self._send(START)
        kind = self._answer(time.monotonic() + _START_SECONDS)
        if kind == FAILED:
            told = self._answers.read()
            raise InvalidArgumentError(f"a worker could not make its function:\n{told['places'].rstrip()}")
        if kind != READY:
            raise InternalError(f"a worker began with a message of kind {kind}")

    def _let_go(self) -> None:
        self._connection.close()
        self._requests.close()
        self._answers.close()

    def _send(self, kind: int) -> None:
        try:
            self._connection.sendall(MESSAGE.pack(kind, 0))
        except OSError:
            raise self._death() from None

    def _answer(self, limit: float | None) -> int:
        left = None if limit is None else max(0.0, limit - time.monotonic())
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(None if left is None else left * 1000):
            raise self._death(
                f"it took longer than {self._time_limit:g} s" if self._time_limit else "it did not start"
            )
        message = receive(self._connection)
        if message is None:
            raise self._death()
        return message[0]

    def _death(self, reason: str | None = None) -> WorkerDiedError:
        process = self._process
        assert process is not None
        if reason is not None:
            process.kill()
            process.wait()
            return WorkerDiedError(reason, 1.0)
        code = process.wait()
        if code == -signal.SIGKILL:
            return WorkerDiedError("killed by SIGKILL, perhaps for want of memory", _OTHERS_BLAME)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerDiedError(how, 1.0)


def _raised(told: dict[str, Any]) -> Exception:
    """The exception that a worker told of; one of ours as itself."""
    kind = _KNOWN.get(told["type"])
    if kind is not None:
        error = kind(told["message"])
        if told.get("code"):
            error.code = told["code"]
        return error
    return RemoteError(told["type"], told["message"], told["places"])


def _results(found: Any) -> Any:
    if found is None:
        return None
    if "list" in found:
        return [
            _raised(each["error"]) if "error" in each else _copied(each["value"]) for each in found["list"]
        ]
    return tuple(_copied(found["tuple"])) if "tuple" in found else _copied(found["tensors"])


def _copied(value: Any) -> Any:
    """Its arrays with memory of their own: the worker's is written anew by the next batch."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.copy() if value.dtype != object else value
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return value
