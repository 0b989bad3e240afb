"""The function as headrace is given it."""

from __future__ import annotations

import headrace
from rivals.dense import describe


@headrace.model(max_batch=32)
def describe_all(batch: list[str]) -> list[dict[str, int]]:
    return [describe(text) for text in batch]
