"""A real language model, SmolLM2-135M-Instruct, against transformers with the very same weights."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers

import headrace
from headrace import _core
from headrace.repository import resolve

PROMPTS = [
    "The capital of France is",
    "Water flows from the mill",
    "def fibonacci(n):\n",
    "In the year 1969, the first",
    "Liste der Bundesländer: Bayern,",
]


NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture(scope="module")
def reference() -> Any:
    """The file's weights, dequantised by the format's own package, in transformers' model."""
    reader = gguf.GGUFReader(resolve("demo:smollm2"))
    fields = {name: field.contents() for name, field in reader.fields.items() if name.startswith("llama.")}
    config = transformers.LlamaConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        max_position_embeddings=fields["llama.context_length"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config)
    weights = {}
    for tensor in reader.tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.removesuffix(".weight").split(".")
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(parts[-1])
        if heads:  # rows in the order of neighbours that turn together, back to halves
            width = numbers.shape[0] // heads
            numbers = numbers.reshape(heads, width // 2, 2, -1).swapaxes(1, 2).reshape(numbers.shape)
        layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        weights[f"{layer}{NAMES[parts[-1]]}.weight"] = torch.from_numpy(numbers.copy())
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"]
    assert not unexpected
    model.tie_weights()
    return model.eval()


@pytest.fixture(scope="module")
def path() -> str:
    return str(resolve("demo:smollm2"))


def _logits(reference: Any, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return reference(torch.tensor(ids[None].astype(np.int64))).logits[0].numpy()


def test_logits(reference: Any, path: str) -> None:
    tokenizer = headrace.Tokenizer.from_file(path)
    for precision, bound in (("f32", 0.9999999), ("bf16", 0.9995), ("auto", 0.998)):
        model = _core.LanguageModel(path, precision=precision)
        for prompt in PROMPTS:
            ids = np.asarray(tokenizer.encode(prompt).ids, np.int32)
            ours, theirs = model.logits(ids), _logits(reference, ids)
            cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
            assert cosine.mean() >= bound, (precision, prompt)


def test_greedy_tokens_are_the_same(reference: Any, path: str) -> None:
    """Each token that we choose is the one that transformers would, given those before it."""
    with headrace.load(path, precision="f32") as model:
        for prompt in PROMPTS[:3]:
            ids = model.prompt_ids(prompt)
            answer = model.generate(prompt, temperature=0, max_tokens=256, ignore_eos=True)
            chosen = np.asarray([token.id for token in answer.tokens], np.int32)
            logits = _logits(reference, np.concatenate([ids, chosen]))
            assert logits[len(ids) - 1 : -1].argmax(1).tolist() == chosen.tolist(), prompt
