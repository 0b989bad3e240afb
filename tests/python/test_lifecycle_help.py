"""`--help` of the commands of the lifecycle shows options by the task or method that they are for."""

from __future__ import annotations

import re

import pytest

from headrace.cli import main


def groups(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, set[str]]:
    """Title of each group of options -> its options, as a reader sees them."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    found: dict[str, set[str]] = {}
    title = ""
    for line in capsys.readouterr().out.partition("\nexamples:")[0].partition("\nmethods:")[0].splitlines():
        if re.fullmatch(r"\S.*:", line):
            title = line[:-1]
        elif option := re.match(r"  (?:-h, )?(--[a-z-]+)", line):
            found.setdefault(title, set()).add(option[1])
    return found


def test_train_shows_options_by_task(capsys: pytest.CaptureFixture[str]) -> None:
    found = groups("train", capsys)
    assert found["of classify"] == {"--text-column", "--label-column", "--multi-label", "--class-weights"}
    assert found["of generate"] == {"--prompt-column", "--lora-rank", "--lora-alpha"}
    assert found["of tabular"] == {"--estimator"}
    assert found["of recommend"] == {
        *("--user-column", "--item-column", "--rating-column", "--when-column", "--min-rating", "--network")
    }
    assert found["of image"] == {"--path-column", "--image-size"}
    assert {"--epochs", "--batch-size", "--learning-rate", "--seed"} <= found["recipe, of all tasks"]
    assert "--freeze-layers" in found["of classify, tag, embed and rerank"]


def test_compress_shows_options_by_method_and_none_of_other_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    found = groups("compress", capsys)
    assert found["of distill"] == {
        *("--student", "--student-layers", "--temperature", "--label-weight", "--hidden-weight")
    }
    assert found["of prune-heads, prune-neurons, prune-layers and prune-weights"] == {
        *("--share", "--importance", "--importance-rows")
    }
    assert {"--recover-epochs", "--precision", "--learning-rate"} <= found["of prune-* and distill: recovery"]
    every = set().union(*found.values())
    assert not every & {"--user-column", "--item-column", "--path-column", "--estimator"}
    assert "of recommend" not in found


@pytest.mark.parametrize("command", ["data", "evaluate"])
def test_columns_stand_with_their_task(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = groups(command, capsys)
    assert found["of tag"] == {"--tokens-column", "--tags-column"}
    assert ("of recommend" in found) == (command == "evaluate")
