"""Models whose weights lie in several files: the same answers, and clear words where the files do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headrace

TINY = Path(__file__).parents[1] / "golden" / "tiny_bert"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
Map = dict[str, str]


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The tiny model with every second tensor in another file, as large models are published."""
    path = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names = sorted(tensors)
    map_: Map = {}
    for file, part in ((FIRST, names[::2]), (SECOND, names[1::2])):
        save_file({name: tensors[name] for name in part}, path / file)
        map_ |= dict.fromkeys(part, file)
    write_index(path, map_)
    return path


def write_index(path: Path, map_: Map) -> None:
    (path / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": map_}))


def read_map(path: Path) -> Map:
    return json.loads((path / INDEX).read_text())["weight_map"]


def test_answers_are_those_of_one_file(sharded: Path) -> None:
    texts = ["the mill", "water turns the wheel"]
    with headrace.load(TINY) as one, headrace.load(sharded) as several:
        assert np.array_equal(one.embed(texts), several.embed(texts))
        assert several.info.parameters == one.info.parameters


def test_transformers_own_shards(tmp_path: Path) -> None:
    from transformers import AutoModel

    path = tmp_path / "tiny"
    shutil.copytree(TINY, path, ignore=shutil.ignore_patterns("model.safetensors"))
    AutoModel.from_pretrained(TINY).save_pretrained(path, max_shard_size="8KB")
    assert len(list(path.glob("model-*.safetensors"))) > 2
    with headrace.load(TINY) as one, headrace.load(path) as several:
        assert np.array_equal(one.embed("the mill"), several.embed("the mill"))


def _missing_shard(path: Path) -> None:
    (path / SECOND).unlink()


def _missing_index(path: Path) -> None:
    (path / INDEX).unlink()


def _cut_shard(path: Path) -> None:
    (path / SECOND).write_bytes((path / SECOND).read_bytes()[:-1])


def _unnamed_tensor(path: Path) -> None:
    map_ = read_map(path)
    map_.pop(next(iter(map_)))
    write_index(path, map_)


def _tensor_twice(path: Path) -> None:
    tensors = load_file(path / SECOND)
    name, value = next(iter(load_file(path / FIRST).items()))
    save_file({**tensors, name: value}, path / SECOND)


def _tensor_nowhere(path: Path) -> None:
    write_index(path, {**read_map(path), "ghost": FIRST})


def _escape(path: Path) -> None:
    shutil.move(path / FIRST, path.parent / FIRST)
    write_index(path, {k: v if v == SECOND else f"../{FIRST}" for k, v in read_map(path).items()})


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_missing_shard, headrace.ModelNotFoundError, f"{SECOND}: no such file"),
        (_missing_index, headrace.ModelNotFoundError, r"no weights; there must be model\.safetensors"),
        (_cut_shard, headrace.CorruptFileError, SECOND),
        (_unnamed_tensor, headrace.CorruptFileError, "does not name"),
        (_tensor_twice, headrace.CorruptFileError, f"{SECOND}: holds the tensor .* places in {FIRST}"),
        (_tensor_nowhere, headrace.CorruptFileError, "'ghost' is missing"),
        (_escape, headrace.CorruptFileError, "without folders"),
    ],
)
def test_files_that_do_not_fit(
    sharded: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    damage(sharded)
    with pytest.raises(error, match=message):
        headrace.load(sharded)
