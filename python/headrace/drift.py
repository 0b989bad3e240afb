"""Whether a model is asked and answers as it used to: input lengths and outputs, as histograms, beside a reference.

The reference is what came first: the model's golden inputs, or its first requests. What comes now is a sliding window
over the latest ones. Both are compared by the population stability index, the sum over the bins of
(p - q) ln(p / q), which is the symmetric Kullback-Leibler divergence (Jeffreys 1946). By the usual reading below 0.1
nothing has changed, and above 0.25 much has. Of texts and vectors nothing is kept but the counts of at most 12 bins.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from . import _core
    from .loaded_model import Model
    from .manifest import Manifest

ALERT = 0.25  # that deploy/prometheus/alerts.yml and the console warn of
FEWEST = 200  # values of now that say anything: by chance alone the index is then about 0.07
_NUMBER_BINS = (
    10  # with as many values of the reference in each; two more hold what is below and above them all
)
_LABELS = 10  # the most frequent of the reference; the others are one bin
# Seconds between two requests that are looked at, once there is a reference. A look takes 0.1 ms with cold caches, so
# it is 0.2 % of one processor at most.
_PAUSE = 0.05
_MOST_SEQUENCES = 256  # of a request
_MOST_NUMBERS = 100_000  # of its outputs: about 0.1 ms


@dataclass(frozen=True)
class DriftOptions:
    """[drift] in headrace.toml.

    reference: "traffic", the first `texts` that the model answers, or "golden", the inputs of the gate's golden file.
    window: how many of the latest texts are compared with it; 0 looks at none.
    """

    reference: Literal["traffic", "golden"] = "traffic"
    texts: int = 1000
    window: int = 1000

    def __post_init__(self) -> None:
        if self.reference not in ("traffic", "golden"):
            raise InvalidArgumentError(f"reference={self.reference!r}: must be 'traffic' or 'golden'")
        if not 100 <= self.texts <= 100_000:
            raise InvalidArgumentError(f"texts={self.texts}: must be between 100 and 100000")
        if self.window != 0 and not FEWEST <= self.window <= 100_000:
            raise InvalidArgumentError(
                f"window={self.window}: must be between {FEWEST} and 100000, or 0 to look at none"
            )


class Histogram:
    """One number or label a text: the first `wanted` make the reference, the latest `window` are compared with it.

    >>> from headrace.drift import Histogram
    >>> lengths = Histogram(wanted=1000, window=500)
    >>> lengths.add(i % 40 for i in range(1500))
    >>> same = lengths.index
    >>> lengths.add(20 + i % 40 for i in range(500))
    >>> same < 0.1 < 0.25 < lengths.index
    True
    """

    def __init__(self, wanted: int, window: int, *, is_label: bool = False) -> None:
        self._wanted = wanted
        self._is_label = is_label
        self._first: list[float] = []  # until the reference is whole
        self._edges: list[float] = []
        self._places: dict[float, int] = {}
        self._reference: list[int] = []
        self._now: list[int] = []
        self._window: deque[int] = deque(maxlen=window)

    def add(self, values: Iterable[float]) -> None:
        for value in values:
            if not self._reference:
                self._learn(value)
                continue
            place = self._place(value)
            if len(self._window) == self._window.maxlen:
                self._now[self._window[0]] -= 1  # pushed out by the next line
            self._window.append(place)
            self._now[place] += 1

    @property
    def learned(self) -> int:
        """Values in the reference."""
        return sum(self._reference) or len(self._first)

    @property
    def seen(self) -> int:
        """Values in the window."""
        return len(self._window)

    @property
    def index(self) -> float | None:
        """The population stability index; None while there is no reference or too little beside it."""
        if self.seen < FEWEST:
            return None
        bins = len(self._now)
        total = 0.0
        for before, now in zip(self._reference, self._now, strict=True):
            # Half a value more in each bin: an empty one is not infinitely far from any other.
            p = (before + 0.5) / (self.learned + 0.5 * bins)
            q = (now + 0.5) / (self.seen + 0.5 * bins)
            total += (p - q) * math.log(p / q)
        return total

    def _learn(self, value: float) -> None:
        if not math.isfinite(value):
            return
        self._first.append(value)
        if len(self._first) < self._wanted:
            return
        if self._is_label:
            frequent = [label for label, _ in Counter(self._first).most_common(_LABELS)]
            self._places = {label: place for place, label in enumerate(frequent)}
            bins = len(frequent) + 1
        else:
            rows = sorted(self._first)
            last = len(rows) - 1
            cuts = [rows[last * i // _NUMBER_BINS] for i in range(_NUMBER_BINS + 1)]
            below = math.nextafter(cuts[0], -math.inf)  # the smallest itself is not below
            self._edges = sorted({below, *cuts})
            bins = len(self._edges) + 1
        counts = Counter(map(self._place, self._first))
        self._reference = [counts[i] for i in range(bins)]
        self._now = [0] * bins
        self._first = []

    def _place(self, value: float) -> int:
        if self._is_label:
            return self._places.get(value, len(self._places))
        return bisect_left(self._edges, value)


class Drift:
    """What is looked at of one model's requests. Thread-safe: of two that end at once one may be left out."""

    def __init__(self, task: str, labels: tuple[str, ...], texts: int, window: int) -> None:
        self._task = task
        self._outside = labels.index("O") if "O" in labels else -1
        is_embed = task == "embed"
        # Vectors are compared with the mean of the reference's first half, by which its second half is judged too.
        self._mean_wanted = texts // 2 if is_embed else 0
        self._mean_count = 0
        self._sum: Any = 0.0
        self.lengths = Histogram(texts, window)
        self.outputs = Histogram(texts - self._mean_wanted, window, is_label=task == "classify")
        self._lock = threading.Lock()
        self._next = 0.0

    @property
    def is_learning(self) -> bool:
        return self.lengths.seen == 0

    def ended(self, request: _core.Ticket | _core.Stream) -> None:
        """A request is finished, well or not."""
        now = time.monotonic()
        if now < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            if not self.is_learning:
                self._next = now + _PAUSE
            if self._task == "generate":
                stream: Any = request
                if stream.generated_tokens > 0:
                    self.lengths.add([stream.prompt_tokens])
                    self.outputs.add([stream.generated_tokens])
                return
            ticket: Any = request
            if ticket.error is None:
                self.lengths.add(ticket.lengths(_MOST_SEQUENCES))
                self._add_outputs(ticket)
        finally:
            self._lock.release()

    def _add_outputs(self, ticket: _core.Ticket) -> None:
        if self._task not in ("embed", "classify", "rerank", "tag"):
            return
        vectors = ticket.vectors()
        most = max(1, _MOST_NUMBERS // max(1, vectors.shape[1]))
        if self._task == "tag":
            self.outputs.add(self._entity_tokens(vectors, ticket.row_starts, most))
            return
        vectors = vectors[: min(most, _MOST_SEQUENCES)]
        if self._task == "embed":
            self._add_vectors(vectors)
        elif self._task == "classify":
            self.outputs.add(vectors.argmax(axis=1).tolist())
        else:
            self.outputs.add(vectors[:, 0].tolist())

    def _entity_tokens(self, rows: NDArray[np.float32], starts: list[int], most: int) -> list[float]:
        """For each sequence how many of its tokens are marked as something."""
        import numpy as np

        count = max(1, bisect_left(starts, most + 1) - 1)
        marked = rows[: starts[count]].argmax(axis=1) != self._outside
        found: list[float] = np.add.reduceat(marked, starts[:count], dtype=np.int64).tolist()
        return found

    def _add_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Their cosines with the mean of those that came first."""
        import numpy as np

        room = self._mean_wanted - self._mean_count
        if room > 0:
            first, vectors = vectors[:room], vectors[room:]
            self._sum = self._sum + first.sum(axis=0, dtype=np.float64)
            self._mean_count += len(first)
            if self._mean_count < self._mean_wanted:
                return
            self._sum = (self._sum / max(1e-12, float(np.linalg.norm(self._sum)))).astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        self.outputs.add((vectors @ self._sum / np.maximum(lengths, np.float32(1e-12))).tolist())

    def stats(self) -> dict[str, Any]:
        """`input_tokens` and `output` are indices, None until they say something; the others count texts."""
        return {
            "input_tokens": self.lengths.index,
            "output": self.outputs.index,
            "reference": self.lengths.learned,
            "window": self.lengths.seen,
        }


def check_and_watch(model: Model, manifest: Manifest, known: dict[tuple[str, str], Drift]) -> None:
    """Lets the model pass its gate, and looks at what it is asked from then on.

    known: those of models loaded before, by name and path: one that comes back into memory goes on where it was.

    Raises what golden.check raises; InvalidArgumentError where the reference is to be golden inputs and these are none
    or too few.
    """
    from . import golden

    options, gate = manifest.drift, manifest.gate
    drift = None
    if options.window > 0 and model._calls is None:
        texts = options.texts
        if options.reference == "golden":
            texts = 0 if gate is None else golden.count(gate)
            if texts < 100 or model.info.task == "generate":
                raise InvalidArgumentError(
                    f"drift.reference = 'golden' with {texts} golden inputs of a model for {model.info.task}: it takes "
                    "at least 100, in the file of gate.golden, and no texts to be written (golden ones are cut "
                    "short); use 'traffic'"
                )
        info = model.info
        drift = known.setdefault((info.name, info.path), Drift(info.task, info.labels, texts, options.window))
        if options.reference == "golden" and drift.lengths.learned == 0:
            model._drift = drift
    if gate is not None:
        golden.check(model, gate)
    model._drift = drift
