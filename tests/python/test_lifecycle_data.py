"""Labelled data: every format gives the same rows, what is wrong is told with its rows, and memory stays bounded."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
from headrace.lifecycle.cells import as_label, as_time, is_missing
from headrace.lifecycle.columns import find_columns
from headrace.lifecycle.data import read_blocks
from headrace.lifecycle.inspection import inspect_files
from headrace.lifecycle.problems import DataReport, Problem
from headrace.lifecycle.scan import DataSettings
from headrace.lifecycle.splits import class_weights, folds, split

ROWS = [
    {"text": "The mill, turning", "label": "good"},
    {"text": 'a "quoted" wheel', "label": "bad"},
    {"text": "two\nlines", "label": "good"},
    {"text": "wässrig 水", "label": "bad"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            out.writeheader()
            out.writerows(rows)
    elif path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    else:
        import pyarrow
        from pyarrow import feather, parquet

        table = pyarrow.Table.from_pylist(rows)
        if path.suffix == ".parquet":
            parquet.write_table(table, path, row_group_size=3)
        elif path.suffix == ".feather":
            feather.write_feather(table, path)
        elif path.suffix == ".arrow":
            with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
                out.write_table(table, max_chunksize=3)
        else:  # as `datasets` saves one
            path.mkdir()
            write(path / "data-00000-of-00001.arrow", rows)
            state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": None}
            (path / "state.json").write_text(json.dumps(state))
    return path


def problems(report: DataReport) -> dict[str, Problem]:
    return {problem.code: problem for problem in report.problems}


def inspect(path: Path, **settings: Any) -> DataReport:
    return inspect_files({"train": path}, "classify", DataSettings(**settings))["train"].report


@pytest.mark.parametrize(
    "name",
    ["d.csv", "d.tsv", "d.jsonl", "d.jsonl.gz", "d.parquet", "d.feather", "d.arrow", "folder"],
)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    blocks = list(read_blocks(write(tmp_path / name, ROWS), rows=2))
    assert [len(block) for block in blocks] in ([2, 2], [2, 1, 1])
    assert [block.first_row for block in blocks][:2] == [1, 3]
    found = [
        {"text": text, "label": label}
        for block in blocks
        for text, label in zip(block.columns["text"], block.columns["label"], strict=True)
    ]
    assert found == ROWS


def test_a_folder_of_datasets_is_what_that_library_saves(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    blocks = list(read_blocks(tmp_path / "saved"))
    assert blocks[0].columns["text"] == [row["text"] for row in ROWS]
    classes = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    counted = [{**row, "label": ["bad", "good"].index(row["label"])} for row in ROWS]
    datasets.Dataset.from_list(counted, features=classes).save_to_disk(str(tmp_path / "classes"))
    datasets.Dataset.from_list(counted, features=classes).to_parquet(str(tmp_path / "classes.parquet"))
    for name in ("classes", "classes.parquet"):
        assert next(read_blocks(tmp_path / name)).columns["label"] == [row["label"] for row in ROWS]


def test_lines_are_told_where_rows_span_several(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", ROWS)
    assert [line for block in read_blocks(path) for line in block.lines or []] == [2, 3, 4, 6]


@pytest.mark.parametrize(("start", "encoding"), [("", "utf-16"), ("\ufeff", "utf-8"), ("", "cp1252")])
def test_encodings_are_read(start: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(start + "text;label\nGemüse;1\nObst;2\n", encoding=encoding)
    block = next(read_blocks(path, encoding="utf-8" if encoding == "utf-16" else encoding))
    assert block.columns == {"text": ["Gemüse", "Obst"], "label": ["1", "2"]}


def test_each_problem_is_told_with_its_rows(tmp_path: Path) -> None:
    lines = [
        b"text,label",
        b"a fine mill,good",  # 1
        b",bad",  # 2: no text
        b"   ,bad",  # 3: no text
        b"NaN,bad",  # 4
        b"a bad mill,",  # 5: no label
        b"a caf\xe9,good",  # 6: cp1252
        b"a caf\xc3\x83\xc2\xa9,good",  # 7: read wrongly once
        b"A  Fine MILL,good",  # 8: repeats 1
        b"what a wheel,good",  # 9
        b"What a wheel,bad",  # 10: contradicts 9
        b"one,two,three",  # 11: too many fields
        b"the wheel stands,bad",  # 12
        b"the river is dry,bad",  # 13
        b"the wheel turns,nan",  # 14: no label
    ]
    path = tmp_path / "d.csv"
    path.write_bytes(b"\n".join(lines))
    report = inspect(path)
    rows = {code: (problem.rows, problem.action) for code, problem in problems(report).items()}
    assert rows == {
        "empty_text": ([2, 3], "dropped"),
        "missing_text": ([4], "dropped"),
        "missing_label": ([5, 14], "dropped"),
        "encoding": ([6], "dropped"),
        "mojibake": ([7], "kept"),
        "duplicate": ([8], "dropped"),
        "conflict": ([9, 10], "dropped"),
        "broken_row": ([11], "dropped"),
        "rare_label": ([], "kept"),
    }
    assert (report.rows, report.kept, report.labels) == (14, 4, {"bad": 2, "good": 2})
    told = str(report)
    assert "rows 2 (line 3), 3 (line 4)" in told
    assert "rows 9 and 10" in told
    assert "3 fields, the header has 2" in told
    assert "caf\\xe9" in told
    assert "<table>" in report._repr_html_()
    json.dumps(report.to_dict())


def test_a_missing_column_is_told_with_its_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", [{"headlin": "a", "topic": "b"}])
    with pytest.raises(headrace.InvalidArgumentError, match=r"no column 'headline'.*did you mean 'headlin'"):
        inspect(path, columns={"text": "headline"})
    with pytest.raises(headrace.InvalidArgumentError, match=r"no column for the text.*--text-column"):
        inspect(path)
    assert find_columns("classify", ["headlin", "topic"], {"text": "headlin"})["label"] == "topic"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": f"row {i}", "label": "x"} for i in range(5)], "one class only: all 5 rows"),
        ([{"text": "", "label": "x"}], "no row is left of 1"),
    ],
)
def test_what_cannot_be_trained_on_is_an_error(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    report = inspect(write(tmp_path / "d.csv", rows))
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        report.check()


def test_a_label_that_the_model_does_not_know_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", [*ROWS, {"text": "x", "label": "Good"}])
    report = inspect_files({"test": path}, known_labels=["good", "bad"])["test"].report
    with pytest.raises(headrace.InvalidArgumentError, match=r"row 5 \(line 7\) \('Good', perhaps 'good'\)"):
        report.check()


def test_leaks_between_files_leave_the_training(tmp_path: Path) -> None:
    train = write(tmp_path / "a.csv", [*ROWS, {"text": "only here", "label": "bad"}])
    test = write(tmp_path / "b.csv", [{"text": "the MILL,  turning", "label": "good"}, ROWS[3]])
    found = inspect_files({"train": train, "test": test})
    assert problems(found["train"].report)["leakage"].rows == [1, 4]
    assert found["train"].rows.tolist() == [2, 3, 5]
    assert found["test"].rows.tolist() == [1, 2]


def test_a_new_label_in_a_held_out_file_is_an_error(tmp_path: Path) -> None:
    train = write(tmp_path / "a.csv", ROWS)
    test = write(tmp_path / "b.csv", [{"text": "new", "label": "ugly"}])
    with pytest.raises(headrace.InvalidArgumentError, match="ugly"):
        inspect_files({"train": train, "test": test})["test"].report.check()


def test_broken_files_say_where(tmp_path: Path) -> None:
    quote = tmp_path / "quote.csv"
    quote.write_text('text,label\na,b\n"open' + "x" * (17 << 20))
    with pytest.raises(headrace.CorruptFileError, match=r"row 2 \(line 3\).*quote not closed"):
        list(read_blocks(quote))
    quote.write_text('text,label\na,b\n"open,c\nd,e\nf,g\n')
    with pytest.raises(headrace.CorruptFileError, match=r"row 2 \(line 3\): a quote is open at the end"):
        list(read_blocks(quote))
    lines = tmp_path / "d.jsonl"
    lines.write_text('{"text": "a", "label": "b"}\n{"text": \n[1]\n')
    assert list(next(read_blocks(lines)).broken) == [2, 3]
    for name, text in (("e.csv", ""), ("e.jsonl", ""), ("t.csv", "text,text\na,b\n"), ("n.parquet", "no")):
        (tmp_path / name).write_text(text)
        with pytest.raises(headrace.CorruptFileError):
            list(read_blocks(tmp_path / name))
    with pytest.raises(headrace.ModelNotFoundError):
        list(read_blocks(tmp_path / "none.csv"))
    with pytest.raises(headrace.UnsupportedError, match=r"\.parquet"):
        list(read_blocks(write(tmp_path / "folder", ROWS) / "state.json"))


def test_conll_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.conll"
    path.write_text("-DOCSTART- O\n\nMaria NNP B-PER\nruns VBZ O\n\nParis\tB-LOC\n\n\nbroken\n")
    blocks = list(read_blocks(path))
    assert blocks[0].columns["tokens"][:2] == [["Maria", "runs"], ["Paris"]]
    assert blocks[0].columns["tags"][:2] == [["B-PER", "O"], ["B-LOC"]]
    assert list(blocks[0].broken) == [3]
    assert blocks[0].lines == [3, 6, 9]


def test_cells() -> None:
    assert [as_label(value) for value in (1.0, True, " x ", 2)] == ["1", "True", "x", "2"]
    assert not is_missing("none")
    assert as_time("2024-05-31") < as_time("2024-05-31T01:00:00Z") < as_time("2024-06-01")
    assert not is_missing("N")


_PEAK = """
import resource, sys
from headrace.lifecycle.inspection import inspect_files
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
idle = peak()
found = inspect_files({"train": sys.argv[1]}, keep=sys.argv[2] == "keep")["train"].report
print(found.rows, found.kept, peak() - idle)
"""


@pytest.mark.slow
def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """200 MB within 24 MB above an idle process, and for a training 100 bytes a row more; 5 GB by the same code."""
    path, rows = tmp_path / "large.csv", 200_000
    filling = ("the mill turns its wheel in the water of a river, " * 20)[:1000]
    with path.open("w") as file:
        file.write("text,label\n")
        for begin in range(0, rows, 1000):
            file.write("".join(f'"{i}: {filling}",{"ab"[i % 2]}\n' for i in range(begin, begin + 1000)))
    assert path.stat().st_size > 200e6
    for keep, bound in (("report", 24e6), ("keep", 24e6 + 100 * rows)):
        command = [sys.executable, "-c", _PEAK, str(path), keep]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        total, kept, above_idle = map(int, answer.stdout.split())
        assert total == kept == rows
        assert above_idle < bound, (keep, above_idle)


def test_stratified_splits_keep_proportions() -> None:
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    parts = split(1000, labels=labels, validation=0.1, test=0.2, seed=3)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(1000))
    assert np.bincount(labels[parts["test"]]).tolist() == [140, 50, 10]
    assert np.bincount(labels[parts["validation"]]).tolist() == [70, 25, 5]
    same = split(1000, labels=labels, validation=0.1, test=0.2, seed=3)
    other = split(1000, labels=labels, validation=0.1, test=0.2, seed=4)
    assert all((parts[name] == same[name]).all() for name in parts)
    assert (parts["test"] != other["test"]).any()


def test_groups_stay_together_and_times_in_order() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 1000)
    parts = split(1000, groups=groups, validation=0.1, test=0.1)
    sets = [set(groups[places].tolist()) for places in parts.values()]
    assert sum(map(len, sets)) == len(set(groups.tolist()))
    assert 50 < len(parts["test"]) < 150
    times = np.random.default_rng(0).integers(0, 200, 1000).astype(float)
    parts = split(1000, times=times, validation=0.1, test=0.1)
    assert times[parts["train"]].max() < times[parts["validation"]].min()
    assert times[parts["validation"]].max() < times[parts["test"]].min()
    few = split(10, groups=np.repeat([0, 1, 2], [8, 1, 1]), validation=0.1, test=0.1)
    assert [len(places) for places in few.values()] == [8, 1, 1]
    for wrong in ({"validation": 0.6, "test": 0.5}, {"groups": groups, "times": times}):
        with pytest.raises(headrace.InvalidArgumentError):
            split(1000, **wrong)


def test_folds_hold_each_row_out_once() -> None:
    labels = np.repeat([0, 1], [80, 20])
    found = folds(100, 5, labels=labels)
    assert sorted(np.concatenate([held for _, held in found]).tolist()) == list(range(100))
    assert all(np.bincount(labels[held]).tolist() == [16, 4] for _, held in found)
    groups = np.repeat(np.arange(10), 10)
    for train, held in folds(100, 5, groups=groups):
        assert not set(groups[train]) & set(groups[held])


def test_class_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights(labels, 3) == pytest.approx(expected)


def test_the_command_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headrace.cli import main

    path = write(tmp_path / "d.csv", ROWS)
    assert main(["data", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["labels"] == {"bad": 2, "good": 2}
    arguments = ["train", "classify", "--data", str(path), "--base", "demo:minilm", "--out", "x", "--dry-run"]
    assert main(arguments) == 0
    assert "4 rows, 4 used" in capsys.readouterr().out
    one = write(tmp_path / "one.csv", ROWS[:1])
    assert main(["data", str(one)]) == 1
    assert main(["data", str(path), "--text-column", "txt"]) == 2
    assert "did you mean 'text'" in capsys.readouterr().err
