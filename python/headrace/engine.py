"""load() and Engine: any number of models on one set of threads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core, devices, inputs, render, repository
from .drift import check_and_watch
from .errors import InvalidArgumentError, UnsupportedError
from .language_options import LanguageOptions
from .loaded_model import Model, ModelInfo
from .manifest import read_manifest
from .memory import estimate_bytes
from .pipelines import Pipelines
from .predict.loading import load_directory, load_function
from .predict_methods import EnginePredictMethods
from .residency import ModelPath, Source

if TYPE_CHECKING:
    from typing_extensions import Self


class Engine(Pipelines, EnginePredictMethods):
    """Any number of models on one set of threads, with a bounded queue for each.

    Args:
        threads: compute threads; by default every processor the process may use.
        queue_budget: seconds; work that would have to wait longer is refused with OverloadedError.
        max_batch_tokens: tokens that run together at most; more gains little and makes the next request wait longer.
        language: how language models run: the longest text, memory, texts at a time.
        memory_budget: bytes that the weights and caches of all models may take. Those used longest ago are unloaded
            when another needs the room, and loaded again when they are asked for; never one in use, nor one whose
            headrace.toml has `pinned = true`. None: every model stays.
        device: what models run on that were added with device="auto": "cpu", or "cuda", "cuda:1" and so on. Raises
            UnsupportedError that says why a GPU cannot be used.

    >>> import headrace
    >>> with headrace.Engine() as engine:
    ...     model = engine.add("minilm", "demo:minilm")
    ...     model.embed("hello").shape
    (1, 384)
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        queue_budget: float = 0.5,
        max_batch_tokens: int | None = None,
        language: LanguageOptions | None = None,
        memory_budget: int | None = None,
        device: str = "auto",
    ) -> None:
        options: dict[str, int] = {} if max_batch_tokens is None else {"max_batch_tokens": max_batch_tokens}
        inputs.check_threads(threads)
        if not 0.001 <= queue_budget <= 3600:
            raise InvalidArgumentError(f"queue_budget={queue_budget}: must be between 0.001 and 3600 seconds")
        self.device = devices.ready(device)
        self._core = _core.Engine(threads=threads or 0, queue_budget_us=int(queue_budget * 1e6), **options)
        self._models: dict[str, Model] = {}
        Pipelines.__init__(self, memory_budget)
        self._owned_by_model = False
        self._sizes: dict[tuple[str, str], int] = {}
        self.language = language or LanguageOptions()
        self.queue_budget = queue_budget

    @property
    def threads(self) -> int:
        return self._core.threads

    def add(
        self,
        name: str,
        path: ModelPath,
        *,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> Model:
        """Loads the model in directory `path` (or `demo:minilm`), sealed or not, and serves it as `name`.

        A function that takes a batch is a model too (see `headrace.model`), itself or as `file.py:name`.

        Its task is what its files say; `task="embed"` takes any model's encoder without its head.

        Its matrices are multiplied in `precision`: "f32", "bf16", "int8" (each row of activations and of weights
        with a scale of its own), or "auto": bf16 where the processor is faster in it, else f32.

        It runs on `device`: "cpu", "cuda" or "cuda:1" (an NVIDIA GPU, see docs/cuda.md), or "auto": the engine's.

        Raises:
            ModelNotFoundError: no such directory or a file of it is missing.
            CorruptFileError, UnsupportedError: the files are damaged, or of an architecture not yet known.
            InvalidArgumentError: the name is taken or has other characters than letters, digits, `.`, `_` and `-`;
                or the files have no head for the task.
        """
        self._check_new(name)
        source = Source(path, task, precision, device)
        manifest = self._checked_manifest(name, source)
        begin = time.perf_counter()
        model = self._load(name, self._first_core_name(name), source)
        seconds = time.perf_counter() - begin
        known = self._know(name, source, model, manifest.pinned or callable(path))
        known.load_seconds = seconds
        self._aliases |= dict.fromkeys(manifest.aliases, name)
        return model

    def register(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        """Serves the model as `add` does, but loads it only when it is asked for: by `model`, `amodel` or a request.

        Raises what `add` raises about names, aliases and headrace.toml, and ModelNotFoundError where there is no such
        directory; what is wrong with the files is found when they are loaded.

        >>> import headrace
        >>> with headrace.Engine(memory_budget=200_000_000) as engine:
        ...     engine.register("minilm", "demo:minilm")
        ...     print(engine.memory_used, engine.model("minilm").embed("hello").shape)
        0 (1, 384)
        """
        self._check_new(name)
        inputs.check_precision(precision, device)
        source = Source(path, task, precision, device)
        manifest = self._checked_manifest(name, source)
        self._know(name, source, None, manifest.pinned)
        self._aliases |= dict.fromkeys(manifest.aliases, name)

    def _load(self, name: str, core_name: str, source: Source) -> Model:
        inputs.check_precision(source.precision, source.device)
        directory = source.directory()
        if directory is None:
            return self._take_memory(
                name, core_name, 0, lambda: load_function(self, name, core_name, source.path)
            )
        manifest = read_manifest(directory)
        device = self.device if source.device == "auto" else devices.ready(source.device)
        task, precision = source.task or manifest.task, source.precision
        if precision == "auto" and manifest.precision is not None:
            precision = manifest.precision
            inputs.check_precision(precision, source.device)
        # Nothing here may hold the files once the core has them: it gives their memory back when it has packed them.
        repository.check_is_data(directory)
        held = [repository.memory_files(directory)]
        generates = repository.generates_text(directory, held[0])

        is_outside = manifest.runtime is not None or repository.is_onnx(directory)
        size = (
            repository.size_on_disk(directory)
            if is_outside
            else self._expected_bytes(directory, held[0], precision, generates)
        )

        def read() -> Model:
            if is_outside:
                if device != "cpu" and source.device != "auto":
                    raise UnsupportedError(f"device={device!r}: {directory} runs where its own runtime does")
                return load_directory(self, name, core_name, directory, manifest)
            place = (name, core_name, directory, task, precision, device)
            return (self._load_language_model if generates else self._read)(*place, held.pop())

        model = self._take_memory(name, core_name, size, read)
        self._sizes[os.fspath(directory), precision] = model.info.bytes
        try:
            check_and_watch(model, manifest, self._drifts)
        except BaseException:
            self._retire(model)
            del model
            raise
        return model

    def _expected_bytes(
        self, directory: Path, files: dict[str, _core.MemoryFile] | None, precision: str, generates: bool
    ) -> int:
        """What it took the last time, else what its files promise; 0 where nothing asks."""
        if self.memory_budget is None:
            return 0
        known = self._sizes.get((os.fspath(directory), precision))
        if known is not None:
            return known
        return estimate_bytes(directory, files, precision, self.language if generates else None)

    def _first_core_name(self, name: str) -> str:
        """The model's own name, unless one that is on its way out still has it."""
        return name if name not in self._core.names() else self._new_core_name(name)

    def _read(
        self,
        name: str,
        core_name: str,
        directory: Path,
        task: str | None,
        precision: str,
        device: str,
        files: dict[str, _core.MemoryFile] | None,
    ) -> Model:
        self._core.add(
            core_name,
            os.fspath(directory),
            task=inputs.task_name(task),
            precision=precision,
            files=files,
            device=device,
        )
        info = ModelInfo(
            name=name, path=os.fspath(directory), created=int(time.time()), **self._core.info(core_name)
        )
        return Model(self, info, core_name=core_name)

    def _load_language_model(
        self,
        name: str,
        core_name: str,
        path: Path,
        task: str | None,
        precision: str,
        device: str,
        files: dict[str, _core.MemoryFile] | None,
    ) -> Model:
        if task not in (None, "generate"):
            raise InvalidArgumentError(f"task={task!r}: {path} is a language model; its task is 'generate'")
        wanted = self.language.draft_of(name)
        draft = None if wanted is None else repository.resolve(wanted)
        if draft is not None and not repository.generates_text(draft):
            raise InvalidArgumentError(f"draft={os.fspath(draft)!r}: is no language model")
        generator = _core.Generator(
            os.fspath(path),
            precision=precision,
            threads=self.threads,
            context=self.language.context or 0,
            cache_tokens=self.language.cache_tokens or 0,
            step_tokens=self.language.step_tokens,
            max_sequences=self.language.max_sequences,
            speculation=inputs.proposed_tokens(self.language.speculation),
            kv=self.language.kv,
            draft=None if draft is None else os.fspath(draft),
            draft_files=None if draft is None else repository.memory_files(draft),
            files=files,
            device=device,
        )
        info = ModelInfo(name=name, path=os.fspath(path), created=int(time.time()), **generator.info())
        return Model(self, info, generator, core_name, precision=precision)

    def remove(self, name: str) -> None:
        """Stops serving `name`; its queued requests fail with CancelledError. Raises ModelNotFoundError."""
        model = self._found(name)
        self._forget(name)
        if model is None:
            return  # nothing of it is in memory
        if model._base is not None:
            self._retire(model)
        elif model._generator is not None:
            model._generator.close()
            self._retire(model)
        elif model._calls is not None:
            model._calls.close()
            self._retire(model)
        else:
            self._core.remove(model._core_name)
            self._budget.give_back(model._core_name)

    def models(self) -> list[ModelInfo]:
        """What is served, in the order it was added; of one that was never in memory nothing is known yet, and
        `residences` lists it."""
        found = []
        with self._lock:
            for name in self._names():
                model = self._models.get(name)
                known = self._known.get(name)
                info = model.info if model is not None else None if known is None else known.info
                if info is not None:
                    found.append(info)
        return found

    def stats(self) -> dict[str, Any]:
        """Counters and histograms since each model was added: `{"models": {name: {...}}, "language_models": {...}}`."""
        models = list(self._models.items())  # a thread may add one meanwhile
        # One on trial is counted apart: it is there to be compared.
        models += [
            (f"{name}@{one.model.info.version}", one.model) for name, one in list(self._candidates.items())
        ]
        return {
            "models": {
                name: self._core.metrics(model._core_name) if model._calls is None else model._calls.metrics()
                for name, model in models
                if model._generator is None
            },
            "language_models": {
                name: model._generator.metrics()
                for name, model in models
                if model._generator is not None and model._base is None
            },
            "pipelines": {
                name: {"requests": one.requests, "failed": one.failed, "seconds": one.seconds}
                for name, one in list(self._pipelines.items())
            },
            "shadows": {
                name: {**vars(one.shadow.stats), "mean_cosine": one.shadow.stats.mean_cosine}
                for name, one in list(self._candidates.items())
                if one.shadow is not None
            },
            "drift": {name: model._drift.stats() for name, model in models if model._drift is not None},
        }

    def close(self, drain: bool = True) -> None:
        """Refuses new work, finishes what is queued (or, without drain, fails it) and ends the threads."""
        self._is_closed = True
        for candidate in self._candidates.values():
            if candidate.shadow is not None:
                candidate.shadow.close()
        candidates = [candidate.model for candidate in self._candidates.values()]
        for model in [*self._models.values(), *candidates]:
            if model._generator is not None:
                model._generator.close()
            if model._calls is not None:
                model._calls.close(drain)
        self._core.close(drain)

    def _release(self, model: Model) -> None:
        if self._owned_by_model:
            self.close(drain=False)
        elif self._models.get(model.name) is model:
            self.remove(model.name)

    def __iter__(self) -> Iterator[ModelInfo]:
        return iter(self.models())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(drain=False)

    def __repr__(self) -> str:
        return f"Engine(threads={self.threads}, models=[{', '.join(self._names())}])"

    def _repr_html_(self) -> str:
        return render.engine_html(self.threads, self.models())


def load(
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    device: str = "auto",
    language: LanguageOptions | None = None,
) -> Model:
    """Loads one model with an engine of its own; `with` gives its threads and memory back.

    `language` says how a language model runs: the longest text, memory, speculation.

    >>> import headrace
    >>> model = headrace.load("demo:minilm")
    >>> model.embed(["hello", "world"]).shape
    (2, 384)
    >>> model.close()
    """
    engine = Engine(threads=threads, language=language)
    engine._owned_by_model = True
    try:
        return engine.add(repository.default_name(path), path, task=task, precision=precision, device=device)
    except BaseException:
        engine.close(drain=False)
        raise


def isa() -> str:
    """The kernel table in use, e.g. "avx512". The environment variable HEADRACE_ISA forces one."""
    return _core.isa()


def info() -> dict[str, Any]:
    """This build and this machine: versions, processor, kernel tables, threads, GPUs or why none is used."""
    return {
        "version": _core.__version__,
        "python": sys.version.split()[0],
        "cpu": _core.cpu_model(),
        "cpus": _core.available_cpus(),
        "isa": _core.isa(),
        "runnable_isas": _core.runnable_isas(),
        "known_isas": _core.known_isas(),
        "cuda": devices.cuda(),
    }
