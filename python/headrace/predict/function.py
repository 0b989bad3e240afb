"""@headrace.model: a Python function, or a class with __call__, that takes a batch, as a model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, overload

from ..errors import InvalidArgumentError
from .signature import Signature

_MAX_WORKERS = 64


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a model outside the core wants its batches.

    Args:
        max_batch: items that run together at most.
        max_wait: seconds that a batch which is not full waits for more; without it a batch holds what came while the
            one before ran.
        concurrency: batches that run at a time in this process; None: 1, or 8 of an async function.
        workers: processes that run the batches, instead of this one; 0: none.
        time_limit: seconds after which a worker that has not finished its batch is killed and replaced.
    """

    max_batch: int = 32
    max_wait: float = 0.0
    concurrency: int | None = None
    workers: int = 0
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_batch, int) or not 1 <= self.max_batch <= 65536:
            raise InvalidArgumentError(f"max_batch={self.max_batch!r}: must be between 1 and 65536")
        if not 0 <= self.max_wait <= 10:
            raise InvalidArgumentError(f"max_wait={self.max_wait!r}: must be between 0 and 10 seconds")
        if not isinstance(self.workers, int) or not 0 <= self.workers <= _MAX_WORKERS:
            raise InvalidArgumentError(f"workers={self.workers!r}: must be between 0 and {_MAX_WORKERS}")
        if self.concurrency is not None and not 1 <= self.concurrency <= 256:
            raise InvalidArgumentError(
                f"concurrency={self.concurrency!r}: must be between 1 and 256, or None"
            )
        if self.time_limit is not None and (self.workers == 0 or not self.time_limit > 0):
            raise InvalidArgumentError(
                f"time_limit={self.time_limit!r}: needs workers=1 or more, since a thread cannot be stopped, and must "
                "be above 0 seconds"
            )
        if self.workers and self.concurrency is not None:
            raise InvalidArgumentError(
                "concurrency and workers: give one; each worker runs one batch at a time"
            )


class Function:
    """A function or class that takes a batch, with what it wants; made by `headrace.model`. Calling it calls that.

    arguments: of a class, what its instances are made with: numbers, texts, lists and dicts, since workers are told.
    """

    def __init__(
        self,
        made_of: Callable[..., Any],
        options: BatchOptions,
        signature: Signature | None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(made_of):
            raise InvalidArgumentError(f"headrace.model: {made_of!r} is no function or class")
        if inspect.isclass(made_of) and not any("__call__" in vars(base) for base in made_of.__mro__):
            raise InvalidArgumentError(f"headrace.model: the class {made_of.__name__} has no __call__")
        self.made_of = made_of
        self.options = options
        self.signature = signature
        self.arguments = dict(arguments or {})
        functools.update_wrapper(self, made_of, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.made_of(*args, **kwargs)

    def made(self) -> Callable[..., Any]:
        """The function, or an instance of the class: it loads here what it needs."""
        if not inspect.isclass(self.made_of):
            return self.made_of
        found: Any = self.made_of(**self.arguments)
        if not callable(found):
            raise InvalidArgumentError(f"headrace.model: the class {self.made_of.__name__} has no __call__")
        return cast("Callable[..., Any]", found)

    @property
    def kind(self) -> str:
        """ "plain", "async", "generator" or "async generator"."""
        called: Any = self.made_of.__call__ if inspect.isclass(self.made_of) else self.made_of
        if not inspect.isroutine(called):
            called = type(called).__call__  # an object with __call__
        if inspect.isasyncgenfunction(called):
            return "async generator"
        if inspect.iscoroutinefunction(called):
            return "async"
        return "generator" if inspect.isgeneratorfunction(called) else "plain"

    @property
    def streams(self) -> bool:
        return self.kind.endswith("generator")

    def __repr__(self) -> str:
        return f"headrace.model({getattr(self.made_of, '__qualname__', self.made_of)!s}, {self.options})"


@overload
def model(function: Callable[..., Any], /) -> Function: ...
@overload
def model(
    *,
    max_batch: int = ...,
    max_wait: float = ...,
    concurrency: int | None = ...,
    workers: int = ...,
    time_limit: float | None = ...,
    inputs: Mapping[str, Any] | None = ...,
    outputs: Mapping[str, Any] | None = ...,
) -> Callable[[Callable[..., Any]], Function]: ...
def model(
    function: Callable[..., Any] | None = None,
    /,
    *,
    max_batch: int = 32,
    max_wait: float = 0.0,
    concurrency: int | None = None,
    workers: int = 0,
    time_limit: float | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> Any:
    """Makes a function, or a class with `__call__`, a model: `Engine.add` takes it, and the core batches for it.

    It is always given a batch, whatever the settings: a list of items, of which it gives a list of as many answers; or,
    with `inputs` and `outputs`, arrays [n, ...] as keyword arguments, of which it gives an array, a tuple or a dict of
    arrays with as many rows. It may be `async`; a generator (plain or async) streams: each `yield` gives a list with
    one piece for each item, None where there is none. An answer that is an exception fails its item alone. A batch that
    raises is tried again request by request, so that one request's fault is not another's.

    A class is made once (once in each worker), so `__init__` is the place to load weights.

    Args:
        max_batch, max_wait, concurrency, workers, time_limit: see BatchOptions. Workers are for functions that hold the
            interpreter's lock, or that may crash or hang: items reach them through shared memory, as JSON values,
            bytes and arrays. A request in whose company a worker dies twice is refused from then on.
        inputs, outputs: the tensors of one item by name: "float32[3, 224, 224]", "int64[?]", "str", or a TensorSpec.

    Raises InvalidArgumentError for settings out of range.

    >>> import headrace
    >>> @headrace.model(max_batch=8)
    ... def double(batch):
    ...     return [2 * x for x in batch]
    >>> with headrace.Engine() as engine:
    ...     _ = engine.add("double", double)
    ...     engine.predict("double", 21)
    42
    """
    options = BatchOptions(
        max_batch=max_batch,
        max_wait=max_wait,
        concurrency=concurrency,
        workers=workers,
        time_limit=time_limit,
    )
    signature = None if inputs is None and outputs is None else Signature.parse(inputs or {}, outputs or {})
    if function is not None:
        return Function(function, options, signature)
    return lambda made_of: Function(made_of, options, signature)


def as_function(given: Any) -> Function | None:
    """A Function as it is, a callable as one with the usual settings; None for anything else, such as a path."""
    if isinstance(given, Function):
        return given
    return Function(given, BatchOptions(), None) if callable(given) else None
