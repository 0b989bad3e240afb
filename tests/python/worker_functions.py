"""Functions for worker processes, which import them from here."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

import headrace


@headrace.model(workers=2, max_batch=8)
class Pids:
    """Answers with its process; loads once."""

    def __init__(self) -> None:
        self.made_in = os.getpid()

    def __call__(self, batch: list[Any]) -> list[Any]:
        return [{"item": item, "pid": os.getpid(), "made_in": self.made_in} for item in batch]


@headrace.model(workers=1, max_batch=16, max_wait=0.02, time_limit=1.0)
def fragile(batch: list[Any]) -> list[Any]:
    """Crashes, hangs or raises as an item says."""
    answers: list[Any] = []
    for item in batch:
        if not isinstance(item, str):
            answers.append(item)
            continue
        if item == "exit":
            os._exit(3)
        if item == "segfault":
            ctypes.string_at(0)
        if item == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "hang":
            time.sleep(60)
        if item == "raise":
            raise ValueError(item)
        if item == "refuse":
            answers.append(headrace.InvalidArgumentError("refused: try another"))
        elif item == "strange":
            answers.append(object())
        else:
            answers.append(item)
    return answers


@headrace.model(workers=1)
def letters(batch: list[str]) -> Iterator[list[str]]:
    yield from map(list, zip(*batch, strict=True))


@headrace.model(workers=1)
async def slow_letters(batch: list[str]) -> AsyncIterator[list[str]]:
    for each in zip(*batch, strict=True):
        yield list(each)


@headrace.model(workers=1)
async def later(batch: list[int]) -> list[int]:
    return [x + 1 for x in batch]


@headrace.model(
    workers=1, inputs={"x": "float32[?, ?]", "name": "str"}, outputs={"sum": "float32", "name": "str"}
)
def total(x: Any, name: Any) -> dict[str, Any]:
    return {"sum": x.sum(axis=(1, 2)), "name": [each[::-1] for each in name]}


@headrace.model(workers=2, max_batch=8, max_wait=0.001)
def slow_double(batch: list[float]) -> list[Any]:
    """Twice as much, and who says so."""
    time.sleep(0.01)
    return [[2 * x, os.getpid()] for x in batch]


@headrace.model(workers=1)
class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no weights here")

    def __call__(self, batch: list[Any]) -> list[Any]:
        return batch


@headrace.model(workers=1)
def pictures(batch: list[Any]) -> list[Any]:
    return [float(np.asarray(item).mean()) for item in batch]
