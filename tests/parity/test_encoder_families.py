"""The encoders of each family against transformers in f32, on tiny random checkpoints; pooled by the mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import task_models
import torch
import transformers

import headrace

TOLERANCE = 2e-5  # docs/numerics.md
# What a checkpoint with a task's head saves in front of the encoder's names, and its bare encoder, must both load.
TEXTS = [
    "a",
    "The mill stands still.",
    "Where is Maria Smith, of Paris (France)? " * 3,
    "wheel " * 20,
    "水车 é",
]


def expected(path: Path, texts: list[str], longest: int) -> np.ndarray:
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path).eval()
    rows = []
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)
        with torch.no_grad():
            rows.append(model(**encoded).last_hidden_state[0].mean(0).numpy())
    return np.stack(rows)


def check(path: Path, family: str) -> None:
    with headrace.load(path, task="embed", precision="f32") as model:
        assert model.info.architecture == family
        texts = [*TEXTS, "the water turns the wheel " * 30]  # the last is cut at the longest
        ours = model.embed(texts, truncate=True)
        np.testing.assert_allclose(ours, expected(path, texts, model.info.max_tokens), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", task_models.FAMILIES)
def test_equals_transformers(tmp_path: Path, family: str) -> None:
    path = task_models.make(tmp_path, family, "SequenceClassification", num_labels=3)
    check(path, family)
    bare = tmp_path / "bare"
    transformers.AutoModel.from_pretrained(path).save_pretrained(bare)
    transformers.AutoTokenizer.from_pretrained(path).save_pretrained(bare)
    check(bare, family)


@pytest.mark.parametrize("name", ["xlm-roberta", "camembert"])
def test_roberta_by_other_names(tmp_path: Path, name: str) -> None:
    path = task_models.make(tmp_path, "roberta", "SequenceClassification", num_labels=3)
    config = path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "roberta"', f'"model_type": "{name}"'))
    check(path, name)


def test_roberta_has_two_positions_fewer_than_rows(tmp_path: Path) -> None:
    path = task_models.make(tmp_path, "roberta", "SequenceClassification", num_labels=3)
    with headrace.load(path, task="embed") as model:
        assert model.info.max_tokens == 96
