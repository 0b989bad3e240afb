"""A job is one call of a task: the items it is about, how the core takes them, and how its numbers become results.

A Model runs jobs, blocking or awaited, whole or in portions; a server runs the same jobs. So each task is written
once, and knows nothing of waiting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from .. import _core
    from ..loaded_model import Model

T = TypeVar("T")


@dataclass(frozen=True)
class Terms:
    """On what terms the core takes a request: when it may start, and what happens when the queue is full."""

    priority: int
    wait: bool
    timeout_us: int
    queue: _core.CompletionQueue | None


class Job(ABC, Generic[T]):
    """`items` are inputs of the same kind; `read` gives one result for each."""

    task: str
    items: Sequence[Any]
    # Of answers longer than this `read` takes more than a millisecond, so they are read off the event loop.
    inline_tokens = 2048
    # Items handed to the core at a time from a long list: enough that the next is tokenised while one runs, few enough
    # that memory does not grow with the list.
    portion = 256
    is_shadowed = True  # whether a model on trial may be asked the same, and the answers be compared

    @abstractmethod
    def submit(self, model: Model, items: Sequence[Any], terms: Terms) -> _core.Ticket:
        """Hands some of the items to the core."""

    @abstractmethod
    def read(self, model: Model, items: Sequence[Any], ticket: _core.Ticket) -> list[T]:
        """The results for these items out of their finished ticket; raises what it failed with."""

    def check(self, model: Model) -> None:  # most jobs have nothing to say before they start
        """Raises what any of the items would raise on being submitted, where that is cheap to know."""

    @property
    def characters(self) -> int:
        """How much there is to tokenise."""
        return sum(len(item) if isinstance(item, str) else sum(map(len, item)) for item in self.items)


def submit_inputs(
    model: Model,
    texts: list[str],
    terms: Terms,
    *,
    pairs: list[str] | None = None,
    argument: str = "input",
    first_argument: str = "input",
    truncate: bool = False,
    stride: int | None = None,
    window: int = 0,
) -> _core.Ticket:
    """Texts or pairs as sequences with types; with a stride, as windows."""
    return model._core.submit_inputs(
        model._core_name, texts, pairs, argument, first_argument, truncate, stride, window,
        terms.priority, terms.wait, terms.timeout_us, terms.queue,
    )  # fmt: skip


def check_count(name: str, value: int, low: int, high: int) -> int:
    """`value` if it lies between the two; InvalidArgumentError that names it otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidArgumentError(f"{name}={value!r}: must be an integer between {low} and {high}")
    return value


def one_text(name: str, value: Any) -> str:
    """A str with something in it."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} is of type {type(value).__name__}; it must be a str")
    if not value:
        raise InvalidArgumentError(f"{name} is an empty string; it needs a character")
    return value


def as_documents(documents: Iterable[str] | str) -> list[str]:
    """What `inputs.as_texts` takes, with messages about documents."""
    from .. import inputs

    if isinstance(documents, str):
        raise InvalidArgumentError("documents is a str; give a list of texts")
    return inputs.as_texts(documents, "documents")
