"""Which model answers to a name: replaced without a gap, on trial beside another, or under an alias."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import repository
from .errors import Error, InvalidArgumentError, ModelNotFoundError
from .manifest import Manifest, read_manifest
from .residency import ROOM_SECONDS, Residency, Source
from .shadow import PromotionGate, Shadow, ShadowStats

if TYPE_CHECKING:
    from .drift import Drift
    from .loaded_model import Model


@dataclass(frozen=True)
class Candidate:
    """A model on trial, and its share of the requests; with a `shadow` it gets copies of them instead."""

    model: Model
    share: float
    source: Source
    shadow: Shadow | None = None


class Deployments(Residency):
    """What an Engine does with models of one name."""

    def __init__(self, memory_budget: int | None = None) -> None:
        Residency.__init__(self, memory_budget)
        self._candidates: dict[str, Candidate] = {}
        self._aliases: dict[str, str] = {}
        self._drifts: dict[tuple[str, str], Drift] = {}  # by name and path

    def model(self, name: str) -> Model:
        """The model of that name or alias; now and then the candidate beside it, where there is one.

        One that is not in memory is loaded first, which takes its time: on an event loop, await `amodel`.

        Raises ModelNotFoundError, which lists the names there are; what `add` raises where it has to be loaded, and
        OverloadedError (code "memory_busy") where models in use leave no room for it.
        """
        found = self.loaded(name)
        return self._chosen(self._fetch(self.resolve(name)).result()) if found is None else found

    async def amodel(self, name: str) -> Model:
        """`model` for asyncio; whoever stops waiting leaves the load to the others."""
        found = self.loaded(name)
        if found is not None:
            return found
        flight = self._fetch(self.resolve(name))
        loop, landed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(landed.set)

        flight.add_done_callback(lambda _: tell())
        await landed.wait()
        return self._chosen(flight.result())

    def loaded(self, name: str) -> Model | None:
        """`model`, if it is in memory; None where it is served and has to be loaded first."""
        found = self._found(self.resolve(name))
        return None if found is None else self._chosen(found)

    def _chosen(self, found: Model) -> Model:
        candidate = self._candidates.get(found.name)
        if candidate is not None and candidate.shadow is None and random.random() < candidate.share:
            return candidate.model
        return found

    def _is_kept(self, name: str) -> bool:
        return name in self._candidates

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
        source = Source(path, task, precision, device)
        new = self._load_beside(name, source)
        try:
            adapters = self._moved_adapters(name, new)
        except BaseException:
            self._retire(new)
            del new  # or the traceback would keep it
            raise
        self._put_in_place(name, new, source, adapters)
        return new

    def _load_beside(self, name: str, source: Source) -> Model:
        """A model of a name that is served already."""
        self._check_served(name)
        if name not in self._known:
            raise InvalidArgumentError(f"{name!r} is an adapter: remove it, and add the other one")
        aliases = self._checked_manifest(name, source).aliases
        new = self._load(name, self._new_core_name(name), source)
        if name not in self._known:
            self._retire(new)
            raise self._unknown(name)  # removed meanwhile
        self._aliases |= dict.fromkeys(aliases, name)
        return new

    def _put_in_place(self, name: str, new: Model, source: Source, adapters: list[Model]) -> None:
        with self._lock:
            known = self._known[name]
            known.source = source
            old = [self._models.get(name), *(self._models.get(adapter.name) for adapter in adapters)]
            self._place(known, new)
            for adapter in adapters:
                self._models[adapter.name] = adapter
        for model in old:
            if model is not None:
                self._retire(model)
        self.drop_candidate(name)

    def _moved_adapters(self, name: str, new: Model) -> list[Model]:
        """The adapters of the model `name` on the one that is to take its place. InvalidArgumentError where one of them
        does not fit it; then nothing has changed."""
        moved: list[Model] = []
        try:
            for adapter in [each for each in list(self._models.values()) if each.info.base == name]:
                moved.append(self._adapter_on(new, adapter.name, adapter.info.path))
        except BaseException as error:
            while moved:
                self._retire(moved.pop())
            del new  # or the traceback would keep it
            if isinstance(error, Error):
                raise InvalidArgumentError(
                    f"model {name!r} is not replaced, since an adapter of it does not fit: {error}"
                ) from None
            raise
        return moved

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
        source = Source(path, task, precision, device)
        new = self._load_beside(name, source)
        self.drop_candidate(name)
        self._candidates[name] = Candidate(new, share, source)
        return new

    def shadow(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        share: float = 1.0,
        task: str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> Model:
        """Loads a model that gets copies of a random `share` (above 0, at most 1) of the requests for `name`, in the
        place of an earlier candidate. Its answers are compared and thrown away: `candidate(name).shadow.stats` has
        the counts. It runs at batch priority, after the request itself, and copies that it cannot keep up with are
        dropped, so no client waits for it. `promote` or `drop_candidate` end it.

        >>> import headrace
        >>> with headrace.Engine() as engine:
        ...     model = engine.add("minilm", "demo:minilm", precision="f32")
        ...     _ = engine.shadow("minilm", "demo:minilm", precision="int8")
        ...     _ = model.embed(["a mill wheel", "a water turbine"])
        ...     while (stats := engine.candidate("minilm").shadow.stats).copies == 0:
        ...         pass
        ...     stats.compared, stats.min_cosine > 0.98
        (2, True)
        """
        if not 0 < share <= 1:
            raise InvalidArgumentError(f"share={share}: must be above 0 and at most 1")
        source = Source(path, task, precision, device)
        served = self._found(name) or self._fetch(name).result()  # held, so that it stays in memory
        new = self._load_beside(name, source)
        if new.info.task != served.info.task:
            self._retire(new)
            raise InvalidArgumentError(
                f"the shadow's task is {new.info.task}, and that of {name!r} is {served.info.task}: they must be one"
            )
        self.drop_candidate(name)
        shadow = Shadow(new, share)
        with self._lock:
            self._candidates[name] = Candidate(new, share, source, shadow)
            self._models[name]._shadow = shadow
        return new

    def candidate(self, name: str) -> Candidate | None:
        """The model on trial or the shadow beside `name`, with its share of the requests."""
        return self._candidates.get(name)

    def promote(self, name: str, *, gate: PromotionGate | None = None) -> Model:
        """The candidate, or the shadow, gets all requests. ModelNotFoundError where there is none; InvalidArgumentError
        (code "gate_refused") for a shadow that has not shown what the `gate` asks."""
        candidate = self._candidates.get(name)
        if candidate is None:
            raise ModelNotFoundError(f"there is no candidate beside {name!r}")
        if gate is not None:
            gate.check(name, ShadowStats() if candidate.shadow is None else candidate.shadow.stats)
        self._check_served(name)
        adapters = self._moved_adapters(name, candidate.model)
        self._end_trial(name)
        self._put_in_place(name, candidate.model, candidate.source, adapters)
        return candidate.model

    def drop_candidate(self, name: str) -> None:
        """Ends a trial, if there is one; what the candidate has begun it finishes."""
        candidate = self._end_trial(name)
        if candidate is not None:
            self._retire(candidate.model)

    def _end_trial(self, name: str) -> Candidate | None:
        with self._lock:
            candidate = self._candidates.pop(name, None)
            served = self._models.get(name)
            if served is not None:
                served._shadow = None
        if candidate is not None and candidate.shadow is not None:
            candidate.shadow.close()
        return candidate

    def alias(self, alias: str, name: str) -> None:
        """Lets `alias` be another name of the model `name`, instead of what it was an alias of.

        InvalidArgumentError where a model has that very name, ModelNotFoundError where there is no model `name`.
        """
        self._check_served(name)
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
        name_of_base = self.resolve(model)
        base = self._found(name_of_base) or self._fetch(name_of_base).result()
        base._check_task("generate")
        if base._base is not None:
            raise InvalidArgumentError(f"model={model!r} is an adapter itself: name the model that it adapts")
        self._check_new(name)
        adapter = self._models[name] = self._adapter_on(base, name, path)
        return adapter

    def _adapter_on(self, base: Model, name: str, path: str | os.PathLike[str]) -> Model:
        core_name = f"{self._new_core_name(name)}#"
        weights = Path(path) / "adapter_model.safetensors"
        size = weights.stat().st_size if weights.is_file() else 0
        self._budget.take(core_name, size, name, lambda: self._make_room(base.name), ROOM_SECONDS)
        try:
            base._language().add_adapter(core_name, os.fspath(path))
        except BaseException:
            self._budget.give_back(core_name)
            raise
        info = replace(
            base.info,
            name=name,
            path=os.fspath(path),
            created=int(time.time()),
            base=base.name,
            cache_bytes=0,
        )
        return type(base)(base._engine, info, base._generator, core_name, base)

    def retire(self, name: str) -> None:
        """Stops serving `name`; what is under way is finished, and then its memory given back."""
        found = self._found(name)
        if found is not None:
            self._retire(found)
        self._forget(name)

    def _forget(self, name: str) -> None:
        """That there was a model of that name."""
        with self._lock:
            self._known.pop(name, None)
            self._models.pop(name, None)
        self._drifts = {key: drift for key, drift in self._drifts.items() if key[0] != name}
        self.drop_candidate(name)
        for adapter in [adapter for adapter in list(self._models.values()) if adapter.info.base == name]:
            self._retire(adapter)
            self._forget(adapter.name)
        for alias in [alias for alias, model in self._aliases.items() if model == name]:
            del self._aliases[alias]

    def _retire(self, model: Model) -> weakref.finalize[..., Model]:
        """Frees a model once nobody holds it: whoever is in the middle of a request does."""
        free = self._freer(model)
        # In a thread, since it waits for the batch that runs, and the last holder may be an event loop.
        finalizer = weakref.finalize(model, lambda: threading.Thread(target=free, daemon=True).start())
        finalizer.atexit = False
        return finalizer

    def _freer(self, model: Model) -> Callable[[], None]:
        """What frees it, and does not keep it."""
        core, budget, name = self._core, self._budget, model._core_name
        is_adapter = model._base is not None
        generators = [model._generator]
        calls = model._calls

        def free() -> None:
            generator = generators.pop()  # the memory of a language model goes with the last who has it
            if calls is not None:
                calls.close(drain=True)
            elif generator is None:
                with contextlib.suppress(ModelNotFoundError):  # the engine was closed meanwhile
                    core.remove(name)
            elif is_adapter:
                generator.remove_adapter(name)
            else:
                generator.close()
            del generator
            budget.give_back(name)

        return free

    def _checked_manifest(self, name: str, source: Source) -> Manifest:
        """The model's headrace.toml. InvalidArgumentError where an alias that it gives cannot be had."""
        directory = source.directory()
        manifest = Manifest() if directory is None else read_manifest(directory)
        for alias in manifest.aliases:
            self._check_alias(alias, name)
        return manifest

    def _check_alias(self, alias: str, name: str) -> None:
        if alias in self._names() or alias == name or not repository.MODEL_NAME.fullmatch(alias):
            raise InvalidArgumentError(
                f"alias={alias!r}: must be no model's name, and at most 128 of letters, digits and '._-'"
            )

    def _check_new(self, name: str) -> None:
        """InvalidArgumentError for what cannot be the name of another model."""
        if name in self._names() or not repository.MODEL_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"model name {name!r}: must not be taken, and be at most 128 of letters, digits and '._-'"
            )
        if name in self._aliases:
            raise InvalidArgumentError(f"model name {name!r}: it is an alias of {self._aliases[name]!r}")
