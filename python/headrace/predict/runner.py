"""Takes batches from the core's queue, has a target run them, and ends their requests.

A batch that fails is run again request by request, so that the fault of one is not that of its company. What a worker
dies of is found the same way; it is then refused (`Quarantine`).
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import errors
from ..errors import Error, InternalError
from . import wire
from .function import BatchOptions
from .signature import WrongAnswerError
from .target import RemoteError, Target, WorkerDiedError
from .work import Tensors, Values, Work, joined

if TYPE_CHECKING:
    from .._core import CallBatch, CallQueue
    from .signature import Signature

_log = logging.getLogger("headrace.predict")
_DEATHS = 2  # of workers, until what they ran is blamed
_KINDS = {
    errors.InvalidArgumentError: "invalid_argument",
    errors.ModelNotFoundError: "not_found",
    errors.CorruptFileError: "corrupt_file",
    errors.UnsupportedError: "unsupported",
    errors.OverloadedError: "overloaded",
    errors.DeadlineError: "deadline",
    errors.CancelledError: "cancelled",
    errors.InternalError: "internal",
}


class _Part(NamedTuple):
    """Neighbouring items of one request, in a batch."""

    work: Work
    start: int
    stop: int

    @property
    def values(self) -> Values:
        return self.work.part(self.start, self.stop)

    @property
    def size(self) -> int:
        return self.stop - self.start


class _Failure(NamedTuple):
    kind: str
    message: str
    code: str


class Quarantine:
    """Requests that workers died of, by a digest of what they hold; the latest ones, as many as there is room for."""

    _ROOM = 1024

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, values: Any) -> None:
        self._found[_digest(values)] = None
        while len(self._found) > self._ROOM:
            self._found.popitem(last=False)

    def check(self, values: Any) -> None:
        """InternalError for one of them."""
        if self._found and _digest(values) in self._found:
            error = InternalError(
                "this request is refused: workers died of one like it. Have the model's owner look at it"
            )
            error.code = "poisoned_request"
            raise error


def _digest(values: Any) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in wire.encode(values, mark=b"digest"):
        found.update(part)
    return found.digest()


class Calls:
    """A model outside the core: its queue, and threads that run it, one for each target."""

    def __init__(
        self,
        name: str,
        targets: Sequence[Target],
        options: BatchOptions,
        *,
        queue_budget: float,
        signature: Signature | None = None,
        streams: bool = False,
    ) -> None:
        from .._core import CallQueue

        self.name = name
        self.signature = signature
        self.streams = streams
        self.quarantine = Quarantine()
        self.queue: CallQueue = CallQueue(
            max_batch=options.max_batch,
            max_wait_us=int(options.max_wait * 1e6),
            queue_budget_us=int(queue_budget * 1e6),
        )
        self._targets = list(dict.fromkeys(targets))
        self._threads = [
            threading.Thread(
                target=_run, args=(self.queue, self.name, self.quarantine, target, signature), daemon=True,
                name=f"headrace-{name}",
            )
            for target in targets
        ]  # fmt: skip
        for thread in self._threads:
            _running[thread] = self.queue
            thread.start()

    def close(self, drain: bool = False, timeout: float = 3600.0) -> None:
        """Refuses more, finishes what is queued (or, without drain, fails it) and ends what runs it."""
        self.queue.close(drain, int(timeout * 1e6))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for target in self._targets:
            target.close()
        self._targets = []

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.queue.metrics()
        return found


# Threads outlive a Calls that was forgotten rather than closed.
_running: dict[threading.Thread, CallQueue] = {}


@atexit.register
def _end_threads() -> None:
    """A thread that comes out of C++ once the interpreter is gone ends the process with SIGABRT."""
    left = list(_running.items())
    for _, queue in left:
        queue.close(False, 0)
    for thread, _ in left:
        thread.join(timeout=2)


def _run(
    queue: CallQueue, name: str, quarantine: Quarantine, target: Target, signature: Signature | None
) -> None:
    runner = Runner(queue, name, quarantine, target, signature)
    while not queue.closed:
        batch = queue.next(1_000_000)
        if batch is not None:
            runner.run(batch)
            del batch  # and with it what its requests hold
    _running.pop(threading.current_thread(), None)


class Runner:
    """One thread's."""

    def __init__(
        self,
        queue: CallQueue,
        name: str,
        quarantine: Quarantine,
        target: Target,
        signature: Signature | None,
    ) -> None:
        self._queue = queue
        self._name = name
        self._quarantine = quarantine
        self._target = target
        self._signature = signature
        self._pads = {} if signature is None else signature.pads
        self._cuts = {} if signature is None else signature.cuts

    def run(self, batch: CallBatch) -> None:
        parts = [_Part(*part) for part in batch.parts]
        groups: dict[object, list[int]] = {}
        for i, part in enumerate(parts):
            groups.setdefault(part.work.shape, []).append(i)
        failures: dict[int, _Failure] = {}
        try:
            for places in groups.values():
                self._run_group(parts, places, failures)
        except BaseException as error:  # a fault of ours must not leave anyone waiting
            _log.exception("the batch of %r could not be run", self._name)
            failures = {i: self._failure(error) for i in range(len(parts))}
        self._queue.finish(batch, [(i, *failure) for i, failure in failures.items()])

    def _run_group(self, parts: list[_Part], places: list[int], failures: dict[int, _Failure]) -> None:
        chosen = [parts[i] for i in places]
        emitted = _Emitted(chosen)
        try:
            self._run_parts(chosen, emitted)
            return
        except WorkerDiedError as death:
            left = self._blame(chosen, places, death, failures)
        except Exception as error:
            if len(places) == 1 or emitted.anything:
                for i in places:
                    parts[i].work.error = error
                    failures[i] = self._failure(error)
                return
            left = places
        if emitted.anything:  # what was sent cannot be taken back
            failures |= {
                i: _Failure("internal", "the model's worker died; send it again", "worker_died") for i in left
            }
            return
        for i in left:
            self._run_group(parts, [i], failures)

    def _blame(
        self, chosen: list[_Part], places: list[int], death: WorkerDiedError, failures: dict[int, _Failure]
    ) -> list[int]:
        """Those that may be tried again: a worker has died of none of them often enough."""
        _log.error("a worker of %r died: %s", self._name, death.reason)
        left = []
        for part, i in zip(chosen, places, strict=True):
            part.work.deaths += death.blame
            if part.work.deaths < _DEATHS:
                left.append(i)
                continue
            self._quarantine.add(part.work.values)
            message = f"the model's workers died of this request ({death.reason}); it is not tried again"
            failures[i] = _Failure("internal", message, "poisoned_request")
        return left

    def _run_parts(self, parts: list[_Part], emitted: _Emitted) -> None:
        values = joined([part.values for part in parts], self._pads)
        results = self._target.run(values, emitted)
        count = sum(part.size for part in parts)
        if emitted.collected is not None:
            results = emitted.collected
        elif isinstance(values, dict):
            assert self._signature is not None
            results = self._signature.answer(results, count)
        elif not isinstance(results, (list, tuple)) or len(results) != count:
            gave = f"{len(results)} of them" if isinstance(results, (list, tuple)) else type(results).__name__
            raise WrongAnswerError(
                f"it was given {count} items and gave {gave}: it must give a list with one for each"
            )
        at = 0
        for part in parts:
            end = at + part.size
            if isinstance(results, dict):
                part.work.put(part.start, self._own(part, {n: array[at:end] for n, array in results.items()}))
            else:
                part.work.put(part.start, results[at:end])
            at = end

    def _own(self, part: _Part, results: Tensors) -> Tensors:
        """Without what belongs to the padding of a longer request beside it."""
        inputs = part.work.values
        assert isinstance(inputs, dict)
        for name, of in self._cuts.items():
            own = inputs[of].shape[1]
            if results[name].ndim > 1 and results[name].shape[1] > own:
                results[name] = results[name][:, :own]
        return results

    def _failure(self, error: BaseException) -> _Failure:
        if isinstance(error, Error):
            return _Failure(_KINDS.get(type(error), "internal"), str(error), error.code or "")
        # Its message may quote what a user sent, so the log has where it was and the caller what kind it is.
        places = "".join(traceback.format_tb(error.__traceback__)[-8:])
        kind = type(error).__name__
        if isinstance(error, RemoteError):
            kind, places = error.kind, error.places
        _log.error("the model %r raised %s\n%s", self._name, kind, places.rstrip())
        reason = f": {error}" if isinstance(error, WrongAnswerError) else ""
        return _Failure("internal", f"the model {self._name!r} raised {kind}{reason}", "model_error")


class _Emitted:
    """The pieces of a batch that streams, on their way to its requests."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self.anything = False
        self.collected: list[list[Any]] | None = None

    def __call__(self, pieces: list[Any]) -> bool:
        count = sum(part.size for part in self._parts)
        if not isinstance(pieces, (list, tuple)) or len(pieces) != count:
            raise WrongAnswerError(f"it gave something else than a list of {count} pieces, one for each item")
        if self.collected is None:
            self.collected = [[] for _ in range(count)]
        for piece, all_pieces in zip(pieces, self.collected, strict=True):
            if piece is not None:
                all_pieces.append(piece)
        at, is_wanted = 0, False
        for part in self._parts:
            tell: Callable[[list[Any]], bool] | None = part.work.on_pieces
            if tell is None:
                is_wanted = True
            elif tell(list(pieces[at : at + part.size])):
                is_wanted = self.anything = True
            at += part.size
        return is_wanted
