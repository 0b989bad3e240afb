"""q8 and q4: weights of a language model in groups of 32 with a scale (Q8_0), or a scale and an offset (Q4_1), as GGUF,
by the library `gguf`. The engine keeps the groups as they are; activations stay f32.

The tokenizer stays in tokenizer.json beside model.gguf.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError, UnsupportedError
from .. import bases

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GROUP = 32
# model_type -> architecture of a GGUF, and of which heads its converter turns the rows.
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_SETTINGS = ("chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def write(folder: Path, out: Path, bits: int) -> None:
    """model.gguf of the model in `folder`, and its tokenizer.

    Raises UnsupportedError for another architecture, InvalidArgumentError for layers that groups do not divide.
    """
    import gguf

    config = bases.transformers().AutoConfig.from_pretrained(str(folder), local_files_only=True)
    architecture = _ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise UnsupportedError(
            f"q{bits}: of {', '.join(_ARCHITECTURES)}, not of {config.model_type}; its folder is served so by "
            f"`headrace serve --precision q{bits}`"
        )
    if not (folder / "tokenizer.json").is_file():
        raise InvalidArgumentError(f"{folder}: q{bits} wants its tokenizer as tokenizer.json")
    writer = gguf.GGUFWriter(out / "model.gguf", architecture)
    _describe(writer, config)
    _add_tokens(writer, folder, config)
    matrix = gguf.GGMLQuantizationType.Q8_0 if bits == 8 else gguf.GGMLQuantizationType.Q4_1
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in _tensors(folder):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads:
            tensor = _turned(tensor, heads[part])
        # The embeddings keep 8 bits: they are the output's weights too, or few beside the layers.
        kind = gguf.GGMLQuantizationType.Q8_0 if part in ("embed_tokens", "lm_head") else matrix
        if tensor.ndim != 2:
            writer.add_tensor(_stored_name(name), tensor)
            continue
        if tensor.shape[1] % _GROUP:
            raise InvalidArgumentError(
                f"q{bits}: {name} has {tensor.shape[1]} inputs, and groups have {_GROUP}: take int8 or bf16"
            )
        writer.add_tensor(_stored_name(name), gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for name in ("tokenizer.json", *_SETTINGS):
        if (folder / name).is_file():
            (out / name).write_bytes((folder / name).read_bytes())


def _describe(writer: Any, config: Any) -> None:
    """What config.json says, under the names that a GGUF has. UnsupportedError for what has none here."""
    rope = dict(getattr(config, "rope_parameters", None) or {})
    if rope.get("rope_type", "default") != "default":
        raise UnsupportedError(
            f"rotary positions of type {rope['rope_type']!r}: groups are written of default ones"
        )
    if getattr(config, "use_sliding_window", False):
        raise UnsupportedError("use_sliding_window: groups are written of models without windows")
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))


def _add_tokens(writer: Any, folder: Path, config: Any) -> None:
    """The ids that begin and end a text, and the chat template."""
    path = folder / "generation_config.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = told.get("eos_token_id", config.eos_token_id)
    ends = ends if isinstance(ends, list) else [ends]
    for add, end in zip((writer.add_eos_token_id, writer.add_eot_token_id), ends, strict=False):
        if end is not None:
            add(end)
    begin = told.get("bos_token_id", config.bos_token_id)
    if begin is not None:
        writer.add_bos_token_id(begin)
    template = bases.load_tokenizer(folder).chat_template
    if template:
        writer.add_chat_template(template)


def _tensors(folder: Path) -> Any:
    """(name, float32 array) one after another."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name).float().numpy()


def _stored_name(name: str) -> str:
    """
    >>> _stored_name("model.layers.3.mlp.up_proj.weight"), _stored_name("model.norm.weight")
    ('blk.3.ffn_up.weight', 'output_norm.weight')
    """
    whole, _, kind = name.rpartition(".")
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", whole)
    inner = found[2] if found else whole
    if inner not in _NAMES:
        raise UnsupportedError(f"the tensor {name!r} has no place in a GGUF")
    return (f"blk.{found[1]}." if found else "") + f"{_NAMES[inner]}.{kind}"


def _turned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of queries or keys for positions that turn neighbours, as the architecture "llama" has them."""
    pairs = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)
