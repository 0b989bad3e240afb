"""ViT and CLIP against transformers, preprocessing included, on tiny random checkpoints."""

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
from headrace import pictures

TOLERANCE = 2e-5
TEXTS = ["a photo of a mill", "the wheel", "Maria Smith, of Paris (France)! Maria", "é"]
PHOTOGRAPHS = vision_models.photographs()


def pixel_values(path: Path) -> torch.Tensor:
    kind = json.loads((path / "preprocessor_config.json").read_text())["image_processor_type"]
    processor = getattr(transformers, kind).from_pretrained(path)
    images = [Image.fromarray(picture) for picture in PHOTOGRAPHS]
    return processor(images, return_tensors="pt")["pixel_values"].float()


def check(path: Path, reference: np.ndarray, **options: Any) -> None:
    with headrace.load(path, precision="f32") as model:
        assert "image" in model.info.modalities
        whole = model.embed(images=PHOTOGRAPHS)
        np.testing.assert_allclose(whole, reference, rtol=0, atol=TOLERANCE)
        for picture, row in zip(PHOTOGRAPHS, whole, strict=True):
            np.testing.assert_array_equal(model.embed(images=picture)[0], row)  # alone and in company
        planes = pixel_values(path).numpy()
        np.testing.assert_allclose(model.embed(images=planes), reference, rtol=0, atol=TOLERANCE)
    for precision, least in (("bf16", 0.9995), ("int8", 0.997)):
        with headrace.load(path, precision=precision) as model:
            narrow = model.embed(images=PHOTOGRAPHS)
            assert vision_models.cosine(narrow, reference) >= least
            np.testing.assert_array_equal(model.embed(images=PHOTOGRAPHS[:1])[0], narrow[0])


def test_vit(tmp_path: Path) -> None:
    path = vision_models.vit(tmp_path, labels=0)
    pixels = pixel_values(path)
    check(
        path, vision_models.reference(path, "ViTModel", lambda model: model(pixels).last_hidden_state[:, 0])
    )


@pytest.mark.parametrize("settings", [{}, {"hidden_act": "gelu_new", "qkv_bias": False, "patch": 16}])
def test_vit_classifies(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = vision_models.vit(tmp_path, **settings)
    pixels = pixel_values(path)
    reference = vision_models.reference(
        path, "ViTForImageClassification", lambda model: model(pixels).logits.softmax(1)
    )
    with headrace.load(path, precision="f32") as model:
        assert (model.info.task, model.info.image_size, model.info.modalities) == (
            "classify",
            (48, 48),
            ("image",),
        )
        found = model.classify(images=PHOTOGRAPHS)
        for labels, row in zip(found, reference, strict=True):
            scores = {label.label: label.score for label in labels}
            np.testing.assert_allclose(
                [scores[name] for name in model.info.labels], row, rtol=0, atol=TOLERANCE
            )
        assert [len(labels) for labels in model.classify(images=PHOTOGRAPHS, top_k=2)] == [2] * len(
            PHOTOGRAPHS
        )
    with headrace.load(path, task="embed", precision="f32") as model:
        states = vision_models.reference(
            path, "ViTForImageClassification", lambda m: m.vit(pixels).last_hidden_state[:, 0]
        )
        np.testing.assert_allclose(model.embed(images=PHOTOGRAPHS), states, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("part", ["", "vision"])
def test_clip_sees(tmp_path: Path, part: str) -> None:
    path = vision_models.clip(tmp_path, part)
    pixels = pixel_values(path)
    check(
        path,
        vision_models.reference(
            path, "CLIPVisionModelWithProjection", lambda model: model(pixels).image_embeds
        ),
    )


@pytest.mark.parametrize("eos", [None, 2], ids=["end", "largest"])
@pytest.mark.parametrize("part", ["", "text"])
def test_clip_reads(tmp_path: Path, part: str, eos: int | None) -> None:
    path = vision_models.clip(tmp_path, part, eos=eos)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    longest = "the wheel turns in the water " * 4
    rows = []
    for text in [*TEXTS, longest]:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=20)
        ids = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        rows.append(
            vision_models.reference(
                path, "CLIPTextModelWithProjection", lambda m, ids=ids: m(**ids).text_embeds[0]
            )
        )
    reference = np.stack(rows)
    with headrace.load(path, precision="f32") as model:
        whole = model.embed([*TEXTS, longest], truncate=True)
        np.testing.assert_allclose(whole, reference, rtol=0, atol=TOLERANCE)
        np.testing.assert_array_equal(model.embed(TEXTS[1])[0], whole[1])
    for precision, least in (("bf16", 0.9995), ("int8", 0.997)):
        with headrace.load(path, precision=precision) as model:
            assert vision_models.cosine(model.embed(TEXTS), reference[:-1]) >= least


async def test_texts_and_pictures_share_batches(tmp_path: Path) -> None:
    import asyncio

    with headrace.load(vision_models.clip(tmp_path)) as model:
        texts, seen = model.embed(TEXTS), model.embed(images=PHOTOGRAPHS)
        assert texts.shape[1] == seen.shape[1] == model.info.dimensions
        calls = [model.aembed(text) for text in TEXTS] + [model.aembed(images=each) for each in PHOTOGRAPHS]
        rows = await asyncio.gather(*calls)
        np.testing.assert_array_equal(np.concatenate(rows), np.concatenate([texts, seen]))


def test_other_preprocessing(tmp_path: Path) -> None:
    """What preprocessor_config.json may say otherwise, and what cannot be done."""
    path = vision_models.vit(tmp_path, labels=0)
    file = path / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    changed = {
        "resample": 3,
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.4],
        "rescale_factor": 1 / 200,
    }
    file.write_text(json.dumps(settings | changed))
    pixels = pixel_values(path)
    check(
        path, vision_models.reference(path, "ViTModel", lambda model: model(pixels).last_hidden_state[:, 0])
    )
    for wrong, message in (
        ({"size": {"height": 32, "width": 32}}, "image_size"),
        ({"resample": 0}, "bicubic"),
        ({"image_std": [0, 1, 1]}, "image_std"),
        ({"do_resize": False}, "do_resize"),
    ):
        file.write_text(json.dumps(settings | wrong))
        with pytest.raises(headrace.Error, match=message):
            headrace.load(path)
    file.unlink()
    with headrace.load(path) as model:
        assert model.info.image_size == (48, 48)


def test_each_model_takes_what_it_takes(tmp_path: Path) -> None:
    with headrace.load(vision_models.vit(tmp_path / "vit", labels=0)) as sees:
        with pytest.raises(headrace.InvalidArgumentError, match="reads no texts") as told:
            sees.embed("a mill")
        assert told.value.code == "wrong_input"
        with pytest.raises(headrace.InvalidArgumentError, match="both given"):
            sees.embed("a mill", images=PHOTOGRAPHS)
        with pytest.raises(headrace.InvalidArgumentError, match="empty list"):
            sees.embed(images=[])
        with pytest.raises(headrace.InvalidArgumentError, match=r"images\[1\]: the picture"):
            sees.embed(images=[PHOTOGRAPHS[0], b"\xff\xd8\xff\xe0nothing"])
        with pytest.raises(headrace.InvalidArgumentError, match="planes of 5 x 4"):
            sees.embed(images=np.zeros((3, 4, 5), np.float32))
        with pytest.raises(headrace.InvalidArgumentError, match="infinity"):
            sees.embed(images=np.full((3, 48, 48), np.inf, np.float32))
        with pytest.raises(headrace.UnsupportedError, match="no tokenizer"):
            sees.tokenizer.encode("a")
        assert pictures.MAX_PIXELS > 12_000_000
    with (
        headrace.load("demo:minilm") as reads,
        pytest.raises(headrace.InvalidArgumentError, match="no images") as told,
    ):
        reads.embed(images=PHOTOGRAPHS)
    assert told.value.code == "wrong_input"
