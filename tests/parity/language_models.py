"""Small random language models of each family, made by transformers, for comparing with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

_COMMON: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 96,
    "intermediate_size": 224,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "pad_token_id": 0,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 8.0}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.05, 1.1, 1.3],
    "long_factor": [1.2, 2.5, 5.0, 9.0],
    "original_max_position_embeddings": 64,
    "partial_rotary_factor": 0.5,
}
_GEMMA_ROTARY = {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}

# Name -> (model class, config class, what differs from _COMMON).
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {"tie_word_embeddings": True}),
    "llama3": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": _LLAMA3, "attention_bias": True, "mlp_bias": True, "head_dim": 48},
    ),
    "llama-biases": ("LlamaForCausalLM", "LlamaConfig", {"attention_bias": True}),
    "llama-linear": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}},
    ),
    "llama-yarn": ("LlamaForCausalLM", "LlamaConfig", {"rope_parameters": _YARN}),
    "llama-dynamic": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": _DYNAMIC, "max_position_embeddings": 64},
    ),
    "phi3-longrope": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {
            "partial_rotary_factor": 0.5,
            "rope_parameters": _LONGROPE,
            "original_max_position_embeddings": 64,
        },
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", {"sliding_window": 40}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2-window": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 33, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 32}),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_positions": 512, "n_embd": 96, "n_layer": 3, "n_head": 6, "n_inner": None},
    ),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", {"partial_rotary_factor": 0.5, "sliding_window": 50}),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 30, "attn_logit_softcapping": 5.0},
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            "head_dim": 32,
            "sliding_window": 30,
            "rope_parameters": _GEMMA_ROTARY,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
}


def make(name: str, directory: Path, *, seed: int = 1, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of the family, saved under `directory`, in f32 and ready to run."""
    model_class, config_class, changes = FAMILIES[name]
    torch.manual_seed(seed)
    config = getattr(transformers, config_class)(**{**_COMMON, **changes})
    model = getattr(transformers, model_class)(config)
    # Larger than the initial weights, so that layers matter, and norms that are not all ones.
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif parameter.dim() == 2:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(0.1 * torch.randn_like(parameter))
    model = model.to(dtype)
    model.save_pretrained(directory)
    return model.to(torch.float32).eval()
