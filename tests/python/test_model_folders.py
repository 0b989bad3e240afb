"""`headrace serve DIR`: a folder of models, versions of a model, and what happens when some of them are broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import numpy as np
import pytest
from conftest import Server

import headrace
import headrace.toy
from headrace.loading import Wanted, parse_models


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An embedder, a tagger in three versions, one broken model, and what is no model."""
    path = tmp_path / "models"
    headrace.toy.model("embed", path / "embedder")
    for version in ("1", "9", "10"):
        headrace.toy.model("tag", path / "tagger" / version, seed=int(version))
    broken = headrace.toy.model("classify", path / "broken")
    (broken / "model.safetensors").write_bytes(b"x" * 100)
    headrace.toy.model("embed", path / ".hidden")
    (path / "notes").mkdir()
    (path / "notes" / "readme.txt").write_text("nothing to serve")
    (path / "list.txt").write_text("a file")
    return path


def refused(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_a_folder_is_each_model_in_it(folder: Path) -> None:
    assert parse_models([str(folder)]) == {
        name: Wanted(str(folder / name), required=False) for name in ("broken", "embedder", "tagger")
    }
    assert list(parse_models([f"mine={folder}/embedder", str(folder)])) == [
        "mine",
        "broken",
        "embedder",
        "tagger",
    ]
    with pytest.raises(headrace.InvalidArgumentError, match="two models are named 'embedder'"):
        parse_models([str(folder), str(folder / "embedder")])


def test_the_highest_version_is_taken(folder: Path) -> None:
    assert parse_models([str(folder / "tagger")]) == {"tagger": Wanted(str(folder / "tagger"))}
    with headrace.load(folder / "tagger") as model, headrace.load(folder / "tagger" / "9") as older:
        assert model.name == "tagger"
        assert model.info.path == str(folder / "tagger" / "10")
        new, old = model.tag("maria smith", aggregation="none"), older.tag("maria smith", aggregation="none")
        assert [e.score for e in new[0]] != [e.score for e in old[0]]


def test_numbers_beside_names_are_names(tmp_path: Path) -> None:
    for name in ("2024", "embedder"):
        headrace.toy.model("embed", tmp_path / name)
    assert list(parse_models([str(tmp_path)])) == ["2024", "embedder"]


def test_a_folder_of_models_is_no_model(folder: Path) -> None:
    with pytest.raises(headrace.ModelNotFoundError, match="give one of them: broken, embedder, tagger"):
        headrace.load(folder)
    code, lines = refused(f"mine={folder}")
    assert (code, len(lines)) == (2, 1)
    assert "give one of them" in lines[0]


def test_the_rest_is_served_without_a_broken_one(folder: Path) -> None:
    with Server(str(folder)) as server:
        assert server.started["models"] == ["embedder", "tagger"]
        assert server.started["failed"] == ["broken"]
        (line,) = server.errors().splitlines()
        assert line.startswith("headrace: error: model 'broken' is not served: ")
        assert "model.safetensors" in line

        ready = httpx2.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.text) == (200, "ok\nwithout: broken\n")
        listed = httpx2.get(f"{server.url}/v1/models").json()["data"]
        assert [model["id"] for model in listed] == ["embedder", "tagger"]
        body = {"model": "broken", "input": "the mill"}
        for route in ("/v1/classify", "/v1/embeddings"):
            answer = httpx2.post(server.url + route, json=body)
            assert answer.status_code == 500
            assert answer.json()["error"]["code"] == "model_failed"
            assert str(folder) not in answer.text
        with headrace.Client(server.url) as client, headrace.load(folder / "embedder") as model:
            assert np.array_equal(client.embed("the mill", model="embedder"), model.embed("the mill"))
        assert server.stop() == 0


def test_a_model_that_was_named_must_load(folder: Path) -> None:
    code, lines = refused(str(folder / "embedder"), str(folder / "broken"))
    assert (code, len(lines)) == (2, 1)
    assert "model.safetensors" in lines[0]


def test_nothing_that_can_be_served_ends_the_start(folder: Path, tmp_path: Path) -> None:
    for name in ("embedder", "tagger"):
        for weights in (folder / name).rglob("model.safetensors"):
            weights.unlink()
    code, lines = refused(str(folder))
    assert code == 2
    assert [line.split(": ")[2] for line in lines] == [
        *(f"model {name!r} is not served" for name in ("broken", "embedder", "tagger")),
        "none of the 3 models could be loaded",
    ]
    (tmp_path / "empty").mkdir()
    code, lines = refused(str(tmp_path / "empty"))
    assert (code, len(lines)) == (2, 1)
    assert "no model in it" in lines[0]
