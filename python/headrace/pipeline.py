"""Pipelines: a few steps of served models, one feeding the next, as a folder with headrace.toml says.

[[pipeline]]                        # what answers a query, best first
step = "retrieve"
model = "e5-small"                  # embeds the query
documents = "documents.jsonl"       # a JSON string or {"text": ...} a line; of a .txt each line is one
vectors = "documents.npy"           # float32 [documents, dimensions], such as `model.embed` gave
top_k = 50
[[pipeline]]
step = "rerank"
model = "reranker"
top_n = 5

classify, then route: routes = {LABEL = MODEL, ...}, default = MODEL; tag, then mask: labels = ["PER"]. Each step takes
what the one before it gives; docs/operations.md lists them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import CorruptFileError, DeadlineError, InvalidArgumentError, ModelNotFoundError
from .manifest import NAME
from .running import Admission, Priority
from .settings import read_toml

if TYPE_CHECKING:
    from .loaded_model import Model, ModelInfo
    from .pipeline_steps import Step
    from .pipelines import Pipelines

T = TypeVar("T")
MAX_STEPS = 8


async def as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class RunTerms:
    """On what terms the models of a pipeline run: as Model's methods have it; `written` is what a text that a model
    wrote goes through."""

    priority: Priority = "normal"
    admission: Admission = "wait"
    tenant: str = ""
    written: Callable[[str], Awaitable[str]] = as_it_is


@dataclass(frozen=True)
class StepResult:
    """What a step gave, by which model, and the time it took."""

    step: str
    model: str | None
    output: Any
    seconds: float


@dataclass(frozen=True)
class PipelineResult:
    """`output` is that of the last of the `steps`: a list of `Ranked`, a `Label`, a list of `Entity`, a text, or a
    `Routed`."""

    output: Any
    steps: tuple[StepResult, ...] = field(repr=False)


@dataclass
class Run:
    """One text on its way through the steps."""

    engine: Pipelines
    text: str  # as the steps so far have left it
    terms: RunTerms
    end: float | None
    value: Any = None  # what the step before gave
    model: str | None = None  # what the step under way asked

    async def ask(self, name: str) -> Model:
        self.model = name
        return await self.engine.amodel(name)

    @property
    def timeout(self) -> float | None:
        """Seconds that are left. DeadlineError when none are."""
        if self.end is None:
            return None
        left = self.end - time.monotonic()
        if left <= 0:
            raise DeadlineError("the pipeline's time was over between two of its steps")
        return left

    @property
    def request(self) -> dict[str, Any]:
        """For Model's methods that take a request as a server makes it."""
        return {
            "timeout": self.timeout,
            "priority": self.terms.priority,
            "admission": self.terms.admission,
        }


class Pipeline:
    """Served models one behind the other. Made by `Engine.add_pipeline`; may be run by any number of threads and tasks.

    `info` describes it as a model of the task "pipeline".
    """

    def __init__(
        self, engine: Pipelines, name: str, folder: Path, steps: list[Step], info: ModelInfo
    ) -> None:
        self._engine = engine
        self.name = name
        self.folder = folder
        self.steps = steps
        self.info = info
        self.requests = self.failed = 0
        self.seconds = 0.0
        self.memory_key = ""  # of its documents and vectors
        self._lock = threading.Lock()

    @property
    def models(self) -> list[str]:
        """The models that its steps name, and pipelines that it routes to."""
        return list(dict.fromkeys(model for step in self.steps for model in step.models))

    @property
    def most_tokens(self) -> int | None:
        """Tokens that a step may write at most; None where none writes."""
        found = [step.max_tokens for step in self.steps if step.max_tokens is not None]
        return max(found, default=None)

    async def arun(
        self, text: str, *, timeout: float | None = None, terms: RunTerms | None = None
    ) -> PipelineResult:
        """Runs the steps on a text.

        Args:
            timeout: seconds in all; each step has what those before it have left.

        Raises what the models' own methods raise, DeadlineError, and ModelNotFoundError for a model that is no longer
        served.
        """
        if not isinstance(text, str) or not text:
            raise InvalidArgumentError("input: a pipeline needs a text of at least one character")
        if timeout is not None and not timeout > 0:
            raise InvalidArgumentError(f"timeout={timeout}: must be positive seconds, or None")
        begin = time.perf_counter()
        end = None if timeout is None else time.monotonic() + timeout
        run = Run(self._engine, text, terms or RunTerms(), end)
        is_good = False
        try:
            done = [await self._step(step, run) for step in self.steps]
            is_good = True
        finally:
            with self._lock:
                self.requests += is_good
                self.failed += not is_good
                self.seconds += time.perf_counter() - begin
        return PipelineResult(done[-1].output, tuple(done))

    async def _step(self, step: Step, run: Run) -> StepResult:
        begin = time.perf_counter()
        run.model = None
        try:
            run.value = await step.run(run)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"pipeline {self.name!r}, step {step.kind!r}: {error}") from None
        return StepResult(step.kind, run.model, run.value, time.perf_counter() - begin)

    def run(self, text: str, *, timeout: float | None = None) -> PipelineResult:
        """`arun`, blocking."""
        found: PipelineResult = _in_loop(lambda: self.arun(text, timeout=timeout))
        return found

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, {' -> '.join(step.kind for step in self.steps)})"


def _in_loop(make: Callable[[], Any]) -> Any:
    """Runs a coroutine in a thread of its own: the caller's may have an event loop that runs."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(asyncio.run(make()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="headrace-pipeline", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def read_steps(folder: Path) -> list[Step]:
    """The steps of a folder's headrace.toml, with the files that they name. CorruptFileError, which says what is wrong
    in which step."""
    from .pipeline_steps import KINDS

    path = folder / NAME
    try:
        given = read_toml(path)
    except InvalidArgumentError as error:
        raise CorruptFileError(str(error)) from None
    if unknown := set(given) - {"pipeline"}:
        raise CorruptFileError(f"{path}: {min(unknown)!r} is not known beside [[pipeline]]")
    rows = given.get("pipeline")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_STEPS:
        raise CorruptFileError(f"{path}: must have 1 to {MAX_STEPS} steps, each under [[pipeline]]")
    steps: list[Step] = []
    gives = "text"
    for number, row in enumerate(rows, 1):
        where = f"{path}: step {number}"
        kind = row.get("step") if isinstance(row, dict) else None
        made = KINDS.get(kind) if isinstance(kind, str) else None
        if made is None:
            raise CorruptFileError(f"{where}: step={kind!r}: must be one of {', '.join(KINDS)}")
        if made.takes != gives:
            raise CorruptFileError(
                f"{where}: {kind} takes {made.takes}, and what stands before it gives {gives}"
            )
        steps.append(made.read(where, folder, {name: value for name, value in row.items() if name != "step"}))
        gives = made.gives
    return steps


def names_in(folder: Path) -> list[str]:
    """What the steps of a folder's headrace.toml name, as far as that can be read without the files beside it."""
    try:
        rows = read_toml(folder / NAME)["pipeline"]
        found = [[row.get("model"), row.get("default"), *row.get("routes", {}).values()] for row in rows]
    except (InvalidArgumentError, KeyError, TypeError, AttributeError):
        return []  # told when it is loaded
    return [name for names in found for name in names if isinstance(name, str)]


def check_models(name: str, steps: list[Step], task_of: Callable[[str], str]) -> None:
    """That each step's models are served and can do what is asked of them.

    `task_of` tells a model's task, and raises ModelNotFoundError. InvalidArgumentError for another task than a step's.
    """
    for number, step in enumerate(steps, 1):
        for model in step.models:
            try:
                task = task_of(model)
            except ModelNotFoundError as error:
                raise ModelNotFoundError(f"pipeline {name!r}, step {number} ({step.kind}): {error}") from None
            if task not in step.tasks:
                raise InvalidArgumentError(
                    f"pipeline {name!r}, step {number} ({step.kind}): the task of {model!r} is {task}, and must be "
                    f"{' or '.join(step.tasks)}"
                )


def find_cycle(name: str, models: list[str], leads_to: Mapping[str, list[str]]) -> list[str] | None:
    """The way from pipeline `name`, which names `models`, back to itself; None where there is none.

    `leads_to` has what each other pipeline names.

    >>> from headrace.pipeline import find_cycle
    >>> find_cycle("a", ["b"], {"b": ["c", "a"]})
    ['a', 'b', 'a']
    """

    def ways(from_: str, found: list[str], path: list[str]) -> Iterator[list[str]]:
        for model in found:
            if model == name:
                yield [*path, model]
            elif model in leads_to and model not in path:
                yield from ways(model, leads_to[model], [*path, model])

    return next(ways(name, models, [name]), None)


def in_order(wanted: Mapping[str, list[str]]) -> list[str]:
    """Pipelines, each behind those that it names; those of a circle last, to be refused with its reason."""
    done: dict[str, None] = {}
    waiting = dict(wanted)
    while waiting:
        free = [name for name, models in waiting.items() if not (set(models) & set(waiting))]
        for name in free or list(waiting):
            done[name] = None
            del waiting[name]
    return list(done)
