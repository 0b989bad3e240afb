"""What a request costs, told by the models to whoever asks: every protocol, and every route to come, is counted alike.

usage = Usage()
with counting(usage):
    await model.aembed("hello")
usage.prompt_tokens
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Usage:
    """Tokens, as far as the work has come."""

    __slots__ = ("generated_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.generated_tokens = 0

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


@contextmanager
def counting(usage: Usage) -> Iterator[None]:
    """Work begun within is counted in `usage`."""
    token = current_usage.set(usage)
    try:
        yield
    finally:
        current_usage.reset(token)
