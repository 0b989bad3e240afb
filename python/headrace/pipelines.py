"""What an Engine does with pipelines: serves them beside models, under names of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .deployments import Deployments
from .errors import InvalidArgumentError, ModelNotFoundError

if TYPE_CHECKING:
    from .pipeline import Pipeline


class Pipelines(Deployments):
    """Mixed into Engine."""

    def __init__(self, memory_budget: int | None = None) -> None:
        Deployments.__init__(self, memory_budget)
        self._pipelines: dict[str, Pipeline] = {}

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Pipelines by their names."""
        return self._pipelines

    def add_pipeline(self, name: str, path: str | os.PathLike[str]) -> Pipeline:
        """Serves the pipeline in directory `path` as `name`: the steps in its headrace.toml, of models that are served
        already. A pipeline of that name is replaced. docs/operations.md describes the file.

        Models that are not in memory are loaded, since each must have the task that its step needs.

        Raises:
            CorruptFileError: the file, or one that it names, is not as it must be; the message says which step.
            ModelNotFoundError: a step names a model that is not served.
            InvalidArgumentError: the name is taken by a model; a model has another task than its step needs; the
                pipeline would lead back to itself.

        >>> import headrace, pathlib, tempfile
        >>> import headrace.toy
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> text = "[[pipeline]]\\nstep='tag'\\nmodel='tagger'\\n[[pipeline]]\\nstep='mask'\\n"
        >>> _ = (folder / "headrace.toml").write_text(text)
        >>> with headrace.Engine() as engine:
        ...     _ = engine.add("tagger", headrace.toy.model("tag"))
        ...     type(engine.add_pipeline("masked", folder).run("Maria runs the mill.").output).__name__
        'str'
        """
        from .pipeline import Pipeline, check_models, find_cycle, read_steps

        if name not in self._pipelines:
            self._check_new(name)
        folder = Path(path).expanduser()
        steps = read_steps(folder)
        models = [model for step in steps for model in step.models]
        others = {other: found.models for other, found in self._pipelines.items() if other != name}
        cycle = find_cycle(name, models, others)
        if cycle is not None:
            raise InvalidArgumentError(f"pipeline {name!r} would lead back to itself: {' -> '.join(cycle)}")
        check_models(name, steps, self._task_of)
        size = sum(step.bytes for step in steps)
        info = self._pipeline_info(name, folder, [step.kind for step in steps], size)
        key = f"{self._new_core_name(name)}|"
        self._budget.take(key, size, name, lambda: self._make_room(name), 10.0)
        pipeline = Pipeline(self, name, folder, steps, info)
        pipeline.memory_key = key
        self.remove_pipeline(name, missing_ok=True)
        self._pipelines[name] = pipeline
        return pipeline

    def _task_of(self, model: str) -> str:
        return "pipeline" if model in self._pipelines else self.model(model).info.task

    def _pipeline_info(self, name: str, folder: Path, kinds: list[str], size: int) -> Any:
        from .loaded_model import ModelInfo

        return ModelInfo(
            name=name,
            task="pipeline",
            architecture=" -> ".join(kinds),
            dimensions=0,
            max_tokens=0,
            vocabulary=0,
            parameters=0,
            weight_bytes=size,
            precision="",
            isa=_core.isa(),
            path=os.fspath(folder),
            created=int(time.time()),
        )

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of that name. ModelNotFoundError, which lists the names there are."""
        found = self._pipelines.get(name)
        if found is None:
            known = ", ".join(self._pipelines) or "none"
            error = ModelNotFoundError(f"no pipeline is named {name!r}; there is: {known}")
            error.code = "model_not_found"
            raise error
        return found

    def remove_pipeline(self, name: str, *, missing_ok: bool = False) -> None:
        """Stops serving a pipeline; what it has begun it finishes. ModelNotFoundError where there is none."""
        if not missing_ok:
            self.pipeline(name)
        found = self._pipelines.pop(name, None)
        if found is not None:
            self._budget.give_back(found.memory_key)

    def _names(self) -> list[str]:
        return [*super()._names(), *self._pipelines]

    def serves(self, name: str) -> bool:
        """Whether a model, an adapter or a pipeline has that name, in memory or not; no alias."""
        return name in self._known or name in self._models or name in self._pipelines
