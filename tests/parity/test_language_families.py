"""Language models of every family against transformers: logits, and greedy tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import language_models
import numpy as np
import pytest
import torch

import headrace
from headrace import _core

TOKENS = 100


@pytest.fixture(scope="module", params=list(language_models.FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    directory = tmp_path_factory.mktemp(request.param)
    return directory, language_models.make(request.param, directory)


def _ids(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.random.default_rng(seed).integers(3, 500, count).astype(np.int32)


def _expected(model: Any, ids: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor(ids[None].astype(np.int64))).logits[0].numpy()


def test_logits_are_those_of_transformers(family: tuple[Path, Any]) -> None:
    directory, model = family
    decoder = _core.LanguageModel(str(directory), precision="f32")
    ids = _ids(TOKENS, 1)
    expected = _expected(model, ids)
    scale = float(np.abs(expected).max())
    assert np.abs(decoder.logits(ids) - expected).max() <= 2e-5 * scale


@pytest.mark.parametrize("isa", headrace.info()["runnable_isas"])
def test_every_table_and_precision(family: tuple[Path, Any], isa: str) -> None:
    directory, model = family
    ids = _ids(TOKENS, 2)
    expected = _expected(model, ids)
    for precision, bound in (
        ("f32", 0.999999),
        ("bf16", 0.9995),
        ("int8", 0.997),
        ("q8", 0.999),
        ("q4", 0.93),
    ):
        logits = _core.LanguageModel(str(directory), precision=precision, isa=isa).logits(ids)
        cosine = (logits * expected).sum(1) / (
            np.linalg.norm(logits, axis=1) * np.linalg.norm(expected, axis=1)
        )
        assert cosine.mean() >= bound, precision


@pytest.mark.parametrize("isa", headrace.info()["runnable_isas"])
def test_by_default_weights_are_read_in_half_the_bytes(family: tuple[Path, Any], isa: str) -> None:
    """Whatever multiplies them: a token's time is that of reading them. The reference keeps all as f32."""
    default, named = (
        _core.LanguageModel(str(family[0]), precision=precision, isa=isa).logits(_ids(TOKENS, 4))
        for precision in ("auto", "f32" if isa == "reference" else "bf16")
    )
    assert np.array_equal(default, named)


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8", "q8", "q4"])
def test_steps_of_any_size_give_the_same_bits(family: tuple[Path, Any], precision: str) -> None:
    decoder = _core.LanguageModel(str(family[0]), precision=precision)
    ids = _ids(TOKENS, 3)
    whole = decoder.logits(ids, step=TOKENS)
    for step in (1, 7, 64):
        assert np.array_equal(decoder.logits(ids, step=step), whole), step


def test_greedy_tokens_are_those_of_transformers(family: tuple[Path, Any]) -> None:
    directory, model = family
    decoder = _core.LanguageModel(str(directory), precision="f32")
    ids = _ids(5, 4)
    with torch.no_grad():
        expected = model.generate(
            torch.tensor(ids[None].astype(np.int64)), max_new_tokens=60, do_sample=False, eos_token_id=None
        )[0].numpy()
    for position in range(5, 65):
        following = int(decoder.logits(expected[:position].astype(np.int32))[-1].argmax())
        assert following == expected[position], position
