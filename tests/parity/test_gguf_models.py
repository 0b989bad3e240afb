"""Whole models as llama.cpp's converter writes them, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import language_models
import numpy as np
import pytest
import torch

from headrace import _core

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _stored_name(name: str) -> str:
    name, kind = name.rsplit(".", 1)
    if name in NAMES:
        return f"{NAMES[name]}.{kind}"
    layer, inner = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[inner]}.{kind}"


def _turned(weights: Any, heads: int) -> Any:
    """Rows for positions that turn neighbours, as the converter orders those of its architecture "llama"."""
    rows = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(weights.shape)


def _write(path: Path, model: Any, architecture: str) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if architecture == "llama":
        writer.add_key_length(head)
        writer.add_value_length(head)
    if (short := config.rope_parameters.get("short_factor")) is not None:
        original = config.rope_parameters["original_max_position_embeddings"]
        writer.add_rope_dimension_count(2 * len(short))
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(scale) / np.log(original))))
        for kind in ("short", "long"):
            factors = np.array(config.rope_parameters[f"{kind}_factor"], np.float32)
            writer.add_tensor(f"rope_factors_{kind}.weight", factors)
    for name, tensor in model.state_dict().items():
        weights = tensor.numpy()
        if architecture == "llama" and ".q_proj." in name:
            weights = _turned(weights, config.num_attention_heads)
        if architecture == "llama" and ".k_proj." in name:
            weights = _turned(weights, config.num_key_value_heads)
        writer.add_tensor(_stored_name(name), weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("family", "architecture"),
    [("llama-biases", "llama"), ("phi3-longrope", "phi3")],
)
@pytest.mark.parametrize("count", [50, 100])
def test_logits_are_those_of_transformers(family: str, architecture: str, count: int, tmp_path: Path) -> None:
    model = language_models.make(family, tmp_path / "model")
    path = tmp_path / "model.gguf"
    _write(path, model, architecture)
    ids = np.random.default_rng(1).integers(3, 500, count).astype(np.int32)
    with torch.no_grad():
        expected = model(torch.tensor(ids[None].astype(np.int64))).logits[0].numpy()
    found = _core.LanguageModel(str(path), precision="f32").logits(ids)
    assert np.abs(found - expected).max() <= 2e-5 * float(np.abs(expected).max())
