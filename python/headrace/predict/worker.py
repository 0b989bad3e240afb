"""The process side of a pool: makes the function, then runs one batch after another until its parent is gone.

Started by pool.py as `python -m headrace.predict.worker SOCKET REQUESTS ANSWERS`, three inherited descriptors: a socket
for short messages and two pieces of memory, one written by each side.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import InvalidArgumentError
from . import wire
from .function import Function, as_function
from .signature import WrongAnswerError
from .target import call

MESSAGE = struct.Struct("<IQ")  # kind, bytes of memory in use
# To the worker: make the function, run a batch, go on after a piece, no more pieces.
START, RUN, NEXT, STOP = range(1, 5)
# From it: ready, results, a piece for each item, an exception, the function cannot be made.
READY, RESULTS, PIECES, RAISED, FAILED = range(10, 15)
_loading = threading.RLock()


class SharedBlock:
    """Memory of a descriptor, as large as either side needs it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)

    def close(self) -> None:
        os.close(self._descriptor)

    def write(self, value: Any) -> int:
        """Puts a value there; returns how many bytes it takes."""
        buffers = wire.encode(value)
        needed = wire.size_of(buffers)
        if needed > len(self._map):
            os.ftruncate(self._descriptor, max(needed, 2 * len(self._map)))
        self._follow()
        with memoryview(self._map) as memory:
            return wire.write(buffers, memory)

    def read(self) -> Any:
        """What the other side wrote. Arrays share the memory: they hold until it writes again."""
        self._follow()
        return wire.decode(memoryview(self._map))

    def _follow(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size != len(self._map):
            # Arrays may still lie in the old mapping: it goes when they do.
            self._map = mmap.mmap(self._descriptor, size)


def receive(connection: socket.socket) -> tuple[int, int] | None:
    """A message; None when the other side is gone."""
    data = b""
    while len(data) < MESSAGE.size:
        try:
            part = connection.recv(MESSAGE.size - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    kind, size = MESSAGE.unpack(data)
    return kind, size


def find_function(where: dict[str, Any]) -> Function:
    """The function that `pool.describe` described."""
    sys.path[:] = where["sys_path"]
    if "pickle" in where:
        import cloudpickle

        found = cloudpickle.loads(where["pickle"])
    elif where.get("file"):
        # As multiprocessing has it: not "__main__", so that what starts the program does not run again.
        name = "__mp_main__" if where["module"] == "__main__" else where["module"]
        found = load_file(where["file"], name)
    else:
        found = importlib.import_module(where["module"])
    for part in where.get("qualname", "").split("."):
        found = getattr(found, part) if part else found
    function = as_function(found)
    if function is None:
        raise TypeError(f"{where.get('qualname')} is no function")
    if where.get("arguments"):
        return Function(function.made_of, function.options, None, where["arguments"])
    return function


def load_file(path: str, name: str) -> Any:
    """The module that a file holds, under `name`; run once, however many of its functions are served."""
    with _loading:  # models are loaded in several threads
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) == path:
            return known
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)  # half of a module is none
            raise
        return module


def _pieces(function: Function, made: Callable[..., Any], values: Any) -> Iterator[Any]:
    if function.kind == "generator":
        yield from call(made, values)
        return
    loop = asyncio.new_event_loop()
    pieces = call(made, values)
    try:
        while True:
            try:
                yield loop.run_until_complete(pieces.__anext__())
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(pieces.aclose())
        loop.close()


def _told(error: BaseException) -> dict[str, Any]:
    places = "".join(traceback.format_tb(error.__traceback__)[-8:])
    code = getattr(error, "code", None)
    return {"type": type(error).__name__, "message": str(error), "code": code, "places": places}


def marked(results: Any, values: Any) -> Any:
    """Exceptions among the results as what the other side makes exceptions of again; the outputs of tensors, which may
    be a tuple, as such."""
    if isinstance(values, dict):
        return {"tuple": list(results)} if isinstance(results, tuple) else {"tensors": results}
    if isinstance(results, (list, tuple)):
        return {
            "list": [{"error": _told(r)} if isinstance(r, BaseException) else {"value": r} for r in results]
        }
    return {"tensors": results}


class _Worker:
    def __init__(self, connection: socket.socket, requests: SharedBlock, answers: SharedBlock) -> None:
        self._connection = connection
        self._requests = requests
        self._answers = answers

    def serve(self) -> None:
        function: Function | None = None
        made: Callable[..., Any] | None = None
        while (message := receive(self._connection)) is not None:
            if message[0] == START:
                try:
                    function = find_function(self._requests.read())
                    made = function.made()
                except BaseException as error:
                    self._send(FAILED, _told(error) | {"places": traceback.format_exc()})
                    return
                self._send(READY, None)
            elif message[0] == RUN and function is not None and made is not None:
                self._run(function, made)

    def _run(self, function: Function, made: Callable[..., Any]) -> None:
        try:
            values = self._requests.read()
            if function.streams:
                for pieces in _pieces(function, made, values):
                    self._send(PIECES, pieces)
                    answer = receive(self._connection)
                    if answer is None or answer[0] == STOP:
                        break
                results = None
            elif function.kind == "async":
                results = asyncio.run(_awaited(made, values))
            else:
                results = call(made, values)
            self._send(RESULTS, None if function.streams else marked(results, values))
        except Exception as error:
            self._send(RAISED, _told(error))

    def _send(self, kind: int, value: Any) -> None:
        try:
            size = self._answers.write(value)
        except InvalidArgumentError as error:  # no fault of who asked
            raise WrongAnswerError(str(error)) from None
        self._connection.sendall(MESSAGE.pack(kind, size))


async def _awaited(made: Callable[..., Any], values: Any) -> Any:
    return await call(made, values)


def end_with_parent(parent: int) -> None:
    """One that is killed cannot tell its workers, and they may be in the middle of something.

    Linux's PR_SET_PDEATHSIG would follow the thread that started the worker, which may end sooner.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who finishes what is under way
    descriptors = [int(argument) for argument in sys.argv[1:4]]
    connection = socket.socket(fileno=descriptors[0])
    _Worker(connection, SharedBlock(descriptors[1]), SharedBlock(descriptors[2])).serve()


if __name__ == "__main__":
    main()
