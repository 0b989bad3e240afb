"""Numbers of JSON as arrays: what numpy makes of Python's own reading, or nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from headrace import _core


def value(chance: random.Random, depth: int) -> Any:
    """Nested lists, nearly always of numbers and of one length."""
    if depth == 0 or chance.random() < 0.05:
        kinds: list[Any] = [
            chance.uniform(-1, 1), chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300),
            float(np.float32(chance.gauss(0, 1))), chance.randint(-(10**15) + 1, 10**15 - 1), chance.randint(0, 9), 0.0,
        ]  # fmt: skip
        return chance.choice(
            [*kinds, *kinds, *kinds, None, True, "1", 10**15] if chance.random() < 0.02 else kinds
        )
    return [value(chance, depth - 1) for _ in range(chance.choice([0, 2, 2, 2, 2, 2, 2, 2, 3]))]


def test_they_are_those_of_numpy() -> None:
    chance = random.Random(1)
    read = 0
    for round_ in range(3000):
        given = value(chance, round_ % 4)
        text = json.dumps(given, indent=chance.choice([None, None, 1])).encode()
        found = _core.json_numbers(text)
        if found is None:
            continue
        read += 1
        expected = np.asarray(given)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), text
        np.testing.assert_array_equal(found, expected)
    assert read > 1000


def test_members_of_an_object() -> None:
    found = _core.json_tensors(b'{"x": [[1, 2.5]], "id": 7, "none": []}')
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"x": [[1, 2.5]], "id": 7, "none": []}
    assert [array.dtype.name for array in found.values()] == ["float64", "int64", "float64"]


@pytest.mark.parametrize("text", [b"", b"{}", b'{"x": "a"}', b'{"x": 1, "x": 2}', b'{"x": [1, [2]]}', b"[1]"])
def test_the_rest_is_left_to_others(text: bytes) -> None:
    assert _core.json_tensors(text) is None
