"""`headrace tokenize` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from test_cli import fails, headrace


def test_a_table_in_a_pipe() -> None:
    done = headrace("tokenize", "demo:minilm", "tokenization is fun")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["id", "token", "begin", "end"]
    assert [json.loads(row[1]) for row in rows[1:]] == ["[CLS]", "token", "##ization", "is", "fun", "[SEP]"]
    assert [row[2:] for row in rows[2:4]] == [["0", "5"], ["5", "12"]]


def test_options_may_stand_between_the_texts() -> None:
    done = headrace("tokenize", "demo:minilm", "--ids", "--no-special-tokens", "hello", "world")
    assert done.stdout.split("\n") == ["7592", "2088", ""]


def test_colours_end_before_each_line_does() -> None:
    done = headrace("tokenize", "demo:minilm", "--colour", "always", "a mill\nwheel\t\x07")
    assert "mill" in done.stdout
    assert "wheel" in done.stdout
    assert "tokens in 1 text;" in done.stdout
    for line in done.stdout.splitlines():
        assert line.endswith("\x1b[0m"), repr(line)


def test_json_counts_and_files(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("[SEP] one\ntwo\n", "utf-8")
    whole = headrace("tokenize", "demo:minilm", "--file", str(file), "--json").stdout.splitlines()
    assert len(whole) == 1
    encoding = json.loads(whole[0])
    assert encoding["tokens"][1:4] == ["[", "sep", "]"]  # text is text
    assert encoding["num_tokens"] == len(encoding["ids"]) == len(encoding["offsets"])
    lines = headrace("tokenize", "demo:minilm", "--file", str(file), "--lines", "--count", "--allow-special")
    assert lines.stdout.split() == ["4", "3"]
    piped = headrace("tokenize", "demo:minilm", "--file", "-", "--count", stdin="two")
    assert piped.stdout.split() == ["3"]


def test_errors_are_one_line(tmp_path: Path) -> None:
    assert "no text" in fails("tokenize", "demo:minilm")
    assert "no such model directory" in fails("tokenize", "missing", "a")
    broken = tmp_path / "tokenizer.json"
    broken.write_text('{"model": {"type": "Oracle", "vocab": {}}}', "utf-8")
    assert "Oracle" in fails("tokenize", str(broken), "a")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf\xe9")
    assert "not UTF-8" in fails("tokenize", "demo:minilm", "--file", str(latin))
