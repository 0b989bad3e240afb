"""A training on two processes, started by torchrun or by Ray Train, makes the steps that one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import headrace
import headrace.toy
from headrace import lifecycle

WORDS = ("mill", "wheel", "water", "river", "paris", "maria", "smith")
NUMBERS = ["--epochs", "1", "--batch-size", "8", "--learning-rate", "0.005", "--precision", "f32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that a tiny model can learn: a word says the class, in texts of different length."""
    chance = np.random.default_rng(0)
    rows = ["text,label"]
    for i in range(160):
        word = ("good", "bad")[i % 2]
        rows.append(f"{' '.join(chance.choice(WORDS, chance.integers(2, 24)))} {word} {i},{word}")
    path = tmp_path_factory.mktemp("data") / "mills.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout, whose chance each process has for itself."""
    folder = headrace.toy.model("embed", tmp_path_factory.mktemp("base") / "base")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def command(start: list[str], data: Path, base: Path, out: Path) -> dict[str, Any]:
    """What the command prints as JSON; once, however many processes it is."""
    run = [*start, "-m", "headrace.cli", "train", "classify", "--data", str(data), "--base", str(base),
           "--out", str(out), "--json", *NUMBERS]  # fmt: skip
    if start == [sys.executable]:
        run += ["--ray-workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    answer: dict[str, Any] = json.loads(line)
    return answer


@pytest.fixture(scope="module")
def torchrun(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    out = tmp_path_factory.mktemp("torchrun") / "model"
    return command(start, data, base, out), out


def test_two_processes_make_the_steps_of_one(
    torchrun: tuple[dict[str, Any], Path], data: Path, base: Path, tmp_path: Path
) -> None:
    told, _ = torchrun
    settings = lifecycle.TrainSettings(epochs=1, batch_size=8, learning_rate=0.005, precision="f32")
    one = lifecycle.train("classify", data, base, tmp_path / "one", settings)
    assert told["history"]["losses"] == pytest.approx(one.history.losses, abs=1e-4)
    assert told["metrics"]["accuracy"] == one.metrics["accuracy"]


def test_workers_of_ray_give_the_weights_of_torchrun(
    torchrun: tuple[dict[str, Any], Path], data: Path, base: Path, tmp_path: Path
) -> None:
    told, out = torchrun
    found = command([sys.executable], data, base, tmp_path / "ray")
    assert found["history"]["losses"] == told["history"]["losses"]
    assert found["metrics"] == told["metrics"]
    one, two = load_file(out / "model.safetensors"), load_file(tmp_path / "ray" / "model.safetensors")
    assert one.keys() == two.keys()
    assert all((one[name] == two[name]).all() for name in one)
    assert [path.name for path in tmp_path.iterdir()] == ["ray"]  # Ray's own records are gone


def test_what_ray_cannot_do_is_said(data: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="ray_workers=0"):
        lifecycle.train("classify", data, base, tmp_path / "m", ray_workers=0)
