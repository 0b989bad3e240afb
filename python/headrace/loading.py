"""From what stands on the command line to models in an engine: names, and a thread that loads.

A MODEL is `demo:minilm` (named `minilm`), a folder (named as the folder), NAME=either, or a folder of such folders.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .errors import Error, InvalidArgumentError, ModelNotFoundError
from .repository import MODEL_NAME, default_name, models_in

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
            raise ModelNotFoundError(
                f"{argument}: no model in it; a model is a directory with config.json, tokenizer.json and "
                "model.safetensors, or one of numbered versions"
            )


class ModelLoader(threading.Thread):
    """Adds models to the engine, one after another, while its starter imports a web framework.

    `waiting` holds the names not there yet, `failed` those that could not be loaded and were not required; `on_failure`
    hears of each of these at once. `sources` says where each model is, `folders` what may come to hold more of them.
    `error` is what ended the loading early, or None.
    """

    def __init__(
        self,
        engine: Engine,
        models: dict[str, Wanted],
        *,
        precision: str = "auto",
        folders: Sequence[str] = (),
        on_failure: Callable[[str, Exception], None] = lambda _name, _error: None,
    ) -> None:
        super().__init__(name="headrace-load", daemon=True)
        self._engine = engine
        self._models = models
        self.precision = precision
        self.sources = {name: model.path for name, model in models.items()}
        self.folders = list(folders)
        self._on_failure = on_failure
        self.waiting = set(models)
        self.failed: set[str] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for name, model in self._models.items():
                self._load(name, model)
                self.waiting.discard(name)
            if len(self.failed) == len(self._models):
                raise ModelNotFoundError(f"none of the {len(self.failed)} models could be loaded")
        except BaseException as error:
            self.error = error

    def _load(self, name: str, model: Wanted) -> None:
        try:
            self._engine.add(name, model.path, precision=self.precision)
        except (Error, OSError, MemoryError) as error:
            if model.required:
                raise
            self.failed.add(name)
            self._on_failure(name, error)
