"""load() and Engine: any number of models on one set of threads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _core, golden, inputs, render, repository
from .deployments import Deployments
from .errors import InvalidArgumentError
from .loaded_model import Model, ModelInfo
from .manifest import read_manifest
from .predict_methods import MISSING

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """How an engine runs language models.

    Args:
        context: tokens of the longest text, prompt and answer together; None: what the model was made for, as far as
            the cache holds it.
        cache_tokens: tokens whose keys and values are kept, of all texts together; None: what 2 GiB hold.
        step_tokens: tokens computed at a time; fewer make others' tokens come more evenly, more read long prompts
            sooner.
        max_sequences: texts that are written at a time.
        speculation: how many tokens that followed the same words before, in the prompt or the text, are tried at a
            time; the text is the same, it comes sooner. "auto": as many as are measured to be worth their time; "off";
            or a number, at most so many and whatever they cost.
        kv: what keys and values are kept in, which is most of the memory that texts take: "f32", "bf16" (half of it),
            "int8" (about a quarter: a scale for each head and token) or "auto": f32 where the model's matrices are,
            else bf16.
        draft: a smaller model of the same vocabulary, which guesses what comes next where that is measured to be worth
            its time; texts are the same, they come sooner. For all language models, or by name in a mapping.
    """

    context: int | None = None
    cache_tokens: int | None = None
    step_tokens: int = 256
    max_sequences: int = 64
    speculation: Literal["auto", "off"] | int = "auto"
    kv: Literal["auto", "f32", "bf16", "int8"] = "auto"
    draft: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None

    def __post_init__(self) -> None:
        inputs.proposed_tokens(self.speculation)
        inputs.check_kv(self.kv)
        if self.draft is not None and inputs.proposed_tokens(self.speculation) == 0:
            raise InvalidArgumentError(
                "draft= has nothing to do with speculation='off': say 'auto' or a number"
            )

    def draft_of(self, name: str) -> str | os.PathLike[str] | None:
        """The draft model of the model of that name."""
        return self.draft.get(name) if isinstance(self.draft, Mapping) else self.draft


class Engine(Deployments):
    """Any number of models on one set of threads, with a bounded queue for each.

    Args:
        threads: compute threads; by default every processor the process may use.
        queue_budget: seconds; work that would have to wait longer is refused with OverloadedError.
        max_batch_tokens: tokens that run together at most; more gains little and makes the next request wait longer.
        language: how language models run: the longest text, memory, texts at a time.

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
    ) -> None:
        options: dict[str, int] = {} if max_batch_tokens is None else {"max_batch_tokens": max_batch_tokens}
        if threads is not None and threads < 1:
            raise InvalidArgumentError(f"threads={threads}: must be at least 1, or None for every processor")
        if not 0.001 <= queue_budget <= 3600:
            raise InvalidArgumentError(f"queue_budget={queue_budget}: must be between 0.001 and 3600 seconds")
        self._core = _core.Engine(threads=threads or 0, queue_budget_us=int(queue_budget * 1e6), **options)
        self._models: dict[str, Model] = {}
        Deployments.__init__(self)
        self._owned_by_model = False
        self.language = language or LanguageOptions()
        self.queue_budget = queue_budget

    @property
    def threads(self) -> int:
        return self._core.threads

    def add(
        self,
        name: str,
        path: str | os.PathLike[str] | Callable[..., Any],
        *,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> Model:
        """Loads the model in directory `path` (or `demo:minilm`), sealed or not, and serves it as `name`.

        A function that takes a batch is a model too (see `headrace.model`), itself or as `file.py:name`.

        Its task is what its files say; `task="embed"` takes any model's encoder without its head.

        Its matrices are multiplied in `precision`: "f32", "bf16", "int8" (each row of activations and of weights
        with a scale of its own), or "auto": bf16 where the processor has instructions for it, else f32.

        Raises:
            ModelNotFoundError: no such directory or a file of it is missing.
            CorruptFileError, UnsupportedError: the files are damaged, or of an architecture not yet known.
            InvalidArgumentError: the name is taken or has other characters than letters, digits, `.`, `_` and `-`;
                or the files have no head for the task.
        """
        self._check_new(name)
        model = self._models[name] = self._load(name, name, path, task, precision, device)
        return model

    def _load(
        self,
        name: str,
        core_name: str,
        path: str | os.PathLike[str] | Callable[..., Any],
        task: str | None,
        precision: str,
        device: str,
    ) -> Model:
        if callable(path):
            return self._load_function(name, path)
        inputs.check_precision(precision, device)
        if repository.is_function(path):
            return self._load_function(name, path)
        directory = repository.resolve(path)
        manifest = read_manifest(directory)
        task = task or manifest.task
        if precision == "auto" and manifest.precision is not None:
            precision = manifest.precision
            inputs.check_precision(precision, device)
        model = self._read(name, core_name, directory, task, precision)
        try:
            if manifest.gate is not None:
                golden.check(model, manifest.gate)
            for alias in manifest.aliases:
                self._check_alias(alias, name)
        except BaseException:
            self._retire(model)
            raise
        self._aliases |= dict.fromkeys(manifest.aliases, name)
        return model

    def _read(self, name: str, core_name: str, directory: Path, task: str | None, precision: str) -> Model:
        if (manifest := read_manifest(directory)).runtime is not None:
            from .predict.loading import load_directory

            return load_directory(self, name, directory, manifest)
        # Nothing here may hold the files once the core has them: it gives their memory back when it has packed them.
        files = repository.memory_files(directory)
        if repository.generates_text(directory, files):
            return self._load_language_model(name, directory, task, precision, files)
        self._core.add(
            core_name, os.fspath(directory), task=inputs.task_name(task), precision=precision, files=files
        )
        info = ModelInfo(
            name=name, path=os.fspath(directory), created=int(time.time()), **self._core.info(core_name)
        )
        return Model(self, info, core_name=core_name)

    def _load_function(self, name: str, source: str | os.PathLike[str] | Callable[..., Any]) -> Model:
        from .predict.function import as_function
        from .predict.loading import load_function, named_function, read_function

        function = as_function(source) if callable(source) else None
        if function is not None:
            return load_function(self, name, function)
        found = named_function(os.fspath(cast("str", source)))
        assert found is not None
        return load_function(self, name, read_function(*found), os.fspath(cast("str", source)))

    def _load_language_model(
        self,
        name: str,
        path: Path,
        task: str | None,
        precision: str,
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
        )
        info = ModelInfo(name=name, path=os.fspath(path), created=int(time.time()), **generator.info())
        return Model(self, info, generator)

    def predict(
        self, name: str, item: Any = MISSING, /, *, timeout: float | None = None, **tensors: Any
    ) -> Any:
        """`Model.predict` of the model of that name."""
        return self.model(name).predict(item, timeout=timeout, **tensors)

    async def apredict(
        self, name: str, item: Any = MISSING, /, *, timeout: float | None = None, **tensors: Any
    ) -> Any:
        """`Model.apredict` of the model of that name."""
        return await self.model(name).apredict(item, timeout=timeout, **tensors)

    def remove(self, name: str) -> None:
        """Stops serving `name`; its queued requests fail with CancelledError. Raises ModelNotFoundError."""
        model = self._models.get(name)
        self._forget(name)
        if model is not None and model._base is not None:
            self._retire(model)
        elif model is not None and model._generator is not None:
            model._generator.close()
        elif model is not None and model._calls is not None:
            model._calls.close()
        else:
            self._core.remove(name if model is None else model._core_name)

    def models(self) -> list[ModelInfo]:
        """What is served, in the order it was added."""
        return [model.info for model in list(self._models.values())]  # a thread may add one meanwhile

    def stats(self) -> dict[str, Any]:
        """Counters and histograms since each model was added: `{"models": {name: {...}}, "language_models": {...}}`."""
        models = list(self._models.items())
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
        }

    def close(self, drain: bool = True) -> None:
        """Refuses new work, finishes what is queued (or, without drain, fails it) and ends the threads."""
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
        return f"Engine(threads={self.threads}, models=[{', '.join(self._models)}])"

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
    """This build and this machine: versions, processor, kernel tables, threads."""
    return {
        "version": _core.__version__,
        "python": sys.version.split()[0],
        "cpu": _core.cpu_model(),
        "cpus": _core.available_cpus(),
        "isa": _core.isa(),
        "runnable_isas": _core.runnable_isas(),
        "known_isas": _core.known_isas(),
    }
