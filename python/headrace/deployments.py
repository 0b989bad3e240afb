"""Which model answers to a name: replaced without a gap, on trial beside another, or under an alias."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from . import repository
from .errors import InvalidArgumentError, ModelNotFoundError

if TYPE_CHECKING:
    from . import _core
    from .loaded_model import Model


@dataclass(frozen=True)
class Candidate:
    """A model on trial, and its share of the requests."""

    model: Model
    share: float


class Deployments:
    """What an Engine does with models of one name."""

    _core: _core.Engine
    _models: dict[str, Model]

    def __init__(self) -> None:
        self._candidates: dict[str, Candidate] = {}
        self._aliases: dict[str, str] = {}
        self._replacements = 0

    @abstractmethod
    def _load(
        self,
        name: str,
        core_name: str,
        path: str | os.PathLike[str],
        task: str | None,
        precision: str,
        device: str,
    ) -> Model: ...

    def model(self, name: str) -> Model:
        """The model of that name or alias; now and then the candidate beside it, where there is one.

        Raises ModelNotFoundError, which lists the names there are.
        """
        found = self._of(self.resolve(name))
        candidate = self._candidates.get(found.name)
        if candidate is not None and random.random() < candidate.share:
            return candidate.model
        return found

    def _of(self, name: str) -> Model:
        found = self._models.get(name)
        if found is None:
            known = ", ".join(self._models) or "none"
            error = ModelNotFoundError(f"no model is named {name!r}; there is: {known}")
            error.code = "model_not_found"
            raise error
        return found

    def replace(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> Model:
        """Loads a model that takes the place of `name`, without a gap: until it is there the old one answers, and what
        the old one has begun it finishes. Raises what `add` raises, and ModelNotFoundError; the old one stays then.

        >>> import headrace
        >>> with headrace.Engine() as engine:
        ...     old = engine.add("minilm", "demo:minilm")
        ...     new = engine.replace("minilm", "demo:minilm", precision="int8")
        ...     engine.model("minilm") is new, old.embed("still there").shape
        (True, (1, 384))
        """
        new = self._load_beside(name, path, task, precision, device)
        self._put_in_place(name, new)
        return new

    def _load_beside(
        self, name: str, path: str | os.PathLike[str], task: str | None, precision: str, device: str
    ) -> Model:
        """A model of a name that is served already."""
        self._of(name)
        self._replacements += 1
        new = self._load(name, f"{name[:100]}.{self._replacements}", path, task, precision, device)
        if name not in self._models:
            self._retire(new)
            self._of(name)  # removed meanwhile
        return new

    def _put_in_place(self, name: str, new: Model) -> None:
        old, self._models[name] = self._models[name], new
        self._retire(old)
        self.drop_candidate(name)

    def try_candidate(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        share: float,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> Model:
        """Loads a model that gets a random `share` (above 0, below 1) of the requests for `name` (a canary), in the
        place of an earlier candidate. `promote` or `drop_candidate` end the trial.

        >>> import headrace
        >>> with headrace.Engine() as engine:
        ...     _ = engine.add("minilm", "demo:minilm", precision="f32")
        ...     candidate = engine.try_candidate("minilm", "demo:minilm", share=0.5, precision="int8")
        ...     seen = {engine.model("minilm").info.precision for _ in range(100)}
        ...     _ = engine.promote("minilm")
        ...     sorted(seen), engine.model("minilm") is candidate
        (['f32', 'int8'], True)
        """
        if not 0 < share < 1:
            raise InvalidArgumentError(
                f"share={share}: must be above 0 and below 1; replace() gives all of it"
            )
        new = self._load_beside(name, path, task, precision, device)
        self.drop_candidate(name)
        self._candidates[name] = Candidate(new, share)
        return new

    def candidate(self, name: str) -> Candidate | None:
        """The model on trial beside `name`, with its share of the requests."""
        return self._candidates.get(name)

    def promote(self, name: str) -> Model:
        """The candidate gets all requests. ModelNotFoundError where there is none."""
        candidate = self._candidates.pop(name, None)
        if candidate is None:
            raise ModelNotFoundError(f"there is no candidate beside {name!r}")
        self._of(name)
        self._put_in_place(name, candidate.model)
        return candidate.model

    def drop_candidate(self, name: str) -> None:
        """Ends a trial, if there is one; what the candidate has begun it finishes."""
        candidate = self._candidates.pop(name, None)
        if candidate is not None:
            self._retire(candidate.model)

    def alias(self, alias: str, name: str) -> None:
        """Lets `alias` be another name of the model `name`, instead of what it was an alias of.

        InvalidArgumentError where a model has that very name, ModelNotFoundError where there is no model `name`.
        """
        self._of(name)
        self._check_alias(alias, name)
        self._aliases[alias] = name

    def aliases(self) -> dict[str, str]:
        """Alias -> model."""
        return dict(self._aliases)

    def resolve(self, name: str) -> str:
        """The model's own name where `name` is an alias, else `name`."""
        return self._aliases.get(name, name)

    def add_adapter(self, name: str, path: str | os.PathLike[str], *, model: str) -> Model:
        """Serves the language model `model` with the low-rank adapter (LoRA) in directory `path`, as `name`.

        The weights of `model` are there once, whatever the number of its adapters, and their requests run in the same
        steps. Adapters are those that the library `peft` saves: adapter_config.json and adapter_model.safetensors.

        Raises:
            ModelNotFoundError: no model of that name, or no adapter in the directory.
            InvalidArgumentError: `name` is taken, or `model` writes no text or has other layers.
            CorruptFileError, UnsupportedError: the files are damaged, or ask for what is not supported.
        """
        base = self._of(self.resolve(model))
        base._check_task("generate")
        if base._base is not None:
            raise InvalidArgumentError(f"model={model!r} is an adapter itself: name the model that it adapts")
        self._check_new(name)
        self._replacements += 1
        core_name = f"{name}#{self._replacements}"
        base._language().add_adapter(core_name, os.fspath(path))
        info = replace(base.info, name=name, path=os.fspath(path), created=int(time.time()), base=base.name)
        adapter = self._models[name] = type(base)(base._engine, info, base._generator, core_name, base)
        return adapter

    def retire(self, name: str) -> None:
        """Stops serving `name`; what is under way is finished, and then its memory given back."""
        self._retire(self._of(name))
        self._forget(name)

    def _forget(self, name: str) -> None:
        """That there was a model of that name."""
        self._models.pop(name, None)
        self.drop_candidate(name)
        for adapter in [adapter for adapter in list(self._models.values()) if adapter.info.base == name]:
            self._retire(adapter)
            self._forget(adapter.name)
        for alias in [alias for alias, model in self._aliases.items() if model == name]:
            del self._aliases[alias]

    def _retire(self, model: Model) -> None:
        """Frees a model once nobody holds it: whoever is in the middle of a request does."""
        free: Callable[[], None]
        if model._base is not None:
            free = partial(model._language().remove_adapter, model._core_name)
        elif model._generator is not None:
            free = model._generator.close
        elif model._calls is not None:
            free = partial(model._calls.close, True)
        else:
            free = self._remover(model._core_name)
        # In a thread, since it waits for the batch that runs, and the last holder may be an event loop.
        finalizer = weakref.finalize(model, lambda: threading.Thread(target=free, daemon=True).start())
        finalizer.atexit = False

    def _remover(self, core_name: str) -> Callable[[], None]:
        core = self._core

        def remove() -> None:
            with contextlib.suppress(ModelNotFoundError):  # the engine was closed meanwhile
                core.remove(core_name)

        return remove

    def _check_alias(self, alias: str, name: str) -> None:
        if alias in self._models or alias == name or not repository.MODEL_NAME.fullmatch(alias):
            raise InvalidArgumentError(
                f"alias={alias!r}: must be no model's name, and at most 128 of letters, digits and '._-'"
            )

    def _check_new(self, name: str) -> None:
        """InvalidArgumentError for what cannot be the name of another model."""
        if name in self._models or not repository.MODEL_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"model name {name!r}: must not be taken, and be at most 128 of letters, digits and '._-'"
            )
        if name in self._aliases:
            raise InvalidArgumentError(f"model name {name!r}: it is an alias of {self._aliases[name]!r}")
