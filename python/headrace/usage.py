"""What a request costs, told by the models to whoever asks: every protocol, and every route to come, is counted alike.

Whoever serves a request puts a Usage in `current_usage`; the work that its task begins is counted there.
"""

from __future__ import annotations

import time
from contextvars import ContextVar


class Usage:
    """Tokens, as far as the work has come, and its phases where someone wants to know them: name, begin and end in
    seconds of time.perf_counter."""

    __slots__ = ("generated_tokens", "phases", "prompt_tokens")

    def __init__(self, with_phases: bool = False) -> None:
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.phases: list[tuple[str, float, float]] | None = [] if with_phases else None

    def add(self, prompt_tokens: int, generated_tokens: int = 0) -> None:
        self.prompt_tokens += prompt_tokens
        self.generated_tokens += generated_tokens

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.generated_tokens


current_usage: ContextVar[Usage | None] = ContextVar("current_usage", default=None)


def add_usage(prompt_tokens: int, generated_tokens: int = 0) -> None:
    """Counts work of the request that the running task serves, if it serves one."""
    usage = current_usage.get()
    if usage is not None:
        usage.add(prompt_tokens, generated_tokens)


def add_phase(name: str, begin: float) -> float:
    """Notes that a phase of the running request ends now; returns now, in seconds of time.perf_counter."""
    now = time.perf_counter()
    usage = current_usage.get()
    if usage is not None and usage.phases is not None:
        usage.phases.append((name, begin, now))
    return now
