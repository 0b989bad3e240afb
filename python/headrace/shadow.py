"""Shadow traffic: a candidate answers copies of what a model was asked, and its answers are only compared.

A copy is made when the model's own request is finished, so neither waits for the other: a thread runs the copies one
after another, at batch priority, and what it cannot keep up with is dropped and counted. Every protocol is mirrored,
because the copy is taken where a Model hands work to the core.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import Error, InvalidArgumentError, OverloadedError
from .running import make_terms

if TYPE_CHECKING:
    from .generation import Sampling, Terms
    from .loaded_model import Model
    from .tasks.job import Job

_MOST_PENDING = 1024  # requests under way whose copy is to be made
_MOST_WAITING = 64  # copies that wait for the candidate
COPY_SECONDS = 60.0  # that a copy may wait for its first batch
SAME_COSINE = 0.99  # of two vectors that count as agreeing


class Outcome(NamedTuple):
    """Of one comparison: answers compared, those that agree, and the cosines where they are vectors."""

    compared: int
    agreed: int
    cosines: Sequence[float] = ()


@dataclass(frozen=True)
class Copy:
    """A request to be made again: `run` lets a model answer it, `compare` looks at both finished requests."""

    model: Model
    run: Callable[[Model], Any]
    compare: Callable[[Model, Any, Model, Any], Outcome]


@dataclass
class ShadowStats:
    """Counts since the shadow began. Answers are texts for embed, classify and tag, documents for rerank; texts that
    are written are timed and not compared. `served_seconds` and `shadow_seconds` are sums over the `copies`."""

    copies: int = 0
    compared: int = 0
    agreed: int = 0
    dropped: int = 0
    failed: int = 0
    cosines: int = 0
    cosine_sum: float = 0.0
    min_cosine: float | None = None
    served_seconds: float = 0.0
    shadow_seconds: float = 0.0

    @property
    def mean_cosine(self) -> float | None:
        return self.cosine_sum / self.cosines if self.cosines else None

    @property
    def agreement(self) -> float | None:
        """The share of the compared answers that agree."""
        return self.agreed / self.compared if self.compared else None


@dataclass(frozen=True)
class PromotionGate:
    """What a shadow must have shown before it takes the place of the model: at least so many answers compared, and of
    these so many agreeing, and of vectors a mean cosine."""

    min_compared: int = 0
    min_agreement: float = 0.0
    min_cosine: float = -1.0

    def check(self, name: str, stats: ShadowStats) -> None:
        """InvalidArgumentError, of the code "gate_refused", which says what is missing."""
        missing = []
        if stats.compared < self.min_compared:
            missing.append(f"{stats.compared} answers were compared, and {self.min_compared} must be")
        if self.min_agreement > 0 and not (stats.agreement or 0.0) >= self.min_agreement:
            missing.append(f"{stats.agreement or 0.0:.2%} of them agree, and {self.min_agreement:.2%} must")
        if self.min_cosine > -1 and not (stats.mean_cosine or -1.0) >= self.min_cosine:
            missing.append(
                f"the mean cosine is {stats.mean_cosine or 0.0:.6f}, and must be {self.min_cosine:g}"
            )
        if missing:
            error = InvalidArgumentError(f"the shadow of {name!r} is not promoted: {'; '.join(missing)}")
            error.code = "gate_refused"
            raise error


@dataclass
class _Pending:
    copy: Copy
    begin: float


@dataclass
class Shadow:
    """The copies for one candidate. Thread-safe; nothing here waits but its own thread."""

    candidate: Model
    share: float
    stats: ShadowStats = field(default_factory=ShadowStats)

    def __post_init__(self) -> None:
        self._is_closed = False
        self._lock = threading.Lock()
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._waiting: queue.Queue[tuple[Copy, Any, float] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="headrace-shadow", daemon=True)
        self._thread.start()

    @property
    def wants_one(self) -> bool:
        """Whether the next request is among the share."""
        return not self._is_closed and random.random() < self.share

    def offer(self, request: Any, copy: Copy) -> None:
        """A request has begun that is to be copied; `request` is its ticket or stream."""
        with self._lock:
            if len(self._pending) >= _MOST_PENDING:  # such as of clients that left
                self._pending.popitem(last=False)
                self.stats.dropped += 1
            self._pending[request.id] = _Pending(copy, time.perf_counter())

    def ended(self, request: Any) -> None:
        """It is finished: its copy may run."""
        with self._lock:
            pending = self._pending.pop(request.id, None)
            if pending is None:
                return
            if self._waiting.qsize() >= _MOST_WAITING:
                self.stats.dropped += 1
                return
        self._waiting.put((pending.copy, request, time.perf_counter() - pending.begin))

    def forget(self, request: Any) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._pending.pop(request.id, None)

    def close(self) -> None:
        """No further copies are run."""
        self._is_closed = True
        self._waiting.put(None)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None and not self._is_closed:
            copy, request, served = item
            try:
                begin = time.perf_counter()
                answer = copy.run(self.candidate)
                seconds = time.perf_counter() - begin
                outcome = copy.compare(copy.model, request, self.candidate, answer)
            except OverloadedError:
                with self._lock:
                    self.stats.dropped += 1
            except (Error, ValueError):
                with self._lock:
                    self.stats.failed += 1
            else:
                self._count(outcome, served, seconds)
            # Until the next one comes nothing of it is to be held: who holds a model keeps it in memory.
            del item, copy, request
            answer = None
        self._pending.clear()
        del self.candidate  # it may be on its way out

    def _count(self, outcome: Outcome, served: float, seconds: float) -> None:
        with self._lock:
            stats = self.stats
            stats.copies += 1
            stats.compared += outcome.compared
            stats.agreed += outcome.agreed
            stats.served_seconds += served
            stats.shadow_seconds += seconds
            if outcome.cosines:
                lowest = min(outcome.cosines)
                stats.cosines += len(outcome.cosines)
                stats.cosine_sum += sum(outcome.cosines)
                stats.min_cosine = lowest if stats.min_cosine is None else min(stats.min_cosine, lowest)


def compare_vectors(one: Model, first: Any, other: Model, second: Any) -> Outcome:
    """By the cosine of each pair. ValueError for vectors of different lengths."""
    import numpy as np

    a, b = first.vectors(), second.vectors()
    if a.shape != b.shape:
        raise ValueError("the candidate's vectors have another length")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = ((a * b).sum(axis=1) / np.maximum(lengths, 1e-12)).tolist()
    return Outcome(len(cosines), sum(cosine >= SAME_COSINE for cosine in cosines), cosines)


def compare_answers(task: str, given: Sequence[Any], other: Sequence[Any]) -> Outcome:
    """Of any other task, by what a client would act upon: the first label, the entities' places, the order."""
    if task == "rerank":
        ranks = [sorted(range(len(scores)), key=scores.__getitem__) for scores in (given, other)]
        return Outcome(len(given), sum(a == b for a, b in zip(*ranks, strict=True)))
    pairs = zip(given, other, strict=True)
    return Outcome(len(given), sum(_shown(task, one) == _shown(task, two) for one, two in pairs))


def _shown(task: str, result: Any) -> Any:
    if task == "classify":
        return result[0].label
    if task == "tag":
        return [(entity.label, entity.start, entity.end) for entity in result]
    if task == "answer":
        return result.text
    return [place[0].id for place in result]  # fill_mask


def copy_of_texts(model: Model, items: Any, truncate: bool, prompt: str) -> Copy:
    """Texts or token ids to be embedded."""

    def run(other: Model) -> Any:
        ticket = other._submit(items, truncate, COPY_SECONDS, "batch", "refuse", None, prompt)
        other._wait(ticket)
        return ticket

    return Copy(model, run, compare_vectors)


def copy_of_job(model: Model, job: Job[Any], items: Sequence[Any]) -> Copy:
    """Any other task."""

    def run(other: Model) -> Any:
        ticket = job.submit(other, items, make_terms(COPY_SECONDS, "batch", "refuse", None))
        other._wait(ticket)
        return ticket

    def compare(one: Model, first: Any, other: Model, second: Any) -> Outcome:
        return compare_answers(job.task, job.read(one, items, first), job.read(other, items, second))

    return Copy(model, run, compare)


def copy_of_prompt(model: Model, ids: Any, sampling: Sampling, terms: Terms) -> Copy:
    """A text to be written: words are drawn by chance, so only the time is told."""

    def run(other: Model) -> Any:
        own_terms = replace(terms, timeout=COPY_SECONDS, priority="batch")
        for _ in other._pieces(other._begin(ids, sampling, own_terms)):
            pass

    return Copy(model, run, lambda *_: Outcome(0, 0))
