"""GGUF files for the benchmarks of language models: the demo model's weights in another form, and a random Qwen2.5.

NAME-FORM: smollm2-q8_0, smollm2-bf16, qwen-q4_0 ...; made under build/bench with the package gguf. SmolLM2's are what
its own file says, rounded once more (its output matrix, of Q8_0, keeps that in forms of 4 bits); Qwen's are normal
numbers of seed 1 in the shape of Qwen2.5 0.5B: speed does not depend on what weights say. scaled-FORM is the function
of SmolLM2 by other weights, for comparing ways of rounding: its own file's lie on the grid of one of them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import harness

QWEN: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "tie_word_embeddings": True,
}


def file(name: str, llama: str | None = None) -> Path:
    """The file of that name, made if it is not there; "smollm2" is the demo model's own.

    Forms such as q4_k_m are made by llama.cpp, which the interpreter `llama` has.
    """
    from headrace.repository import resolve

    demo = Path(resolve("demo:smollm2"))
    model, _, form = name.partition("-")
    if model not in ("smollm2", "scaled", "qwen"):
        return Path(name).resolve()
    if not form:
        return demo
    path = harness.CACHE / f"{name}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        if "_k" in form:
            if llama is None:
                raise SystemExit(f"{name}: made by llama.cpp's quantiser; say --llama PYTHON")
            script = Path(__file__).with_name("rivals") / "llama_quantize.py"
            subprocess.run([llama, script, file(f"{model}-f32"), made, form], check=True)
        elif model == "qwen":
            _write_qwen(made, form)
        else:
            _rewrite(demo, made, form, is_scaled=model == "scaled")
        made.rename(path)
    return path


def _add(writer: Any, name: str, numbers: Any, form: str) -> None:
    """A matrix in that form, or as it is where it is a vector."""
    import gguf

    if numbers.ndim == 1:
        writer.add_tensor(name, numbers)
        return
    kept = "q8_0" if name == "token_embd.weight" and form.startswith("q4") else form
    kind = gguf.GGMLQuantizationType[kept.upper()]
    writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)


def _rewrite(source: Path, path: Path, form: str, is_scaled: bool) -> None:
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    tensors = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for tensor in reader.tensors
    }
    if is_scaled:
        layers, heads = (
            reader.fields[f"llama.{key}"].contents() for key in ("block_count", "attention.head_count")
        )
        for i in range(layers):
            _scale_layer(tensors, f"blk.{i}.", heads, np.random.default_rng(i))
    for name, numbers in tensors.items():
        _add(writer, name, numbers, form)
    _finish(writer, form)


def _scale_layer(tensors: dict[str, Any], prefix: str, heads: int, rng: Any) -> None:
    """Gains go into the columns behind them; values and gated numbers get scales that the next matrix undoes."""

    def weight(name: str) -> Any:
        return tensors[f"{prefix}{name}.weight"]

    for norm, readers in {
        "attn_norm": ("attn_q", "attn_k", "attn_v"),
        "ffn_norm": ("ffn_gate", "ffn_up"),
    }.items():
        for name in readers:
            weight(name)[:] *= weight(norm)
        weight(norm)[:] = 1
    for name, following in {"attn_v": "attn_output", "ffn_up": "ffn_down"}.items():
        scale = np.exp2(rng.uniform(-0.5, 0.5, len(weight(name)))).astype(np.float32)
        weight(name)[:] *= scale[:, None]
        if name == "attn_v":  # a head of values serves several of queries
            head = len(weight("attn_q")) // heads
            scale = np.repeat(scale.reshape(-1, head), heads * head // len(scale), axis=0).reshape(-1)
        weight(following)[:] /= scale


def _write_qwen(path: Path, form: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(QWEN["num_hidden_layers"])
    writer.add_context_length(QWEN["max_position_embeddings"])
    writer.add_embedding_length(QWEN["hidden_size"])
    writer.add_feed_forward_length(QWEN["intermediate_size"])
    writer.add_head_count(QWEN["num_attention_heads"])
    writer.add_head_count_kv(QWEN["num_key_value_heads"])
    writer.add_rope_freq_base(QWEN["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(1e-6)
    # Bytes, one pair of them, and names that no text has.
    letters = [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 173)]
    letters += [chr(i) for i in range(174, 256)] + [chr(256 + i) for i in range(68)]
    tokens = [*letters, "ab", *(f"t{i}" for i in range(257, QWEN["vocab_size"]))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    for name, numbers in _qwen_tensors():
        _add(writer, name, numbers, form)
    _finish(writer, form)


def _qwen_tensors() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(1)
    width, inner = QWEN["hidden_size"], QWEN["intermediate_size"]
    narrow = width // QWEN["num_attention_heads"] * QWEN["num_key_value_heads"]

    def matrix(*shape: int) -> Any:
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    yield "token_embd.weight", matrix(QWEN["vocab_size"], width)
    yield "output_norm.weight", np.ones(width, np.float32)
    for i in range(QWEN["num_hidden_layers"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight", np.ones(width, np.float32)
        for name, rows in (("attn_q", width), ("attn_k", narrow), ("attn_v", narrow)):
            yield f"blk.{i}.{name}.weight", matrix(rows, width)
            yield f"blk.{i}.{name}.bias", np.zeros(rows, np.float32)
        yield f"blk.{i}.attn_output.weight", matrix(width, width)
        yield f"blk.{i}.ffn_gate.weight", matrix(inner, width)
        yield f"blk.{i}.ffn_up.weight", matrix(inner, width)
        yield f"blk.{i}.ffn_down.weight", matrix(width, inner)


def _finish(writer: Any, form: str) -> None:
    import gguf

    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if form == "f32" else f"MOSTLY_{form.upper()}"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
