"""SentencePiece's .model files against the `sentencepiece` library: ids and decoded text must be equal.

Real ones where HEADRACE_SHARED has them, and small ones that its own trainer makes here.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import vocabularies
from comparison import Tally
from corpus import shared_corpus
from generated_text import generated
from real_text import installed_lines

import headrace

EXHAUSTIVE = os.environ.get("HEADRACE_EXHAUSTIVE") == "1"
REAL = ["albert_unigram/spiece.model", "xlmr_unigram/sentencepiece.model"]
SPACES = [
    "",
    " ",
    "  ",
    "\n\t ",
    "\u2581",
    "a\u2581",
    " \u2581 a",
    "a  b",
    " a b ",
    "\x00",
    "\x01",
    "\u3000a\u3000",
]
LONG = ["a" * 5000, " " * 5000, "\u2581" * 3000, "\U0001f600" * 500, "abcdefghij klmnop " * 4000]
SYMBOLS = ["<user>", "<user>s", "\u2581mid\u2581dle", "\uff21\uff22", "\u00e9", "#"]

TRAINED: dict[str, dict[str, Any]] = {
    "unigram": {"model_type": "unigram"},
    "unigram, byte fallback": {"model_type": "unigram", "byte_fallback": True},
    "unigram, symbols": {
        "model_type": "unigram",
        "user_defined_symbols": SYMBOLS,
        "control_symbols": ["<c>"],
    },
    "unigram, across words": {"model_type": "unigram", "split_by_whitespace": False},
    "unigram, suffix": {"model_type": "unigram", "treat_whitespace_as_suffix": True},
    "unigram, plain": {
        "model_type": "unigram",
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
    },
    "bpe": {"model_type": "bpe"},
    "bpe, byte fallback": {"model_type": "bpe", "byte_fallback": True, "character_coverage": 0.99},
    "bpe, as Llama": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "split_digits": True,
    },
    "bpe, symbols": {"model_type": "bpe", "user_defined_symbols": SYMBOLS, "byte_fallback": True},
    "bpe, across words": {"model_type": "bpe", "split_by_whitespace": False},
    "bpe, suffix": {"model_type": "bpe", "treat_whitespace_as_suffix": True},
    "bpe, case folded": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc_cf"},
}


def compare(
    ours: headrace.Tokenizer,
    reference: sentencepiece.SentencePieceProcessor,
    texts: Any,
    *,
    decode: bool = True,
) -> Tally:
    def differs(text: str) -> bool:
        ids = reference.encode(text)
        return ours.encode(text).ids != ids or ours.decode(ids) != reference.decode(ids)

    tally = Tally()
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    ragged = ours.encode_batch(texts)
    for i, text in enumerate(texts):
        tally.texts += 1
        tally.bytes += len(text.encode())
        ids = reference.encode(text)
        if ragged[i].tolist() != ids or (decode and ours.decode(ids) != reference.decode(ids)):
            tally.fail(text, differs, "ids or text")
    return tally


def pair_of(path: Path) -> tuple[headrace.Tokenizer, sentencepiece.SentencePieceProcessor]:
    return headrace.Tokenizer.from_file(path), sentencepiece.SentencePieceProcessor(model_file=str(path))


def words_of(reference: sentencepiece.SentencePieceProcessor) -> list[str]:
    special = [
        i for i in range(min(300, len(reference))) if reference.is_control(i) or reference.is_unknown(i)
    ]
    return [*(reference.id_to_piece(i) for i in special), *SYMBOLS]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shared = os.environ.get("HEADRACE_SHARED")
    if not shared:
        pytest.skip(
            f"set HEADRACE_SHARED to the folder with tokenizers/{name}; trained ones are compared below"
        )
    ours, reference = pair_of(Path(shared) / "tokenizers" / name)
    words = words_of(reference)
    tally = compare(ours, reference, [*SPACES, *LONG, *words, *generated(1, 5000, words)])
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 15)))
    tally.add(compare(ours, reference, itertools.islice(shared_corpus(), 0, None, 20)))
    if EXHAUSTIVE:
        tally.add(compare(ours, reference, generated(3, 1_000_000, words)))
        tally.add(compare(ours, reference, shared_corpus()))
        with capsys.disabled():
            print(f"\n{name}: {tally.texts} texts, {tally.bytes} bytes, {tally.mismatches} mismatches")
    assert not tally.failures


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sentencepiece") / "lines.txt"
    path.write_text("\n".join(vocabularies.training_lines()), "utf-8")
    return path


@pytest.mark.parametrize("name", TRAINED)
def test_trained_model(name: str, sentences: Path, tmp_path: Path) -> None:
    settings = {"vocab_size": 2000, "character_coverage": 0.995, "hard_vocab_limit": False, **TRAINED[name]}
    if settings["model_type"] == "bpe":
        settings.pop("hard_vocab_limit")
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), model_prefix=str(tmp_path / "m"), minloglevel=2, num_threads=1, **settings
    )
    ours, reference = pair_of(tmp_path / "m.model")
    words = words_of(reference)
    tally = compare(ours, reference, [*SPACES, *LONG, *words, *generated(7, 4000, words)])
    tally.add(compare(ours, reference, itertools.islice(installed_lines(), 0, 60_000, 30)))
    assert not tally.failures


def test_control_tokens_are_text_unless_allowed(sentences: Path, tmp_path: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), model_prefix=str(tmp_path / "m"), vocab_size=1000, minloglevel=2
    )
    ours, reference = pair_of(tmp_path / "m.model")
    assert ours.encode("a</s>").ids == reference.encode("a</s>")
    assert ours.encode("a</s>", allow_special=True).ids == [*reference.encode("a"), reference.eos_id()]
    stream = ours.stream_decoder()
    ids = reference.encode("  two  words \U0001f600 and \u2581 more")
    assert "".join(map(stream.push, ids)) + stream.finish() == reference.decode(ids)
