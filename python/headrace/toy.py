"""Tiny models with random weights, for trying a task, a route or a client without a download.

Their answers have the right shape and no meaning. They are BERT encoders of two layers, written in a millisecond.

    model = headrace.load(headrace.toy.model("classify"))
    headrace serve $(python -m headrace.toy tag)
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError
from .inputs import task_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HIDDEN, _LAYERS, _FEED_FORWARD, _POSITIONS = 32, 2, 64, 512
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = [
    *("a", "the", "of", "to", "and", "in", "is", "what", "where", "who", "good", "bad"),
    *("mill", "wheel", "water", "river", "turn", "turns", "runs", "paris", "maria", "smith"),
]
_CLASSES = {
    "embed": "BertModel",
    "classify": "BertForSequenceClassification",
    "rerank": "BertForSequenceClassification",
    "tag": "BertForTokenClassification",
    "answer": "BertForQuestionAnswering",
    "fill_mask": "BertForMaskedLM",
}
_LABELS = {
    "classify": ["negative", "positive"],
    "rerank": ["LABEL_0"],
    "tag": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
}


def model(task: str, directory: str | os.PathLike[str] | None = None, *, seed: int = 0) -> Path:
    """Writes a model for `task` and returns its directory; without one, a temporary that goes with the process.

    Raises InvalidArgumentError for a task that is not known.

    >>> import headrace.toy
    >>> sorted(path.name for path in headrace.toy.model("tag").iterdir())
    ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    """
    name = task_name(task)
    if not name:
        raise InvalidArgumentError(f"task={task!r}: must be one of {', '.join(_CLASSES)}")
    path = _place(directory, f"toy-{name.replace('_', '-')}")
    tokenizer = _tokenizer()
    config = _config(name, len(tokenizer["model"]["vocab"]))
    _write_json(path / "config.json", config)
    _write_json(path / "tokenizer.json", tokenizer)
    _write_json(path / "tokenizer_config.json", {"mask_token": "[MASK]"})
    _write_safetensors(path / "model.safetensors", _weights(name, config, seed))
    return path


def vision_model(directory: str | os.PathLike[str] | None = None, *, labels: int = 3, seed: int = 0) -> Path:
    """As `model`, a ViT of two layers for pictures of 32 x 32: it classifies, or with no labels embeds.

    >>> import headrace, headrace.toy, numpy
    >>> with headrace.load(headrace.toy.vision_model()) as model:
    ...     [len(found) for found in model.classify(images=numpy.zeros((20, 30, 3), numpy.uint8))]
    [3]
    """
    import numpy as np

    path = _place(directory, "toy-vision")
    side, patch = 32, 8
    tokens = (side // patch) ** 2 + 1
    config = {
        "architectures": ["ViTForImageClassification" if labels else "ViTModel"], "model_type": "vit",
        "hidden_size": _HIDDEN, "num_hidden_layers": _LAYERS, "num_attention_heads": 2,
        "intermediate_size": _FEED_FORWARD, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "image_size": side, "patch_size": patch, "num_channels": 3,
        "id2label": {str(i): f"thing {i}" for i in range(labels)},
    }  # fmt: skip
    if not labels:
        del config["id2label"]
    chance = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        weights[name] = (chance.standard_normal(shape) * scale).astype(np.float32)

    def linear(name: str, n: int, k: int) -> None:
        add(f"{name}.weight", n, k, scale=k**-0.5)
        add(f"{name}.bias", n, scale=0.1)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = np.ones(_HIDDEN, np.float32)
        weights[f"{name}.bias"] = np.zeros(_HIDDEN, np.float32)

    add("vit.embeddings.cls_token", 1, 1, _HIDDEN)
    add("vit.embeddings.position_embeddings", 1, tokens, _HIDDEN, scale=0.3)
    add("vit.embeddings.patch_embeddings.projection.weight", _HIDDEN, 3, patch, patch, scale=1 / patch)
    add("vit.embeddings.patch_embeddings.projection.bias", _HIDDEN, scale=0.1)
    for i in range(_LAYERS):
        layer = f"vit.encoder.layer.{i}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            linear(f"{layer}.attention.{part}", _HIDDEN, _HIDDEN)
        linear(f"{layer}.intermediate.dense", _FEED_FORWARD, _HIDDEN)
        linear(f"{layer}.output.dense", _HIDDEN, _FEED_FORWARD)
        norm(f"{layer}.layernorm_before")
        norm(f"{layer}.layernorm_after")
    norm("vit.layernorm")
    if labels:
        linear("classifier", labels, _HIDDEN)
    size = {"height": side, "width": side}
    _write_json(path / "config.json", config)
    _write_json(path / "preprocessor_config.json", {"size": size, "resample": 2})
    _write_safetensors(path / "model.safetensors", weights)
    return path


def _place(directory: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder to write to; without one, a temporary that goes with the process."""
    if directory is None:
        parent = tempfile.mkdtemp(prefix="headrace-toy-")
        atexit.register(shutil.rmtree, parent, ignore_errors=True)
        directory = Path(parent) / name
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _config(task: str, vocabulary: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": [_CLASSES[task]],
        "model_type": "bert",
        "hidden_size": _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": _FEED_FORWARD,
        "hidden_act": "gelu",
        "max_position_embeddings": _POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "vocab_size": vocabulary,
    }
    if task in _LABELS:
        config["id2label"] = {str(i): label for i, label in enumerate(_LABELS[task])}
    return config


def _tokenizer() -> dict[str, Any]:
    """WordPiece over a few words and every printable ASCII character, alone and as a continuation."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = dict.fromkeys([*_SPECIAL, *_WORDS, *letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    added = [
        {"id": vocabulary[token], "content": token, "special": True, "normalized": False,
         "single_word": False, "lstrip": False, "rstrip": False}
        for token in _SPECIAL
    ]  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", vocabulary["[SEP]"]],
                           "cls": ["[CLS]", vocabulary["[CLS]"]]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }  # fmt: skip


def _weights(task: str, config: dict[str, Any], seed: int) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    chance = np.random.default_rng(seed)
    c, vocabulary = _HIDDEN, config["vocab_size"]
    weights: dict[str, NDArray[np.float32]] = {}

    def linear(name: str, n: int, k: int) -> None:
        weights[f"{name}.weight"] = (chance.standard_normal((n, k)) / k**0.5).astype(np.float32)
        weights[f"{name}.bias"] = (chance.standard_normal(n) * 0.1).astype(np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(c, np.float32), np.zeros(c, np.float32)

    for name, rows in (("word", vocabulary), ("position", _POSITIONS), ("token_type", 2)):
        table = chance.standard_normal((rows, c)).astype(np.float32)
        weights[f"bert.embeddings.{name}_embeddings.weight"] = table
    norm("bert.embeddings.LayerNorm")
    for i in range(_LAYERS):
        layer = f"bert.encoder.layer.{i}"
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            linear(f"{layer}.{part}", c, c)
        linear(f"{layer}.intermediate.dense", _FEED_FORWARD, c)
        linear(f"{layer}.output.dense", c, _FEED_FORWARD)
        norm(f"{layer}.attention.output.LayerNorm")
        norm(f"{layer}.output.LayerNorm")
    if task in ("classify", "rerank"):
        linear("bert.pooler.dense", c, c)
    if task in _LABELS:
        linear("classifier", len(_LABELS[task]), c)
    elif task == "answer":
        linear("qa_outputs", 2, c)
    elif task == "fill_mask":
        linear("cls.predictions.transform.dense", c, c)
        norm("cls.predictions.transform.LayerNorm")
        weights["cls.predictions.bias"] = np.zeros(vocabulary, np.float32)
    return weights


def _write_safetensors(path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in weights.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in weights.values():
            file.write(tensor.astype("<f4").tobytes())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m headrace.toy TASK [DIRECTORY]")
    print(model(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else Path(tempfile.mkdtemp()) / sys.argv[1]))
