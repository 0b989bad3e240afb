"""From what stands on the command line to models in an engine: names, and a thread that loads.

A MODEL is `demo:minilm` (named `minilm`), a folder (named as the folder), NAME=either, or a folder of such folders.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .errors import InvalidArgumentError, ModelNotFoundError
from .manifest import read_manifest
from .pipeline import in_order, names_in
from .repository import MODEL_NAME, check_is_data, default_name, is_pipeline, models_in, resolve

if TYPE_CHECKING:
    from .engine import Engine


class Wanted(NamedTuple):
    """A model to be loaded. Without one that is `required`, because someone named it, there is nothing to serve; of
    those found in a folder the others are served without it."""

    path: str
    required: bool = True


def parse_models(arguments: Sequence[str]) -> dict[str, Wanted]:
    """Name -> model for each argument and each model in a folder of models.

    Raises InvalidArgumentError for a bad or repeated name, ModelNotFoundError for a folder without any model.

    >>> for name, model in parse_models(["demo:minilm", "models/e5-small", "mine=models/v3"]).items():
    ...     print(name, model.path)
    minilm demo:minilm
    e5-small models/e5-small
    mine models/v3
    """
    models: dict[str, Wanted] = {}
    for name, model in _expanded(arguments or ["demo:minilm"]):
        path = model.path
        if not MODEL_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"model name {name!r}: must be at most 128 of letters, digits and '._-'; say NAME={path}"
            )
        if name in models:
            raise InvalidArgumentError(f"two models are named {name!r}: give one another name by NAME={path}")
        models[name] = model
    return models


def _expanded(arguments: Sequence[str]) -> Iterator[tuple[str, Wanted]]:
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if equals:
            yield name, Wanted(path)
            continue
        found = None if argument.startswith("demo:") else models_in(argument)
        if found is None:
            yield default_name(argument), Wanted(argument)
        elif found:
            yield from ((default_name(path), Wanted(os.fspath(path), required=False)) for path in found)
        else:
            check_is_data(Path(argument).expanduser())
            raise ModelNotFoundError(
                f"{argument}: no model in it; a model is a directory with config.json, tokenizer.json and "
                "model.safetensors, or one of numbered versions"
            )


class WantedAdapter(NamedTuple):
    """An adapter to be loaded; without a model it is that of the only language model."""

    name: str
    model: str | None
    path: str


def parse_adapter(argument: str, models: Mapping[str, object]) -> WantedAdapter:
    """NAME=DIR or NAME=MODEL:DIR. InvalidArgumentError for anything else.

    >>> parse_adapter("sql=adapters/sql", {"smollm2": None})
    WantedAdapter(name='sql', model=None, path='adapters/sql')
    >>> parse_adapter("sql=smollm2:adapters/sql", {"smollm2": None}).model
    'smollm2'
    """
    name, equals, place = argument.partition("=")
    if not equals or not place:
        raise InvalidArgumentError(f"--adapter {argument}: must be NAME=DIR or NAME=MODEL:DIR")
    model, colon, path = place.partition(":")
    if colon and model in models:
        return WantedAdapter(name, model, path)
    return WantedAdapter(name, None, place)


class ModelLoader(threading.Thread):
    """Adds models to the engine, one after another, while its starter imports a web framework. Where the engine has a
    memory budget, those of a folder of models wait to be asked for, unless they are pinned.

    `waiting` holds the names not there yet, `failed` those that could not be loaded and were not required; `on_failure`
    hears of each of these at once. `on_loaded` hears of the end, and ends the start by what it raises. `sources` says
    where each model is, `folders` what may come to hold more of them. `error` is what ended the loading early, or None.
    """

    def __init__(
        self,
        engine: Engine,
        models: dict[str, Wanted],
        *,
        precision: str = "auto",
        folders: Sequence[str] = (),
        adapters: Sequence[str] = (),
        on_failure: Callable[[str, Exception], None] = lambda _name, _error: None,
        on_loaded: Callable[[Engine], None] | None = None,
    ) -> None:
        super().__init__(name="headrace-load", daemon=True)
        self._engine = engine
        self._models = models
        self.precision = precision
        self.sources = {name: model.path for name, model in models.items()}
        self.folders = list(folders)
        self._adapters = [parse_adapter(adapter, models) for adapter in adapters]
        self._on_failure = on_failure
        self._on_loaded = on_loaded
        self.waiting = set(models)
        self.failed: set[str] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            pipelines = {
                name: names_in(Path(model.path).expanduser())
                for name, model in self._models.items()
                if is_pipeline(model.path)
            }
            for name in [name for name in self._models if name not in pipelines] + in_order(pipelines):
                self._load(name, self._models[name])
                self.waiting.discard(name)
            for adapter in self._adapters:
                self._engine.add_adapter(
                    adapter.name, adapter.path, model=adapter.model or self._only_language_model()
                )
            if len(self.failed) == len(self._models):
                raise ModelNotFoundError(f"none of the {len(self.failed)} models could be loaded")
            if self._on_loaded is not None:
                self._on_loaded(self._engine)
        except BaseException as error:
            self.error = error

    def _only_language_model(self) -> str:
        found = [info.name for info in self._engine.models() if info.task == "generate" and info.base is None]
        if len(found) != 1:
            raise InvalidArgumentError(
                f"--adapter: there are {len(found)} language models: say which by NAME=MODEL:DIR"
            )
        return found[0]

    def _load(self, name: str, model: Wanted) -> None:
        try:
            if is_pipeline(model.path):
                self._engine.add_pipeline(name, model.path)
            elif self._engine.memory_budget is not None and not model.required and not _is_pinned(model.path):
                self._engine.register(name, model.path, precision=self.precision)
            else:
                self._engine.add(name, model.path, precision=self.precision)
        except Exception as error:  # whatever it is: the others are served
            if model.required:
                raise
            self.failed.add(name)
            self._on_failure(name, error)


def _is_pinned(path: str) -> bool:
    return read_manifest(resolve(path)).pinned
