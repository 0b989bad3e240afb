"""Functions for `headrace serve tests/python/served_functions.py:NAME`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import headrace


@headrace.model(max_batch=16)
def double(batch: list[Any]) -> list[Any]:
    return [2 * item for item in batch]


@headrace.model
def spell(batch: list[str]) -> Iterator[list[str | None]]:
    for i in range(max(map(len, batch))):
        yield [word[i] if i < len(word) else None for word in batch]


@headrace.model
def endless(batch: list[Any]) -> Iterator[list[int]]:
    for i in range(100_000):
        time.sleep(0.001)
        yield [i] * len(batch)


@headrace.model(
    inputs={"x": "float32[4]", "id": headrace.TensorSpec("id", "int64", low=0, high=99)},
    outputs={"y": "float32[2]", "id": "int64", "name": "str"},
)
class Dense:
    def __init__(self) -> None:
        self.weights = np.arange(8, dtype=np.float32).reshape(4, 2) / 7

    def __call__(self, x: Any, id: Any) -> dict[str, Any]:
        return {"y": x @ self.weights, "id": id + 1, "name": [f"n{each}" for each in id]}


@headrace.model
def secretive(batch: list[str]) -> list[str]:
    return [f"call +49 30 1234567 or {text}" for text in batch]


@headrace.model
def breaking(batch: list[Any]) -> Iterator[list[str]]:
    yield ["a"] * len(batch)
    yield ["\ud800"] * len(batch)  # which is no text that can be sent


@headrace.model
def failing(batch: list[Any]) -> list[Any]:
    raise KeyError(batch[0])


@headrace.model
def weighed(batch: list[Any]) -> list[float]:
    return [2.0 * item["a"] - item["b"] for item in batch]


_ran = [0]


@headrace.model(max_batch=4)
def slow(batch: list[Any]) -> list[float]:
    """The sum of a dict; of anything else how many dicts there were."""
    found = []
    for item in batch:
        if isinstance(item, dict):
            time.sleep(0.02)
            _ran[0] += 1
        found.append(float(sum(item.values())) if isinstance(item, dict) else float(_ran[0]))
    return found


@headrace.model(inputs={"data": "bytes"}, outputs={"length": "int64", "data": "bytes"})
def measure(data: Any) -> dict[str, Any]:
    return {"length": np.array([len(each) for each in data]), "data": data}


@headrace.model
def gossip(batch: list[str]) -> Iterator[list[str]]:
    for i in range(200 if any(batch) else 1):
        time.sleep(0.01)
        yield [f"{i}: {text}" for text in batch]
