"""How a model runs jobs: blocking or awaited, whole or, for long lists, in portions of bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from . import render
from .errors import InvalidArgumentError
from .time_limit import shortened
from .usage import add_phase, add_usage

if TYPE_CHECKING:
    from ._core import CompletionQueue, Stream, Ticket
    from ._core import Engine as CoreEngine
    from .drift import Drift
    from .engine import Engine
    from .loaded_model import Model, ModelInfo
    from .shadow import Copy, Shadow
    from .tasks.job import Job, Terms

T = TypeVar("T")

Priority = Literal["interactive", "normal", "batch"]
Admission = Literal["refuse", "wait"]
_PRIORITIES = {"interactive": 0, "normal": 1, "batch": 2}

# Texts to embed that are handed to the core at a time, as Job.portion, and how many such portions wait or run.
PORTION = 256
_PORTIONS_AHEAD = 3
_PROGRESS_FROM = 1024  # items; below that, no progress bar unless asked for
SIGNAL_CHECK_US = 100_000  # how often a waiting thread lets Python handle Ctrl-C
# Characters beyond which tokenising moves off the event loop: about a millisecond's worth.
INLINE_CHARACTERS = 32_768


@dataclass
class Stop:
    """Set by another thread when nobody waits any more."""

    requested: bool = False


def make_terms(
    timeout: float | None, priority: Priority, admission: Admission, queue: CompletionQueue | None
) -> Terms:
    """Checked, and in the core's units."""
    from .tasks.job import Terms

    if timeout is not None and not timeout > 0:
        raise InvalidArgumentError(f"timeout={timeout}: must be positive seconds, or None")
    timeout = shortened(timeout)
    if priority not in _PRIORITIES:
        raise InvalidArgumentError(f"priority={priority!r}: must be one of {', '.join(_PRIORITIES)}")
    timeout_us = 0 if timeout is None else max(1, int(timeout * 1e6))
    return Terms(_PRIORITIES[priority], admission == "wait", timeout_us, queue)


class Runner:
    """What a Model does for any job."""

    info: ModelInfo
    _engine: Engine
    _core: CoreEngine
    _core_name: str
    _shadow: Shadow | None = None  # what copies of its requests are for
    _drift: Drift | None = None  # what compares its requests with earlier ones

    def _check_task(self, task: str) -> None:
        """A model has one task; what is asked of it must be that one."""
        if self.info.task != task:
            error = InvalidArgumentError(
                f"the model {self.info.name!r} cannot {_shown(task)}: its task is {_shown(self.info.task)}; "
                f"call {_shown(self.info.task)}, or use a model for {_shown(task)}"
            )
            error.code = "wrong_task"
            raise error

    def _run(
        self,
        job: Job[T],
        timeout: float | None = None,
        show_progress: bool | None = False,
        stop: Stop | None = None,
    ) -> list[T]:
        """One result for each of the job's items; long lists run in portions."""
        self._check_task(job.task)
        terms = make_terms(timeout, "normal", "wait", None)
        model, items = cast("Model", self), job.items
        if len(items) > job.portion:
            job.check(model)
        results: list[T] = []
        with self._portions(
            items, lambda part: self._submit_job(job, part, terms), show_progress, stop, job.portion
        ) as finished:
            for start, ticket in finished:
                results += job.read(model, items[start : start + job.portion], ticket)
        return results

    async def _arun(self, job: Job[T], timeout: float | None = None) -> list[T]:
        """`_run` for asyncio."""
        if len(job.items) <= job.portion:
            results, _ = await self._arun_request(job, timeout=timeout, priority="normal", admission="wait")
            return results
        return await self._in_thread(lambda stop: self._run(job, timeout, False, stop))

    async def _arun_request(
        self,
        job: Job[T],
        *,
        timeout: float | None = None,
        priority: Priority = "interactive",
        admission: Admission = "refuse",
    ) -> tuple[list[T], Ticket]:
        """One request as a server makes it: all items at once, with the ticket that knows the costs."""
        import asyncio

        self._check_task(job.task)
        model = cast("Model", self)
        ticket = await self._finished(
            lambda queue: self._submit_job(job, job.items, make_terms(timeout, priority, admission, queue)),
            job.characters,
        )
        read = partial(job.read, model, job.items, ticket)
        if ticket.tokens <= job.inline_tokens:
            return read(), ticket
        return await asyncio.get_running_loop().run_in_executor(None, read), ticket

    def _submit_job(self, job: Job[Any], items: Sequence[Any], terms: Terms) -> Ticket:
        model = cast("Model", self)
        ticket = job.submit(model, items, terms)
        if self._shadow is not None and job.is_shadowed:
            from .shadow import copy_of_job

            self._offer(ticket, lambda: copy_of_job(model, job, items))
        return ticket

    def _offer(self, request: Ticket | Stream, copy: Callable[[], Copy]) -> None:
        """Has the request, just handed to the core, copied once it is finished, if it is among the shadow's share."""
        shadow = self._shadow
        if shadow is not None and shadow.wants_one and getattr(request, "error", None) is None:
            shadow.offer(request, copy())

    def _ended(self, request: Ticket | Stream) -> None:
        """A request is finished, well or not. To be called once for each."""
        if self._drift is not None:
            self._drift.ended(request)
        if self._shadow is not None:
            self._shadow.ended(request)

    async def _finished(self, begin: Callable[[CompletionQueue], Ticket], characters: int) -> Ticket:
        """Begins a request and waits for it; cancelling the task cancels the work."""
        from .completions import completions_of_running_loop

        completions = completions_of_running_loop()
        start = time.perf_counter()
        if characters <= INLINE_CHARACTERS:
            ticket = begin(completions.queue)
        else:
            import asyncio

            loop = asyncio.get_running_loop()
            ticket = await loop.run_in_executor(None, begin, completions.queue)
        begun = add_phase("tokenize", start)
        try:
            await completions.wait(ticket)
        except BaseException:
            self._cancel(ticket)
            raise
        self._ended(ticket)
        add_usage(ticket.tokens)
        add_phase("model", begun)
        return ticket

    async def _in_thread(self, work: Callable[[Stop], T]) -> T:
        """Work that waits, in a thread of its own; what it has queued is cancelled with the task."""
        import asyncio

        stop = Stop()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, stop)
        except asyncio.CancelledError:
            stop.requested = True
            raise

    def _cancel(self, ticket: Ticket) -> None:
        self._core.cancel(self._core_name, ticket.id)
        if self._shadow is not None:
            self._shadow.forget(ticket)

    def _wait(self, ticket: Ticket, stop: Stop | None = None) -> None:
        try:
            while not self._core.wait(ticket, SIGNAL_CHECK_US):
                if stop is not None and stop.requested:
                    self._cancel(ticket)
        except BaseException:  # Ctrl-C: what nobody waits for must not run
            self._cancel(ticket)
            raise
        self._ended(ticket)

    def _portions(
        self,
        items: Sequence[Any],
        submit: Callable[[Any], Ticket],
        show_progress: bool | None,
        stop: Stop | None,
        size: int = PORTION,
    ) -> _Portions:
        """`with ... as finished`: the first item of each portion and its finished ticket, in order."""
        return _Portions(self, items, submit, show_progress, stop, size)


class _Portions:
    """The portions of a long list, a few of them ahead; leaving cancels those that are out."""

    def __init__(
        self,
        runner: Runner,
        items: Sequence[Any],
        submit: Callable[[Any], Ticket],
        show_progress: bool | None,
        stop: Stop | None,
        size: int,
    ) -> None:
        self._size = size
        self._runner = runner
        self._items = items
        self._submit = submit
        self._bar = render.progress_bar(len(items), show_progress, _PROGRESS_FROM)
        self._stop = stop
        self._ahead: deque[tuple[int, Ticket]] = deque()

    def __enter__(self) -> Iterator[tuple[int, Ticket]]:
        self._advance = self._bar.__enter__()
        return self._finished()

    def __exit__(self, *raised: Any) -> None:
        for _, ticket in self._ahead:
            self._runner._cancel(ticket)
        self._bar.__exit__(*raised)

    def _finished(self) -> Iterator[tuple[int, Ticket]]:
        starts = iter(range(0, len(self._items), self._size))
        while True:
            for start in starts:
                portion = self._items[start : start + self._size]
                self._ahead.append((start, self._submit(portion)))
                if len(self._ahead) >= _PORTIONS_AHEAD:
                    break
            if not self._ahead:
                return
            start, ticket = self._ahead[0]
            self._runner._wait(ticket, self._stop)
            yield start, ticket
            self._ahead.popleft()
            self._advance(min(self._size, len(self._items) - start))


def _shown(task: str) -> str:
    return task.replace("_", "-")
