"""SigLIP against transformers, preprocessing and tokenizer included, on tiny random checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import vision_models
from PIL import Image

import headrace

TOLERANCE = 2e-5
PHOTOGRAPHS = vision_models.photographs()
TEXTS = [
    "a photo of a mill",
    "  The WHEEL,  turns!\n",
    "Maria Smith, of Paris (France)! [x] `y` {z}~ -a_b",
    "é 水车 \u2581 under\u2581line",
    "?!",
    "the wheel turns in the water " * 5,
]
SHAPES: list[dict[str, Any]] = [
    {},
    # Patches that do not fill the picture, heads of an odd size.
    {"size": 45, "patch": 14, "hidden_size": 72, "num_attention_heads": 4, "intermediate_size": 100},
]


def pixel_values(path: Path) -> torch.Tensor:
    processor = transformers.SiglipImageProcessorPil.from_pretrained(path)
    images = [Image.fromarray(picture) for picture in PHOTOGRAPHS]
    return processor(images, return_tensors="pt")["pixel_values"].float()


def check(path: Path, expected: np.ndarray, **inputs: Any) -> None:
    """All inputs at once and each alone, in each precision."""
    [(argument, values)] = inputs.items()
    options: dict[str, Any] = {"truncate": True} if argument == "texts" else {}
    for precision, least in (("f32", 1 - 1e-6), ("bf16", 0.9995), ("int8", 0.997)):
        with headrace.load(path, precision=precision) as model:
            whole = model.embed(**inputs, **options)
            assert vision_models.cosine(whole, expected) >= least
            if precision == "f32":
                np.testing.assert_allclose(whole, expected, rtol=0, atol=TOLERANCE)
            for value, row in zip(values[:4], whole, strict=False):
                np.testing.assert_array_equal(model.embed(**{argument: value}, **options)[0], row)


@pytest.mark.parametrize("shape", SHAPES, ids=["even", "odd"])
@pytest.mark.parametrize("part", ["", "vision"])
def test_siglip_sees(tmp_path: Path, part: str, shape: dict[str, Any]) -> None:
    path = vision_models.siglip(tmp_path, part, **shape)
    pixels = pixel_values(path)
    expected = vision_models.reference(path, "SiglipVisionModel", lambda model: model(pixels).pooler_output)
    check(path, expected, images=PHOTOGRAPHS)


@pytest.mark.parametrize("shape", SHAPES, ids=["even", "odd"])
@pytest.mark.parametrize("part", ["", "text"])
def test_siglip_reads(tmp_path: Path, part: str, shape: dict[str, Any]) -> None:
    path = vision_models.siglip(tmp_path, part, **shape)
    tokenizer = transformers.SiglipTokenizer.from_pretrained(path)
    ids = tokenizer(TEXTS, return_tensors="pt", padding="max_length", truncation=True)["input_ids"]
    expected = vision_models.reference(
        path, "SiglipTextModel", lambda model: model(input_ids=ids).pooler_output
    )
    check(path, expected, texts=TEXTS)
    with headrace.load(path, precision="f32") as model:
        found = [list(model.tokenizer.encode(text).ids) for text in TEXTS]
        assert found == [tokenizer(text)["input_ids"] for text in TEXTS]
        with pytest.raises(headrace.InvalidArgumentError, match="at most 16"):
            model.embed(TEXTS[-1])


def test_siglip_files_may_be_sparse(tmp_path: Path) -> None:
    """The published files leave out what is usual; the pad token is the tokenizer's own."""
    path = vision_models.siglip(tmp_path)
    tokenizer = transformers.SiglipTokenizer.from_pretrained(path, pad_token="<unk>")
    tokenizer.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        for name in ("hidden_act", "layer_norm_eps", "projection_size", "vision_use_head", "num_channels"):
            config[tower].pop(name, None)
    (path / "config.json").write_text(json.dumps(config))
    (path / "preprocessor_config.json").unlink()
    ids = tokenizer(TEXTS[:2], return_tensors="pt", padding="max_length")["input_ids"]
    with headrace.load(path, precision="f32") as model:
        expected = vision_models.reference(path, "SiglipTextModel", lambda m: m(input_ids=ids).pooler_output)
        np.testing.assert_allclose(model.embed(TEXTS[:2]), expected, rtol=0, atol=TOLERANCE)
    config["vision_config"]["vision_use_head"] = False
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(headrace.UnsupportedError, match="vision_use_head"):
        headrace.load(path)


def test_siglip_classifies(tmp_path: Path) -> None:
    path = vision_models.siglip(tmp_path, labels=5)
    pixels = pixel_values(path)
    expected = vision_models.reference(
        path, "SiglipForImageClassification", lambda m: m(pixels).logits.softmax(1)
    )
    with headrace.load(path, precision="f32") as model:
        assert (model.info.task, model.info.modalities) == ("classify", ("image",))
        for labels, row in zip(model.classify(images=PHOTOGRAPHS), expected, strict=True):
            scores = {label.label: label.score for label in labels}
            np.testing.assert_allclose(
                [scores[name] for name in model.info.labels], row, rtol=0, atol=TOLERANCE
            )
    with headrace.load(path, task="embed", precision="f32") as model:
        vectors = vision_models.reference(
            path, "SiglipForImageClassification", lambda m: m.vision_model(pixels).pooler_output
        )
        np.testing.assert_allclose(model.embed(images=PHOTOGRAPHS), vectors, rtol=0, atol=TOLERANCE)
