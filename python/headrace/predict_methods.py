"""What a Model does where it is a function or runs in another runtime."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from .errors import InternalError, InvalidArgumentError
from .running import PORTION, SIGNAL_CHECK_US, Admission, Priority, make_terms
from .usage import add_phase, add_usage

if TYPE_CHECKING:
    from ._core import Call, CompletionQueue
    from .loaded_model import Model
    from .predict.runner import Calls
    from .predict.work import Tensors, Work
    from .running import Runner

MISSING: Any = object()


class EnginePredictMethods:
    """The part of Engine that asks a model by its name."""

    @abstractmethod
    def model(self, name: str) -> Model: ...

    @abstractmethod
    async def amodel(self, name: str) -> Model: ...

    def predict(
        self, name: str, item: Any = MISSING, /, *, timeout: float | None = None, **tensors: Any
    ) -> Any:
        """`Model.predict` of the model of that name."""
        return self.model(name).predict(item, timeout=timeout, **tensors)

    async def apredict(
        self, name: str, item: Any = MISSING, /, *, timeout: float | None = None, **tensors: Any
    ) -> Any:
        """`Model.apredict` of the model of that name."""
        return await (await self.amodel(name)).apredict(item, timeout=timeout, **tensors)


class PredictMethods:
    """The part of Model that needs `_calls`."""

    _calls: Calls | None

    def predict(self, item: Any = MISSING, /, *, timeout: float | None = None, **tensors: Any) -> Any:
        """The answer of a model that is a function or runs in another runtime.

        Args:
            item: one item; of a model of tensors a dict of one item's arrays, without the batch's axis.
            timeout: seconds until it must have started.
            tensors: of a model of tensors instead, its inputs by name: arrays [n, ...].

        Returns: the answer to the item; of tensors a dict of arrays [n, ...], by the outputs' names.

        Raises:
            InvalidArgumentError: what is no input of this model: see `info.inputs`.
            InternalError: the function raised, whose exception is its `__cause__`, or its worker died (code
                "model_error", "worker_died" or "poisoned_request").
            DeadlineError: the timeout passed.

        >>> import headrace
        >>> @headrace.model(inputs={"x": "float32[2]"}, outputs={"sum": "float32"})
        ... def add(x):
        ...     return x.sum(axis=1)
        >>> with headrace.Engine() as engine:
        ...     model = engine.add("add", add)
        ...     model.predict(x=[[1, 2], [3, 4]])["sum"].tolist(), model.predict({"x": [1, 2]})["sum"].item()
        ([3.0, 7.0], 3.0)
        """
        work, is_one = self._work(item, tensors)
        self._wait_for(self._begin_call(work, timeout, "normal", "wait", None))
        return _answer(work, is_one)

    async def apredict(
        self,
        item: Any = MISSING,
        /,
        *,
        timeout: float | None = None,
        priority: Priority = "normal",
        admission: Admission = "wait",
        **tensors: Any,
    ) -> Any:
        """`predict` for asyncio: never blocks the event loop, and cancelling the task cancels the work.

        priority, admission: as in `aembed_result`.
        """
        work, is_one = self._work(item, tensors)
        await self._acall(work, timeout, priority, admission)
        return _answer(work, is_one)

    def predict_many(self, items: Iterable[Any], *, timeout: float | None = None) -> list[Any]:
        """The answers to many items, in order; long lists go in portions, a few of them ahead."""
        every = list(items)
        if not every:
            return []
        works: list[tuple[Work, Call]] = []
        answers: list[Any] = []
        try:
            for start in range(0, len(every), PORTION):
                work = self._many(every[start : start + PORTION])
                works.append((work, self._begin_call(work, timeout, "normal", "wait", None)))
                if len(works) > 3:
                    answers += self._answers(*works[0])
                    works.pop(0)
            while works:
                answers += self._answers(*works[0])
                works.pop(0)
        finally:
            for _, call in works:
                self._queue().cancel(call.id)
        return answers

    async def apredict_many(
        self,
        items: list[Any],
        *,
        timeout: float | None = None,
        priority: Priority = "normal",
        admission: Admission = "wait",
    ) -> list[Any]:
        """`predict_many` for asyncio, as one request."""
        work = self._many(items)
        await self._acall(work, timeout, priority, admission)
        return rows(work)

    def predict_stream(self, item: Any, *, timeout: float | None = None) -> Iterator[Any]:
        """The pieces of the answer of a function that yields, as they come. Leaving the loop ends the work.

        >>> import headrace
        >>> @headrace.model
        ... def spell(batch):
        ...     for letters in zip(*batch):
        ...         yield list(letters)
        >>> with headrace.Engine() as engine:
        ...     list(engine.add("spell", spell).predict_stream("mill"))
        ['m', 'i', 'l', 'l']
        """
        from collections import deque
        from select import POLLIN, poll

        from ._core import CompletionQueue

        pieces: deque[Any] = deque()
        news = CompletionQueue()  # hears of pieces, and of the end whatever it is
        watch = poll()
        watch.register(news, POLLIN)
        wanted = [True]

        def tell(found: list[Any]) -> bool:
            pieces.append(found[0])
            news.wake()
            return wanted[0]

        work = self._streamed(item, tell)
        call = self._begin_call(work, timeout, "normal", "wait", news)
        try:
            while True:
                ended = call.done  # before the pieces are looked at: none comes behind the end
                while pieces:
                    piece = pieces.popleft()
                    if piece is not None:
                        yield piece
                if ended:
                    break
                watch.poll()
                news.drain()
            raise_failure(work, call)
        finally:
            wanted[0] = False
            self._queue().cancel(call.id)

    async def apredict_stream(
        self,
        item: Any,
        *,
        timeout: float | None = None,
        priority: Priority = "normal",
        admission: Admission = "wait",
    ) -> AsyncIterator[Any]:
        """`predict_stream` for asyncio."""
        import asyncio

        from .completions import completions_of_running_loop

        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        end = object()
        wanted = [True]

        def tell(found: list[Any]) -> bool:
            loop.call_soon_threadsafe(pieces.put_nowait, found[0])
            return wanted[0]

        work = self._streamed(item, tell)
        completions = completions_of_running_loop()
        call = self._begin_call(work, timeout, priority, admission, completions.queue)
        if call.done:
            raise_failure(work, call)

        # The runner's last piece was handed to the loop before the call's end is.
        def on_end() -> None:
            loop.call_soon(pieces.put_nowait, end)

        completions.when_done(call, on_end)
        try:
            while (piece := await pieces.get()) is not end:
                if piece is not None:
                    yield piece
            raise_failure(work, call)
        finally:
            wanted[0] = False
            completions.forget(call)
            self._queue().cancel(call.id)

    def _work(self, item: Any, tensors: dict[str, Any]) -> tuple[Work, bool]:
        """The request for `predict`, and whether it is for one item."""
        signature = self._callable().signature
        if item is MISSING:
            if signature is None:
                raise InvalidArgumentError("predict: give an item; this model names no tensors")
            return self._tensor_work(tensors), False
        if tensors:
            raise InvalidArgumentError("predict: an item and tensors are given: give one of them")
        return self._many([item]), True

    def _many(self, items: list[Any]) -> Work:
        from .predict.work import Work

        signature = self._callable().signature
        if signature is None:
            if not items:
                raise InvalidArgumentError("the input is an empty list; give at least one item")
            return self._checked(Work(items, len(items)))
        for i, item in enumerate(items):
            if not isinstance(item, dict):
                raise InvalidArgumentError(
                    f"item {i} is of type {type(item).__name__}: must be a dict with this model's inputs, "
                    + ", ".join(f"{spec.name} ({spec})" for spec in signature.inputs)
                )
            if unlike := set(item) ^ set(items[0]):
                raise InvalidArgumentError(
                    f"item {i} and item 0 differ in {min(unlike)!r}: must have the same inputs"
                )
        return self._tensor_work({name: [item[name] for item in items] for name in items[0]})

    def _tensor_work(self, tensors: dict[str, Any]) -> Work:
        """A request of checked tensors. InvalidArgumentError for unfit ones."""
        from .predict.work import Work

        signature = self._callable().signature
        assert signature is not None
        checked, count = signature.read(tensors)
        return self._checked(Work(checked, count, pads=signature.pads))

    def _checked(self, work: Work) -> Work:
        self._callable().quarantine.check(work.values)
        return work

    def _streamed(self, item: Any, tell: Any) -> Work:
        from .predict.work import Work

        calls = self._callable()
        if not calls.streams:
            raise InvalidArgumentError(f"the model {calls.name!r} does not stream: call predict")
        return self._checked(Work([item], 1, tell))

    def _callable(self) -> Calls:
        cast("Runner", self)._check_task("predict")
        assert self._calls is not None
        return self._calls

    def _queue(self) -> Any:
        return self._callable().queue

    def _begin_call(
        self,
        work: Work,
        timeout: float | None,
        priority: Priority,
        admission: Admission,
        queue: CompletionQueue | None,
    ) -> Call:
        terms = make_terms(timeout, priority, admission, queue)
        found: Call = self._queue().submit(
            work.count, work, terms.priority, terms.wait, terms.timeout_us, terms.queue
        )
        return found

    def _wait_for(self, call: Call) -> None:
        try:
            while not self._queue().wait(call, SIGNAL_CHECK_US):
                pass
        except BaseException:  # Ctrl-C: what nobody waits for must not run
            self._queue().cancel(call.id)
            raise
        raise_failure(call.payload, call)

    def _answers(self, work: Work, call: Call) -> list[Any]:
        self._wait_for(call)
        return rows(work)

    async def _acall(
        self, work: Work, timeout: float | None, priority: Priority, admission: Admission
    ) -> None:
        from .completions import completions_of_running_loop

        completions = completions_of_running_loop()
        begin = time.perf_counter()
        call = self._begin_call(work, timeout, priority, admission, completions.queue)
        try:
            await completions.wait(call)
        except BaseException:
            self._queue().cancel(call.id)
            raise
        add_usage(work.count)
        add_phase("model", begin)
        raise_failure(work, call)


def raise_failure(work: Work, call: Call) -> None:
    """What a finished call failed with, if it did."""
    if call.error is not None:
        raise call.error from work.error


def _answer(work: Work, is_one: bool) -> Any:
    if not isinstance(work.values, dict):
        return _one_of(work.items()[0])
    found = work.tensors()
    return {name: array[0] for name, array in found.items()} if is_one else found


def rows(work: Work) -> list[Any]:
    """One answer for each item."""
    if not isinstance(work.values, dict):
        return [_one_of(result) for result in work.items()]
    tensors: Tensors = work.tensors()
    return [{name: array[i] for name, array in tensors.items()} for i in range(work.count)]


def _one_of(result: Any) -> Any:
    """A result; raises one that is an exception."""
    from .errors import Error

    if isinstance(result, Error):
        raise result
    if isinstance(result, Exception):
        error = InternalError(f"the model answered with {type(result).__name__}")
        error.code = "model_error"
        raise error from result
    return result
