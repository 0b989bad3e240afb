"""A GGUF as what a training or a compression begins with: its numbers in f32, in a folder of Hugging Face's form.

The folder is written once, below `headrace` in the user's cache (or HEADRACE_CACHE), under a name that depends on the
file's bytes. What the file's groups rounded stays rounded: the folder computes what the GGUF computes in f32.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError, UnsupportedError
from ..predict.compiled import cache_folder
from .inspection import file_hash

SOURCE = "source.json"  # the file that a folder was made of, and its hash
_VERSION = "1"  # of the folder's form: another one is written anew
_FAMILIES = ("llama", "qwen2", "qwen3")
# Factors of positions, which config.json has as numbers.
_NOT_WEIGHTS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def file_in(place: Path) -> Path | None:
    """The GGUF that a model is: the path itself, or the only .gguf of a folder without config.json.

    Raises InvalidArgumentError for a folder with several.
    """
    if place.suffix == ".gguf":
        return place
    found = [] if (place / "config.json").is_file() else sorted(place.glob("*.gguf"))
    if len(found) > 1:
        raise InvalidArgumentError(f"{place}: there are {len(found)} .gguf files; give the path of one")
    return found[0] if found else None


def unpacked(place: Path, tokenizer_files: tuple[str, ...]) -> Path:
    """The folder with the f32 weights, config.json and tokenizer of a GGUF, made if it is not there.

    Args:
        place: a .gguf, or a folder with one; the folder's own tokenizer.json goes before the file's vocabulary.
        tokenizer_files: the names of what belongs to a tokenizer.

    Raises UnsupportedError for architectures other than llama (with mistral), qwen2 and qwen3, or what they have no
    place for; CorruptFileError.
    """
    file = file_in(place)
    assert file is not None
    beside = [place / name for name in tokenizer_files if place.is_dir() and (place / name).is_file()]
    if not any(path.name == "tokenizer.json" for path in beside):
        beside = []
    sha256 = _hash(file)
    parts = [_VERSION, sha256, *(f"{path.name} {_hash(path)}" for path in beside)]
    cache = cache_folder("unpacked")
    folder = cache / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as work:
        made = Path(work) / "model"
        made.mkdir()
        _write(file, beside, made)
        source = {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256}
        (made / SOURCE).write_text(json.dumps(source) + "\n", encoding="utf-8")
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    return folder


def source_of(folder: Path) -> dict[str, Any] | None:
    """Of an unpacked folder: the GGUF's `file`, `bytes` and `sha256`; None for others."""
    path = folder / SOURCE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_once(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(64)
def _hash_once(path: Path, _size: int, _changed: int) -> str:
    return file_hash(path)


def _write(file: Path, beside: list[Path], out: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    from . import bases

    library = bases.transformers()
    weights = _core.GgufWeights.open(str(file))
    told = weights.settings()
    config = library.AutoConfig.for_model(told["family"], **_config(file, told, weights))
    with torch.device("meta"):  # names and shapes alone
        model = library.AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if told["is_tied"]:
        shapes.pop("lm_head.weight")
    for name in shapes:
        if name not in weights:
            raise UnsupportedError(f"{file}: it has nothing for {name!r} of {told['family']}")
    stored = [name for name in _core.GgufFile.open(str(file)).names() if name not in _NOT_WEIGHTS]
    if len(stored) != len(shapes):
        raise UnsupportedError(
            f"{file}: {len(stored)} tensors, where {told['family']} has a place for {len(shapes)}: take the model's "
            "safetensors"
        )
    tensors = {name: weights.tensor(name).reshape(shape) for name, shape in shapes.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config.architectures = [type(model).__name__]
    config.dtype = "float32"
    config.save_pretrained(str(out))
    for path in beside:
        shutil.copyfile(path, out / path.name)
    if not beside:
        _write_tokenizer(file, told, out)
    (out / "model.safetensors").chmod((out / "config.json").stat().st_mode)


def _config(file: Path, told: dict[str, Any], weights: _core.GgufWeights) -> dict[str, Any]:
    """What config.json says."""
    if told["family"] not in _FAMILIES:
        raise UnsupportedError(
            f"{file}: a GGUF of {told['family']} is served as it is; to train or compress the model, take its "
            f"safetensors. Those of {', '.join(_FAMILIES)} (llama: mistral too) can be begun with"
        )
    if told["rotated"] != told["head_dim"]:
        raise UnsupportedError(
            f"{file}: positions turn {told['rotated']} of {told['head_dim']} numbers of a head"
        )
    found = {
        "vocab_size": told["vocabulary"],
        "hidden_size": told["hidden"],
        "intermediate_size": told["feed_forward"],
        "num_hidden_layers": told["layers"],
        "num_attention_heads": told["heads"],
        "num_key_value_heads": told["kv_heads"],
        "head_dim": told["head_dim"],
        "max_position_embeddings": told["positions"],
        "rms_norm_eps": float(f"{told['norm_eps']:.6g}"),  # a float32: 1e-05, not 9.99999974e-06
        "tie_word_embeddings": told["is_tied"],
        "rope_parameters": _positions(file, told),
        "bos_token_id": told["begin_id"] if told["begin_id"] >= 0 else None,
        "eos_token_id": told["end_ids"][0] if len(told["end_ids"]) == 1 else told["end_ids"] or None,
    }
    if told["family"] == "llama":
        found["attention_bias"] = "model.layers.0.self_attn.q_proj.bias" in weights
        found["mlp_bias"] = "model.layers.0.mlp.up_proj.bias" in weights
    return found


def _positions(file: Path, told: dict[str, Any]) -> dict[str, Any]:
    """rope_parameters."""
    rotary = told["rotary"]
    found = {"rope_type": rotary["type"], "rope_theta": rotary["theta"]}
    if rotary["divisors"]:
        return found | _llama3(file, rotary, told["head_dim"])
    if rotary["type"] in ("linear", "yarn"):
        found["factor"] = rotary["factor"]
    if rotary["type"] == "yarn":
        found["original_max_position_embeddings"] = int(rotary["original_positions"])
    return found


def _llama3(file: Path, rotary: dict[str, Any], head_dim: int) -> dict[str, Any]:
    """The numbers of Llama 3's positions (Llama Team 2024, arXiv:2407.21783), of which a GGUF has what they come to."""
    low, high, original = 1.0, 4.0, 8192  # of all models of that family
    factor = float(f"{max(rotary['divisors']):.6g}")
    turns = rotary["theta"] ** (-np.arange(0, head_dim, 2) / head_dim) * original / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0, 1)
    if not np.allclose(1 / ((1 - share) / factor + share), rotary["divisors"], rtol=1e-3):
        raise UnsupportedError(
            f"{file}: the factors of its positions are not those of Llama 3: take its safetensors"
        )
    return {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }  # fmt: skip


def _write_tokenizer(file: Path, told: dict[str, Any], out: Path) -> None:
    """tokenizer.json as the engine reads the file's vocabulary, and what transformers wants beside it."""
    text = _core.Tokenizer.json_of_file(str(file))
    (out / "tokenizer.json").write_text(text, encoding="utf-8")
    tokenizer = _core.Tokenizer.from_str(text)
    named = {"bos_token": [told["begin_id"]], "eos_token": told["end_ids"][:1]}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": told["positions"],
    }
    settings |= {name: tokenizer.id_to_token(ids[0]) for name, ids in named.items() if ids and ids[0] >= 0}
    if told["chat_template"]:
        settings["chat_template"] = told["chat_template"]
    (out / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
