"""Finished requests on their way into asyncio: one eventfd per event loop, one wake per batch."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    pass


class Waitable(Protocol):
    """A ticket or a stream."""

    @property
    def id(self) -> int: ...
    @property
    def done(self) -> bool: ...


_WAKES_PER_TURN = 12  # about a millisecond of answers


class LoopCompletions:
    """What is to be called on one event loop when tickets are finished. Used on that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from . import _core

        self.queue = _core.CompletionQueue()
        self._loop = weakref.ref(loop)
        self._waiting: dict[int, Callable[[], None]] = {}
        self._finished: deque[int] = deque()
        loop.add_reader(self.queue.fileno(), self._on_ready)

    def _on_ready(self) -> None:
        idle = not self._finished
        self._finished.extend(self.queue.drain())
        if idle:
            self._wake_some()

    def _wake_some(self) -> None:
        """Wakes a few waiters and comes back for more: a batch may finish a hundred requests, and writing all their
        answers in one turn of the loop would keep everyone else waiting for as long."""
        for _ in range(min(_WAKES_PER_TURN, len(self._finished))):
            callback = self._waiting.pop(self._finished.popleft(), None)
            if callback is not None:
                callback()
        loop = self._loop()
        if self._finished and loop is not None:
            loop.call_soon(self._wake_some)

    def when_done(self, ticket: Waitable, callback: Callable[[], None]) -> None:
        """Calls `callback`, which must not raise, once a ticket just submitted to `queue` is finished."""
        # Nothing can be lost in between: _on_ready runs on this thread, so only after the callback is in place.
        self._waiting[ticket.id] = callback

    def forget(self, ticket: Waitable) -> None:
        """Takes the callback back."""
        self._waiting.pop(ticket.id, None)

    async def wait(self, ticket: Waitable) -> None:
        """Returns when the ticket is finished, well or not."""
        if ticket.done:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_done(ticket, lambda: None if future.done() else future.set_result(None))
        try:
            await future
        finally:
            self.forget(ticket)


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopCompletions] = weakref.WeakKeyDictionary()


def completions_of_running_loop() -> LoopCompletions:
    """The running loop's own queue; made on first use."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        found = _by_loop[loop] = LoopCompletions(loop)
    return found
