"""Every module of sentence-transformers behind an encoder, against that library in f32 on models that it saved.

The encoders are tiny and random. Fewer bits are compared by cosines, other company bit by bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_models
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

import headrace

TOLERANCE = 2e-5  # docs/numerics.md
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
TEXTS = [
    "a",
    "The mill stands still.",
    "Where is Maria Smith, of Paris (France)?",
    "wheel " * 20,
    "水车 é",
    "the water turns the wheel of the mill " * 4,
]
PROMPTS = {"query": "Where is the mill? ", "passage": "the water: "}


def saved(tmp_path: Path, behind: Iterable[Any], *, family: str = "bert", **settings: Any) -> Path:
    """The folder of a model of these modules, as sentence-transformers saves it."""
    encoder = task_models.make(tmp_path, family, "SequenceClassification", num_labels=3)
    torch.manual_seed(7)
    made = [modules.Transformer(str(encoder)), *behind]
    for module in made[1:]:
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path / "model"
    SentenceTransformer(modules=made, device="cpu", **settings).save(str(path))
    return path


def check(path: Path, texts: list[str] = TEXTS, **options: Any) -> None:
    """Equal to the library; with one prompt name for both."""
    expected = SentenceTransformer(str(path), device="cpu").encode(texts, batch_size=4, **options)
    with headrace.load(path, precision="f32") as model:
        ours = model.embed(texts, **options)
        assert model.info.task == "embed"
        assert ours.shape == expected.shape
        # Sums over a sequence and matrices behind it are larger than what the bound was set for.
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(ours / scale, expected / scale, rtol=0, atol=TOLERANCE)
        alone = np.concatenate([model.embed(text, **options) for text in texts])
        assert np.array_equal(alone, ours), "alone, other bits"
    for precision, least in (("bf16", 0.9995), ("int8", 0.98)):
        with headrace.load(path, precision=precision) as model:
            narrow = model.embed(texts, **options)
        lengths = np.linalg.norm(narrow, axis=1) * np.linalg.norm(ours, axis=1)
        cosines = (narrow * ours).sum(axis=1) / lengths
        assert cosines.min() >= least, (precision, cosines)


@pytest.mark.parametrize("mode", [*MODES, ("mean", "cls", "max"), MODES, ("lasttoken", "lasttoken")])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pooling(tmp_path: Path, mode: Any, family: str) -> None:
    check(saved(tmp_path, [modules.Pooling(32, pooling_mode=mode)], family=family))


@pytest.mark.parametrize("active", [MODES[:1], MODES[2:3], MODES[1:4], MODES, ()])
def test_pooling_as_older_versions_wrote_it(tmp_path: Path, active: tuple[str, ...]) -> None:
    path = saved(tmp_path, [modules.Pooling(32)])
    keys = (
        "cls_token",
        "max_tokens",
        "mean_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    )
    flags = {f"pooling_mode_{key}": mode in active for key, mode in zip(keys, MODES, strict=True)}
    flags = dict(reversed(flags.items()))  # their order in the file says nothing
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **flags}))
    check(path)


ACTIVATIONS = ("Identity", "Tanh", "GELU", "ReLU", "LeakyReLU", "ELU", "SiLU", "Sigmoid", "Softplus", "Mish")


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_dense(tmp_path: Path, name: str, bias: bool) -> None:
    dense = modules.Dense(32, 17, bias=bias, activation_function=getattr(torch.nn, name)())
    check(saved(tmp_path, [modules.Pooling(32), dense]))


@pytest.mark.parametrize("width", [32, 20])
def test_dense_with_a_residual(tmp_path: Path, width: int) -> None:
    check(saved(tmp_path, [modules.Pooling(32), modules.Dense(32, width, use_residual=True)]))


def chain(name: str) -> list[Any]:
    one, two = modules.Dense(32, 48), modules.Dense(48, 8, activation_function=torch.nn.Identity())
    chains = {
        "normalize": [modules.Normalize()],
        "dense, dense, normalize": [one, two, modules.Normalize()],
        "norm, dense, dropout, norm": [
            modules.LayerNorm(32),
            one,
            modules.Dropout(0.5),
            modules.LayerNorm(48),
        ],
        "normalize, dense, normalize, norm, dense": [
            *(modules.Normalize(), one, modules.Normalize(), modules.LayerNorm(48), two),
        ],
    }
    return chains[name]


@pytest.mark.parametrize(
    "name",
    [
        "normalize",
        "dense, dense, normalize",
        "norm, dense, dropout, norm",
        "normalize, dense, normalize, norm, dense",
    ],
)
def test_modules_in_any_order(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, [modules.Pooling(32), *chain(name)])
    check(path)
    with headrace.load(path) as model:
        assert model.info.normalized == name.endswith("normalize")


def test_many_texts_go_through_in_parts(tmp_path: Path) -> None:
    path = saved(tmp_path, [modules.Pooling(32, pooling_mode=MODES), modules.Dense(192, 16)])
    check(path, [f"wheel {i} turns" for i in range(150)])


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_prompts(tmp_path: Path, include: bool, family: str) -> None:
    pooling = modules.Pooling(32, pooling_mode=MODES, include_prompt=include)
    path = saved(tmp_path, [pooling], family=family, prompts=PROMPTS)
    with headrace.load(path) as model:
        assert {name: text for name, text in model.info.prompts.items() if text} == PROMPTS
        assert model.info.default_prompt is None
    for options in ({}, {"prompt_name": "query"}, {"prompt_name": "passage"}, {"prompt": "Maria: "}):
        check(path, **options)


def test_the_default_prompt_stands_unasked(tmp_path: Path) -> None:
    path = saved(tmp_path, [modules.Pooling(32)], prompts=PROMPTS, default_prompt_name="query")
    check(path)
    check(path, prompt="")
    with headrace.load(path) as model:
        assert model.info.default_prompt == "query"
        assert np.array_equal(model.embed("wheel"), model.embed("wheel", prompt_name="query"))
        assert not np.array_equal(model.embed("wheel"), model.embed("wheel", prompt=""))
        assert np.array_equal(model.embed("wheel"), model.embed(PROMPTS["query"] + "wheel", prompt=""))


def test_special_tokens_of_a_prompt_are_special_and_of_a_text_are_not(tmp_path: Path) -> None:
    path = saved(tmp_path, [modules.Pooling(32, include_prompt=False)], prompts={"query": "[SEP] mill: "})
    check(path, prompt_name="query")
    with headrace.load(path) as model:
        plain = model.embed("the [SEP] wheel", prompt_name="query")
        assert not np.array_equal(plain, model.embed("wheel", prompt="[SEP] mill: the [SEP] "))


@pytest.mark.parametrize("normalize", [True, False])
def test_dimensions(tmp_path: Path, normalize: bool) -> None:
    path = saved(tmp_path, [modules.Pooling(32), *([modules.Normalize()] if normalize else [])])
    reference = SentenceTransformer(str(path), device="cpu")
    with headrace.load(path, precision="f32") as model:
        for width in (1, 8, 31, 32):
            ours = model.embed(TEXTS, dimensions=width)
            expected = reference.encode(TEXTS, truncate_dim=width, normalize_embeddings=True)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)
        if normalize:
            assert np.array_equal(model.embed(TEXTS), model.embed(TEXTS, dimensions=32))


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, [modules.Pooling(32)], similarity_fn_name=name)
    reference = SentenceTransformer(str(path), device="cpu")
    with headrace.load(path, precision="f32") as model:
        assert model.info.similarity == name
        vectors = model.embed(TEXTS)
        expected = reference.similarity(vectors, vectors[:2]).numpy()
        ours = model.similarity(vectors, vectors[:2])
        # Their distances have a minus. Our euclidean one is taken from products: near 0 it has half the digits.
        sign = -1 if name in ("euclidean", "manhattan") else 1
        bound = 5e-3 if name == "euclidean" else 2e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(sign * ours, expected, rtol=0, atol=bound)


def test_the_longest_text(tmp_path: Path) -> None:
    """Of the settings beside the encoder, else of the tokenizer, never more than there are positions."""
    path = saved(tmp_path, [modules.Pooling(32)])
    long = " ".join(TEXTS) * 4
    tokenizer = json.loads((path / "tokenizer_config.json").read_text())
    for settings, limit, longest in (({"max_seq_length": 9}, 20, 9), ({}, 20, 20), ({}, 10**30, None)):
        (path / "sentence_bert_config.json").write_text(json.dumps(settings))
        (path / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"model_max_length": limit}))
        reference = SentenceTransformer(str(path), device="cpu")
        with headrace.load(path, precision="f32") as model:
            assert model.info.max_tokens == reference.max_seq_length
            assert longest in (None, model.info.max_tokens)
            with pytest.raises(headrace.InvalidArgumentError, match=f"at most {model.info.max_tokens}"):
                model.embed(long)
            np.testing.assert_allclose(
                model.embed([long], truncate=True), reference.encode([long]), rtol=0, atol=TOLERANCE
            )


def test_lower_case(tmp_path: Path) -> None:
    path = saved(tmp_path, [modules.Pooling(32)])
    (path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    with pytest.raises(headrace.UnsupportedError, match=r"put .* first in it"):
        headrace.load(path)
    # As the message says; it is what the library does.
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    first = [{"type": "Lowercase"}, tokenizer["normalizer"]]
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": first}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    check(path)


def test_the_encoder_in_a_folder_of_its_own(tmp_path: Path) -> None:
    path = saved(tmp_path, [modules.Pooling(32)])
    folder = path / "0_Transformer"
    folder.mkdir()
    for file in [*path.glob("*.json"), path / "model.safetensors"]:
        if file.name not in ("modules.json", "config_sentence_transformers.json"):
            shutil.move(file, folder)
    listed = json.loads((path / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (path / "modules.json").write_text(json.dumps(listed))
    check(path)
