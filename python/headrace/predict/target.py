"""What runs a batch: a function in this process, on the runner's thread or on an event loop of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .function import Function
from .work import Values

if TYPE_CHECKING:
    import asyncio

# Told of a list with a piece, or None, for each item of the batch; False when nobody wants more.
Emit = Callable[[list[Any]], bool]


class Target(ABC):
    """One batch at a time from each of its threads."""

    @abstractmethod
    def run(self, values: Values, emit: Emit) -> Any:
        """The results for a batch, as the function gave them; None of one that streams, whose pieces go to `emit`."""

    def close(self) -> None:
        """Gives back what it holds; nothing runs any more."""
        return


class WorkerDiedError(Exception):
    """The process that ran a batch ended in the middle of it.

    `blame` is how sure it is that the batch was why: 1, or less where someone else may have ended the process.
    """

    def __init__(self, reason: str, blame: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.blame = blame


class RemoteError(Exception):
    """What a function raised in a worker."""

    def __init__(self, kind: str, message: str, places: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.places = places


def call(function: Callable[..., Any], values: Values) -> Any:
    """With a list of items, or with arrays by name."""
    return function(**values) if isinstance(values, dict) else function(values)


class FunctionTarget(Target):
    """A plain function or generator, on the caller's thread."""

    def __init__(self, function: Function) -> None:
        self._function = function.made()
        self._streams = function.streams

    def run(self, values: Values, emit: Emit) -> Any:
        found = call(self._function, values)
        if not self._streams:
            return found
        try:
            for pieces in found:
                if not emit(pieces):
                    break
        finally:
            found.close()
        return None


class AsyncTarget(Target):
    """An async function or generator, on an event loop in a thread of its own; several batches are under way at a
    time."""

    def __init__(self, function: Function) -> None:
        import asyncio

        self._loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headrace-async", daemon=True)
        self._thread.start()
        self._streams = function.streams
        self._function = function.made()

    def run(self, values: Values, emit: Emit) -> Any:
        import asyncio

        work = self._stream(values, emit) if self._streams else self._call(values)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _call(self, values: Values) -> Any:
        return await call(self._function, values)

    async def _stream(self, values: Values, emit: Emit) -> None:
        pieces_of = call(self._function, values)
        try:
            async for pieces in pieces_of:
                if not emit(pieces):
                    break
        finally:
            await pieces_of.aclose()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def in_process(function: Function) -> Target:
    return AsyncTarget(function) if function.kind.startswith("async") else FunctionTarget(function)
