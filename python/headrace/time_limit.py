"""Until when the request under way is wanted: told by whoever serves it, kept by all work that its task begins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_until: ContextVar[float | None] = ContextVar("until", default=None)  # of time.monotonic


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Work that is begun within has so many seconds from now, or its own timeout where that is shorter."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def shortened(timeout: float | None) -> float | None:
    """The timeout of work that begins now: its own, or what is left to the request under way."""
    until = _until.get()
    if until is None:
        return timeout
    left = max(1e-6, until - time.monotonic())
    return left if timeout is None else min(timeout, left)
