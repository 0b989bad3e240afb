"""What requests for functions and models of tensors have in common on the short way, whichever route they came by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..predict_methods import raise_failure
from .masking import current_masker

if TYPE_CHECKING:
    from .._core import Call, CompletionQueue
    from ..predict.work import Work


class WorkCall:
    """One request that was understood, and may be work for a model's queue.

    A route makes it, fills in what it knows, and writes the answer.
    """

    __slots__ = ("_model", "_timeout", "_work")

    def __init__(self) -> None:
        self._model: Any = None  # until it is loaded
        self._work: Work | None = None
        self._timeout: float | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory; else only `answer` can run it."""
        return self._model is not None

    @property
    def writes_inline(self) -> bool:
        """Whether it can be submitted, and its answer is one body that needs nothing of the request's context."""
        return self._work is not None and current_masker() is None

    def submit(self, queue: CompletionQueue) -> Call:
        """Starts it; `queue` hears of its end, unless the call is finished already."""
        assert self._work is not None
        begun: Call = self._model._begin_call(self._work, self._timeout, "interactive", "refuse", queue)
        return begun

    def cancel(self, call: Call) -> None:
        self._model._queue().cancel(call.id)

    def result_of(self, call: Call) -> Work:
        """What a finished call holds; raises what it failed with."""
        assert self._work is not None
        raise_failure(self._work, call)
        return self._work

    def cost(self, call: Call) -> int:
        """What it takes of its key's limits."""
        return call.items
