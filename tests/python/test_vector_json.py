"""Vectors as the bytes of an answer: the binding's own rules; the text itself is tested in C++."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import headrace
from headrace._core import embedding_objects_json

VECTORS = np.random.default_rng(5).standard_normal((7, 33)).astype(np.float32)


def test_decimals_and_base64_hold_every_bit() -> None:
    decimal = json.loads(embedding_objects_json(VECTORS, False))
    coded = json.loads(embedding_objects_json(VECTORS, True))
    assert [row["index"] for row in decimal] == list(range(7))
    assert np.array_equal(np.array([row["embedding"] for row in decimal], np.float32), VECTORS)
    raw = b"".join(base64.b64decode(row["embedding"], validate=True) for row in coded)
    assert np.array_equal(np.frombuffer(raw, "<f4").reshape(VECTORS.shape), VECTORS)


def test_no_rows_are_an_empty_array() -> None:
    assert embedding_objects_json(VECTORS[:0], False) == b"[]"


@pytest.mark.parametrize("wrong", [VECTORS[0], VECTORS[:, ::2], VECTORS[::2], VECTORS.T, VECTORS[None]])
def test_another_layout_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="C-contiguous"):
        embedding_objects_json(wrong, False)


def test_another_type_is_refused() -> None:
    with pytest.raises(TypeError):
        embedding_objects_json(VECTORS.astype(np.float64), False)  # type: ignore[arg-type]


def test_what_json_cannot_say_is_an_internal_error() -> None:
    broken = VECTORS.copy()
    broken[3, 4] = np.nan
    with pytest.raises(headrace.InternalError, match="vector 3"):
        embedding_objects_json(broken, False)
