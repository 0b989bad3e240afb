"""Which of the served models are in memory: loaded when they are asked for, and those used longest ago unloaded when
a budget would be exceeded.

A model is in use while anybody holds its Model: a request does from when it has found it until its answer is there, and
so does a program that keeps what `Engine.add` returned. One in use is never unloaded.
"""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Union

from .errors import ModelNotFoundError
from .memory import MemoryBudget
from .repository import is_function, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from . import _core
    from .loaded_model import Model, ModelInfo

ROOM_SECONDS = 10.0  # that a load waits for others to be no longer in use
COLLECT_SECONDS = 1.0
RETRY_SECONDS = 5.0  # for which a load that failed is not tried again

# Where a model comes from: a folder, a file, `demo:minilm`, `file.py:name`, or a function itself.
ModelPath = Union[str, "os.PathLike[str]", Callable[..., Any]]

State = Literal["ready", "loading", "unloaded", "failed"]


@dataclass(frozen=True)
class Source:
    """What a model is loaded from, and how."""

    path: ModelPath
    task: str | None = None
    precision: str = "auto"
    device: str = "auto"

    def directory(self) -> Path | None:
        """The model's folder or file; None for a function. Raises what repository.resolve raises."""
        if not isinstance(self.path, (str, os.PathLike)) or is_function(self.path):
            return None
        return resolve(self.path)


@dataclass
class Known:
    """A model that is served, in memory or not."""

    name: str
    source: Source
    pinned: bool = False
    info: ModelInfo | None = None  # once it was loaded
    used_at: float = 0.0  # time.time()
    loads: int = 0
    unloads: int = 0
    load_seconds: float = 0.0  # of all loads
    error: BaseException | None = None
    failed_at: float = 0.0  # time.monotonic()


@dataclass(frozen=True)
class Residence:
    """Where a served model stands.

    `bytes` is what it takes now, weights and the cache of keys and values; `last_used` seconds since 1970, or None;
    `load_seconds` the time of all its `loads`; `info` None until it was loaded once.
    """

    name: str
    state: State
    bytes: int
    pinned: bool
    last_used: float | None
    loads: int
    unloads: int
    load_seconds: float
    info: ModelInfo | None


class Residency:
    """What an Engine does about memory."""

    _core: _core.Engine
    _models: dict[str, Model]

    def __init__(self, memory_budget: int | None) -> None:
        self._known: dict[str, Known] = {}
        self._budget = MemoryBudget(memory_budget)
        self._flights: dict[str, Future[Model]] = {}
        # Held for as long as a look into dictionaries takes: an event loop may wait for it.
        self._lock = threading.RLock()
        self._one_load = threading.Lock()
        self._core_names = 0
        self._is_closed = False
        self._collected_at = 0.0  # time.monotonic()

    @abstractmethod
    def _load(self, name: str, core_name: str, source: Source) -> Model: ...

    @abstractmethod
    def _retire(self, model: Model) -> weakref.finalize[..., Model]: ...

    @abstractmethod
    def _is_kept(self, name: str) -> bool:
        """Whether something besides requests needs the model in memory."""

    @property
    def memory_budget(self) -> int | None:
        """Bytes that all models together may take; None: no limit."""
        return self._budget.limit

    @property
    def memory_used(self) -> int:
        """Bytes that models take: weights, and caches of keys and values."""
        return self._budget.used

    def _new_core_name(self, name: str) -> str:
        with self._lock:
            self._core_names += 1
            return f"{name[:100]}.{self._core_names}"

    def _know(self, name: str, source: Source, model: Model | None, pinned: bool) -> Known:
        known = Known(name, source, pinned)
        with self._lock:
            self._known[name] = known
            if model is not None:
                self._place(known, model)
        return known

    def _place(self, known: Known, model: Model, seconds: float = 0.0) -> None:
        """`_lock` is held. It is loaded again from the very folder that it was loaded from."""
        known.info = model.info
        if not is_function(known.source.path):
            known.source = replace(known.source, path=model.info.path)
        known.used_at = time.time()
        known.loads += 1
        known.load_seconds += seconds
        known.error = None
        self._models[known.name] = model

    def _found(self, name: str) -> Model | None:
        """The model where it is in memory. ModelNotFoundError, which lists the names there are."""
        with self._lock:
            found = self._models.get(name)
            known = self._known.get(name)
            if known is not None:
                known.used_at = time.time()
            elif found is None:
                raise self._unknown(name)
            return found

    def _unknown(self, name: str) -> ModelNotFoundError:
        error = ModelNotFoundError(
            f"no model is named {name!r}; there is: {', '.join(self._names()) or 'none'}"
        )
        error.code = "model_not_found"
        return error

    def _check_served(self, name: str) -> None:
        if name not in self._known and name not in self._models:
            raise self._unknown(name)

    def _names(self) -> list[str]:
        """Of what is served, in the order it was added."""
        with self._lock:
            return list(dict.fromkeys([*self._known, *self._models]))

    def _fetch(self, name: str) -> Future[Model]:
        """A model that is served and not in memory, on its way there: however many ask, it is loaded once."""
        with self._lock:
            flight = self._flights.get(name)
            if flight is not None:
                return flight
            flight = Future()
            known = self._known.get(name)
            if name in self._models:
                flight.set_result(self._models[name])
            elif known is None:
                flight.set_exception(self._unknown(name))
            elif known.error is not None and time.monotonic() - known.failed_at < RETRY_SECONDS:
                flight.set_exception(known.error)
            else:
                self._flights[name] = flight
                threading.Thread(
                    target=self._fly, args=(known, flight), name="headrace-load", daemon=True
                ).start()
            return flight

    def _fly(self, known: Known, flight: Future[Model]) -> None:
        try:
            with self._one_load:
                begin = time.perf_counter()
                model = self._load(known.name, self._new_core_name(known.name), known.source)
                seconds = time.perf_counter() - begin
            model = self._land(known, model, seconds)
        except BaseException as error:
            with self._lock:
                self._flights.pop(known.name, None)
                if getattr(error, "code", None) != "memory_busy":  # that may be over by the next request
                    # A traceback would keep what its frames have, such as a model that did not pass its gate.
                    known.error, known.failed_at = error.with_traceback(None), time.monotonic()
            flight.set_exception(error)
        else:
            flight.set_result(model)

    def _land(self, known: Known, model: Model, seconds: float) -> Model:
        """Serves what was just loaded, unless the name was given to another meanwhile, or to none."""
        with self._lock:
            self._flights.pop(known.name, None)
            if self._is_closed or self._known.get(known.name) is not known:
                self._retire(model)
                raise self._unknown(known.name)
            if known.name in self._models:
                self._retire(model)
                return self._models[known.name]
            self._place(known, model, seconds)
            return model

    def unload(self, name: str) -> bool:
        """Takes a model out of memory if nobody uses it; it stays served, and the next request loads it again.

        Returns whether it is out of memory. ModelNotFoundError where there is none of that name.

        >>> import headrace
        >>> with headrace.Engine() as engine:
        ...     _ = engine.add("minilm", "demo:minilm").info
        ...     del _
        ...     print(engine.unload("minilm"), engine.residences()[0].state)
        ...     print(engine.model("minilm").embed("back again").shape)
        True unloaded
        (1, 384)
        """
        self._check_served(name)
        with self._lock:
            known = self._known.get(name)
            if known is None or name not in self._models:
                return known is not None
            return not self._is_kept(name) and self._unload(known)

    def _make_room(self, keep: str) -> bool:
        """Begins to unload the model used longest ago of those that nobody uses; whether there is one."""
        with self._lock:
            loaded = [known for name, known in self._known.items() if name in self._models and name != keep]
            for known in sorted(loaded, key=lambda known: known.used_at):
                if not known.pinned and not self._is_kept(known.name) and self._unload(known):
                    return True
        return False

    def _collect(self) -> bool:
        """Has the garbage collector look for models that only a circle of objects still holds, such as an exception
        with its traceback; at most once a second, since it stops every thread. Whether it has."""
        now = time.monotonic()
        if now - self._collected_at < COLLECT_SECONDS:
            return False
        self._collected_at = now
        gc.collect()
        return True

    def _unload(self, known: Known) -> bool:
        """`_lock` is held. Lets go of the model; whoever else holds it is using it, and then it is taken back."""
        model = self._models.pop(known.name)
        key, watched = model._core_name, weakref.ref(model)
        finalizer = self._retire(model)
        del model
        still_there = watched()
        if still_there is None:
            self._budget.leave(key)
            known.unloads += 1
            return True
        finalizer.detach()
        self._models[known.name] = still_there
        return False

    def residences(self) -> list[Residence]:
        """Every served model, in memory or not, in the order it was added; adapters are part of their model."""
        with self._lock:
            return [self._residence(known) for known in self._known.values()]

    def _residence(self, known: Known) -> Residence:
        model = self._models.get(known.name)
        state: State = "ready"
        if model is None:
            is_failed = known.error is not None
            state = "loading" if known.name in self._flights else "failed" if is_failed else "unloaded"
        return Residence(
            name=known.name,
            state=state,
            bytes=0 if model is None else model.info.bytes,
            pinned=known.pinned,
            last_used=known.used_at or None,
            loads=known.loads,
            unloads=known.unloads,
            load_seconds=known.load_seconds,
            info=known.info,
        )

    def _take_memory(
        self, name: str, core_name: str, size: int, read: Callable[[], Model], seconds: float = ROOM_SECONDS
    ) -> Model:
        """Loads by `read` once there is room for about `size` bytes. Raises what MemoryBudget.take and `read` raise."""

        def make_room() -> bool:
            return self._make_room(keep=name) or (self._collect() and self._make_room(keep=name))

        self._budget.take(core_name, size, name, make_room, seconds)
        try:
            model = read()
        except BaseException:
            self._budget.give_back(core_name)
            raise
        actual = model.info.bytes
        try:
            self._budget.correct(core_name, actual, name, make_room, seconds)
        except BaseException:
            self._retire(model)
            del model  # or the traceback would keep it
            raise
        return model
