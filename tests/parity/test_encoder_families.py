"""The encoders of each family against transformers in f32, on tiny random checkpoints; pooled by the mean."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
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


@pytest.mark.parametrize("family", task_models.FAMILIES + task_models.WITHOUT_ANSWERS)
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


def rewrite(path: Path, settings: dict[str, Any], rename: dict[str, str]) -> None:
    """Gives a checkpoint other settings, and its tensors other beginnings of their names."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(settings | {"architectures": config["architectures"]}))
    file = path / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    for old, new in rename.items():
        tensors = {re.sub(old, new, name): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})


def check_published(path: Path, family: str, settings: dict[str, Any], rename: dict[str, str]) -> None:
    reference = expected(path, TEXTS, 96)
    rewrite(path, settings, rename)
    with headrace.load(path, task="embed", precision="f32") as model:
        assert model.info.architecture == family
        np.testing.assert_allclose(model.embed(TEXTS), reference, rtol=0, atol=TOLERANCE)


def test_nomic_bert_as_published(tmp_path: Path) -> None:
    path = task_models.make(tmp_path, "nomic_bert", "MaskedLM")
    settings = {
        "model_type": "nomic_bert", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64, "n_positions": 8192,
        "max_trained_positions": 96, "vocab_size": 147, "type_vocab_size": 2, "layer_norm_epsilon": 1e-12,
        "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "prenorm": False,
        "activation_function": "swiglu", "rotary_scaling_factor": None,
    }  # fmt: skip
    check_published(path, "nomic_bert", settings, {"^nomic_bert": "bert"})


def test_gte_as_published(tmp_path: Path) -> None:
    path = task_models.make(tmp_path, "gte", "MaskedLM")
    settings = {
        "model_type": "new", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 96, "vocab_size": 330, "type_vocab_size": 1,
        "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "position_embedding_type": "rope",
        "rope_theta": 160000, "hidden_act": "gelu", "pack_qkv": True, "rope_scaling": None,
    }  # fmt: skip
    check_published(path, "new", settings, {"^gte": "new"})


class GatedMlp(torch.nn.Module):
    """The feed-forward block of jina-embeddings-v2 (Günther et al. 2023, arXiv:2310.19923): GELU gates, then norm."""

    def __init__(self, hidden: int, feed_forward: int) -> None:
        super().__init__()
        self.gated_layers = torch.nn.Linear(hidden, 2 * feed_forward, bias=False)
        self.wo = torch.nn.Linear(feed_forward, hidden)
        self.layernorm = torch.nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gated_layers(x).chunk(2, dim=-1)
        return self.layernorm(x + self.wo(torch.nn.functional.gelu(gate) * up))


@pytest.mark.parametrize("heads", [2, 6])
def test_jina_v2(tmp_path: Path, heads: int) -> None:
    """BERT's own attention, fed ALiBi's slopes as a mask (Press et al. 2022: of 6 heads, those of 4 and every second of
    8's), and gated blocks in place of its own."""
    hidden, feed_forward = 16 * heads, 64
    path = task_models.make(tmp_path, "bert", "MaskedLM", num_attention_heads=heads, hidden_size=hidden)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    bert = transformers.AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    torch.manual_seed(1)
    with torch.no_grad():
        bert.embeddings.position_embeddings.weight.zero_()
    blocks = [GatedMlp(hidden, feed_forward) for _ in bert.encoder.layer]
    for layer, block in zip(bert.encoder.layer, blocks, strict=True):
        layer.forward = functools.partial(gated_layer, layer, block)  # type: ignore[method-assign]
    slopes = {2: [1 / 16, 1 / 256], 6: [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]}[heads]
    reference = []
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt")
        place = torch.arange(encoded["input_ids"].shape[1])
        mask = -torch.tensor(slopes)[:, None, None] * (place[:, None] - place[None, :]).abs()
        with torch.no_grad():
            x = bert.embeddings(encoded["input_ids"], encoded["token_type_ids"])
            for layer in bert.encoder.layer:
                x = layer.forward(x, mask[None])
        reference.append(x[0].mean(0).numpy())
    tensors = safetensors.torch.load_file(path / "model.safetensors")
    tensors = {
        name: t for name, t in tensors.items() if not re.search(r"position|intermediate|\d\.output", name)
    }
    for i, block in enumerate(blocks):
        tensors |= {f"bert.encoder.layer.{i}.mlp.{name}": t for name, t in block.state_dict().items()}
    safetensors.torch.save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    config |= {
        "position_embedding_type": "alibi",
        "feed_forward_type": "geglu",
        "intermediate_size": feed_forward,
    }
    (path / "config.json").write_text(json.dumps(config))
    with headrace.load(path, task="embed", precision="f32") as model:
        np.testing.assert_allclose(model.embed(TEXTS), np.stack(reference), rtol=0, atol=TOLERANCE)


def gated_layer(layer: Any, block: GatedMlp, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    attention = layer.attention
    return block(attention.output(attention.self(x, attention_mask=mask)[0], x))


@pytest.mark.parametrize(
    "settings",
    [
        {"position_buckets": -1, "max_relative_positions": 40},
        {"share_att_key": False, "pos_att_type": ["c2p"], "norm_rel_ebd": "none"},
        {"share_att_key": False, "pos_att_type": "p2c|c2p"},
        {
            "relative_attention": False,
            "pos_att_type": [],
            "position_biased_input": True,
            "type_vocab_size": 2,
        },
    ],
    ids=["no buckets", "keys alone", "own matrices", "plain"],
)
def test_deberta_variants(tmp_path: Path, settings: dict[str, Any]) -> None:
    check(
        task_models.make(tmp_path, "deberta-v2", "SequenceClassification", num_labels=3, **settings),
        "deberta-v2",
    )


@pytest.mark.parametrize("family", [*task_models.FAMILIES, *task_models.WITHOUT_ANSWERS])
@pytest.mark.parametrize(("precision", "cosine"), [("bf16", 0.9995), ("int8", 0.997)])
def test_fewer_bits(tmp_path: Path, family: str, precision: str, cosine: float) -> None:
    path = task_models.make(tmp_path, family, "SequenceClassification", num_labels=3)
    with headrace.load(path, task="embed", precision="f32") as model:
        exact = model.embed(TEXTS)
    with headrace.load(path, task="embed", precision=precision) as model:
        ours = model.embed(TEXTS)
        # Alone or in company, the same bits.
        np.testing.assert_array_equal(np.concatenate([model.embed([text]) for text in TEXTS]), ours)
    products = (ours * exact).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(exact, axis=1)
    assert products.min() > cosine


def test_modernbert_classifies_by_the_mean(tmp_path: Path) -> None:
    path = task_models.make(
        tmp_path,
        "modernbert",
        "SequenceClassification",
        num_labels=3,
        classifier_pooling="mean",
        norm_bias=True,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    with headrace.load(path, precision="f32") as ours:
        for text, labels in zip(TEXTS, ours.classify(TEXTS), strict=True):
            with torch.no_grad():
                scores = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
            told = {label.label: label.score for label in labels}
            for i, score in enumerate(scores.tolist()):
                assert told[model.config.id2label[i]] == pytest.approx(score, abs=TOLERANCE)


@pytest.mark.parametrize("family", ["modernbert", "gte"])
def test_long_texts(tmp_path: Path, family: str) -> None:
    """4,096 tokens, several blocks of keys, beside short texts."""
    path = task_models.make(
        tmp_path, family, "SequenceClassification", num_labels=3, max_position_embeddings=8192
    )
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings["model_max_length"] = 8192
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    texts = ["a", "the water turns the wheel of the mill " * 480, "The mill stands still."]
    with headrace.load(path, task="embed", precision="f32") as model:
        assert model.info.max_tokens == 8192
        np.testing.assert_allclose(
            model.embed(texts, truncate=True), expected(path, texts, 8192), rtol=0, atol=TOLERANCE
        )


def test_roberta_has_two_positions_fewer_than_rows(tmp_path: Path) -> None:
    path = task_models.make(tmp_path, "roberta", "SequenceClassification", num_labels=3)
    with headrace.load(path, task="embed") as model:
        assert model.info.max_tokens == 96
