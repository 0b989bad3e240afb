"""A GGUF as the base of a training and of a compression: unpacked, it has the numbers and tokens of the engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import headrace
from headrace import _core, lifecycle
from headrace.lifecycle import bases, lineage, unpacking
from headrace.lifecycle.compression.grouped import _stored_name, _turned
from headrace.lifecycle.training import train

TEMPLATE = "{% for message in messages %}<s>{{ message['content'] }}<e>{% endfor %}"
TEXT = "The wheel of mill 42 turns; Wörter, 水 and\n\tnew lines <e>"
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
YARN = {"rope_type": "yarn", "rope_theta": 5e4, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Unpacked folders go there; tiny models are sooner done by one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_CACHE", str(folder))
        yield folder
    torch.set_num_threads(threads)


def vocabulary() -> tuple[list[str], list[str]]:
    """Every byte as GPT-2 spells it, two control tokens in front, and some pairs; and the merges of those."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = [chr(byte) for byte in kept] + [chr(256 + i) for i in range(256 - len(kept))]
    pairs = ["t h", "th e", "Ġ w", "Ġw h", "e e", "l l", "m i", "mi ll"]
    return ["<s>", "<e>", *spelled, *(pair.replace(" ", "") for pair in pairs)], pairs


def write(path: Path, family: str = "llama", kind: str = "Q8_0", seed: int = 0, **changes: Any) -> Path:
    """A random model as llama.cpp's converter writes it."""
    import torch
    import transformers

    tokens, merges = vocabulary()
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(family, **{**SMALL, "vocab_size": len(tokens), **changes})
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.1)
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        scaled = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].numpy()
        writer.add_tensor(
            "rope_freqs.weight", (rope["rope_theta"] ** (-np.arange(0, head, 2) / head) / scaled).astype("f4")
        )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (len(tokens) - 2)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        part, rows = name.split(".")[-2], tensor.numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if family == "llama" and part in heads:
            rows = _turned(rows, heads[part])
        raw = gguf.GGMLQuantizationType[kind]
        if rows.ndim == 2:
            writer.add_tensor(_stored_name(name), gguf.quants.quantize(rows, raw), raw_dtype=raw)
        else:
            writer.add_tensor(_stored_name(name), rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def assert_same(source: str | Path, tolerance: float) -> Any:
    """transformers on the unpacked folder has the engine's logits of the GGUF in f32, and its tokens; the model."""
    import torch

    folder = bases.base_folder(source)
    model = bases.load_model("AutoModelForCausalLM", folder).eval()
    tokenizer = bases.load_tokenizer(folder)
    own = headrace.Tokenizer.from_file(headrace.repository.resolve(source))
    assert tokenizer(TEXT, add_special_tokens=False)["input_ids"] == list(
        own.encode(TEXT, allow_special=True).ids
    )
    ids = np.asarray(own.encode(TEXT).ids, np.int32)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids[None].astype(np.int64))).logits[0].numpy()
    found = _core.LanguageModel(str(headrace.repository.resolve(source)), precision="f32").logits(ids)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    again = _core.LanguageModel(str(folder), precision="f32").logits(ids)
    # The very same numbers; of Llama 3's positions a GGUF has factors that were rounded.
    rounded = 1e-6 if model.config.rope_parameters["rope_type"] == "llama3" else 0.0
    assert np.abs(again - found).max() <= rounded * np.abs(expected).max()
    asked = [{"role": "user", "content": "a mill"}]
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    with headrace.load(source, threads=1) as loaded:
        expected_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert [int(i) for i in loaded.prompt_ids(asked)] == expected_ids
    return model


@pytest.mark.parametrize(
    ("family", "kind", "changes"),
    [
        ("llama", "Q4_1", {"tie_word_embeddings": True}),
        ("llama", "Q8_0", {"attention_bias": True, "head_dim": 32}),
        ("llama", "F16", {"rope_parameters": YARN}),
        ("llama", "F32", {"rope_parameters": LLAMA3}),
        ("qwen2", "Q5_1", {}),
        ("qwen3", "Q4_0", {"head_dim": 16}),
    ],
)
def test_logits_and_tokens_are_those_of_the_file(
    family: str, kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    assert_same(write(tmp_path / "m.gguf", family, kind, **changes), 2e-5)


def texts(path: Path) -> Path:
    rows = [f"the wheel of the mill number {i} turns" for i in range(24)]
    path.write_text("\n".join(["text", *rows]))
    return path


def test_a_training_begins_with_it(tmp_path: Path) -> None:
    base, data = write(tmp_path / "m.gguf"), texts(tmp_path / "texts.csv")
    settings = lifecycle.TrainSettings(epochs=2, learning_rate=1e-2, precision="f32", batch_size=8, test=0)
    found = train("generate", data, base, tmp_path / "tuned", settings)
    assert found.history.epochs[1].validation["loss"] < found.history.epochs[0].validation["loss"]
    assert f"headrace serve {base} --adapter tuned=" in str(found)
    record = json.loads((found.out / lineage.NAME).read_text())
    assert record["base"]["sha256"] == hashlib.sha256(base.read_bytes()).hexdigest()
    with headrace.Engine() as engine:
        plain = engine.add("m", base, precision="f32")
        tuned = engine.add_adapter("tuned", found.out, model="m")
        one, other = (
            model.generate("the wheel", max_tokens=8, temperature=0, ignore_eos=True)
            for model in (plain, tuned)
        )
    assert one.tokens != other.tokens
    with pytest.raises(headrace.InvalidArgumentError, match="which this training needs"):
        train("generate", data, base, tmp_path, settings, overwrite=True)
    whole = lifecycle.merge_adapter(base, found.out, tmp_path / "whole")
    with headrace.load(whole, precision="f32", threads=1) as model:
        merged = model.generate("the wheel", max_tokens=8, temperature=0, ignore_eos=True)
    assert merged.tokens == other.tokens
    assert lifecycle.evaluate(whole, data, rows="validation", bootstrap=0).rows == found.rows["validation"]
    with pytest.raises(headrace.InvalidArgumentError, match="is not empty"):
        lifecycle.merge_adapter(base, found.out, whole)
    with pytest.raises(headrace.InvalidArgumentError, match="whose weights are others than those of"):
        lifecycle.merge_adapter(write(tmp_path / "o.gguf", seed=1), found.out, tmp_path / "never")
    with pytest.raises(headrace.ModelNotFoundError, match="not an adapter"):
        lifecycle.merge_adapter(base, whole, tmp_path / "never")


@pytest.mark.parametrize(
    ("method", "options"),
    [("bf16", {}), ("q4", {}), ("prune-layers", {"recover_epochs": 1, "precision": "int8"})],
)
def test_a_compression_begins_with_it(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    base, data = write(folder / "m.gguf", kind="F16"), texts(tmp_path / "texts.csv")
    training = lifecycle.TrainSettings(learning_rate=1e-2, precision="f32", batch_size=8)
    settings = lifecycle.CompressSettings(method=method, training=training, **options)
    found = lifecycle.compress(folder, data, tmp_path / "small", settings, turns=1, threads=1, bootstrap=0)
    assert found.base == "model"
    assert any("m.gguf, a GGUF of" in note for note in found.notes)
    assert not (found.out / unpacking.SOURCE).exists()
    record = json.loads((found.out / lineage.COMPRESSION).read_text())
    assert record["base"]["sha256"] == hashlib.sha256(base.read_bytes()).hexdigest()
    with headrace.load(found.out, threads=1) as model:
        assert model.generate([{"role": "user", "content": "a mill"}], max_tokens=2, ignore_eos=True).tokens
    if method == "q4":  # a folder with one .gguf, and its tokenizer beside it
        again = bases.base_folder(found.out)
        assert (again / "tokenizer.json").read_bytes() == (found.out / "tokenizer.json").read_bytes()
        assert lineage.base_hash(again) == hashlib.sha256((found.out / "model.gguf").read_bytes()).hexdigest()


def test_a_file_is_unpacked_once(tmp_path: Path, place: Path) -> None:
    base = write(tmp_path / "m.gguf", seed=5)
    before = set((place / "unpacked").iterdir()) if (place / "unpacked").is_dir() else set()
    folder = bases.base_folder(base)
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    assert bases.base_folder(base) == folder
    assert bases.base_folder(tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    assert set((place / "unpacked").iterdir()) - before == {folder}
    write(base, seed=6)
    assert bases.base_folder(base) != folder


def test_what_cannot_be_unpacked_is_told(tmp_path: Path) -> None:
    def written(name: str, architecture: str, tensors: dict[str, Any]) -> Path:
        writer = gguf.GGUFWriter(tmp_path / name, architecture)
        writer.add_block_count(1)
        writer.add_context_length(64)
        writer.add_embedding_length(32)
        writer.add_feed_forward_length(64)
        writer.add_head_count(2)
        for tensor, rows in tensors.items():
            writer.add_tensor(tensor, rows)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    embeddings = {"token_embd.weight": np.zeros((8, 32), np.float32)}
    for name, architecture, told in (
        ("a.gguf", "mamba", "architecture 'mamba': supported are"),
        ("b.gguf", "gemma2", "a GGUF of gemma2 is served as it is"),
        ("c.gguf", "llama", "it has nothing for 'model.layers.0"),
    ):
        with pytest.raises(headrace.UnsupportedError, match=told):
            bases.base_folder(written(name, architecture, embeddings))
    with pytest.raises(headrace.InvalidArgumentError, match=r"there are 3 \.gguf files"):
        bases.base_folder(tmp_path)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(headrace.CorruptFileError):
        bases.base_folder(broken)


def test_a_tensor_without_a_place_is_not_lost_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(path, "qwen3", "F32")
    reader = gguf.GGUFReader(path)
    assert "blk.0.attn_q_norm.weight" in {tensor.name for tensor in reader.tensors}
    raw = path.read_bytes()
    assert raw.count(b"qwen3.") > 0
    path.write_bytes(raw.replace(b"qwen3", b"llama"))  # now a llama with norms of its heads
    with pytest.raises(headrace.UnsupportedError, match="where llama has a place for"):
        bases.base_folder(path)


def test_smollm2(tmp_path: Path) -> None:
    """A real model: the same logits within 1e-4 of the largest, and the same greedy tokens."""
    import torch

    model = assert_same("demo:smollm2", 1e-4)
    with headrace.load("demo:smollm2", precision="f32") as served:
        ids = [int(i) for i in served.prompt_ids("The capital of France is")]
        found = served.generate(ids, max_tokens=8, temperature=0, ignore_eos=True).tokens
    with torch.no_grad():
        expected = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[
            0, len(ids) :
        ].tolist()
    assert [token.id for token in found] == expected
