"""Killed trainings of tables, recommenders and pictures go on to the very same end, by the loop of all tasks."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.lifecycle.settings import settings_for

pytestmark = pytest.mark.usefixtures("one_thread")  # its sums are those of the process that is killed


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
    return path


def table(folder: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(400, 3)).round(3)
    rows = [[*row, "wet" if row[0] - row[1] > 0.2 else "dry"] for row in x]
    return write(folder / "table.csv", ["a", "b", "c", "label"], rows)


def ratings(folder: Path) -> Path:
    chance = np.random.default_rng(0)
    rows = [
        [user, f"film {user % 4 * 15 + film}", time]
        for user in range(200)
        for time, film in enumerate(chance.permutation(15)[:9])
    ]
    return write(folder / "ratings.csv", ["user", "item", "time"], rows)


def photos(folder: Path) -> Path:
    chance = np.random.default_rng(0)
    for i in range(120):
        pixels = chance.integers(0, 90, (30, 40, 3))
        pixels[slice(0, 15) if i % 2 else slice(15, 30)] += 140
        path = folder / "photos" / ("above" if i % 2 else "below") / f"{i}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder / "photos"


CASES: dict[str, tuple[Any, str, dict[str, Any], dict[str, Any]]] = {
    "tabular": (table, "tabular", {"epochs": 4, "batch_size": 16}, {"estimator": "dense"}),
    "recommend": (ratings, "recommend", {"epochs": 4, "batch_size": 10}, {}),
    "image": (photos, "image", {"epochs": 3, "batch_size": 8}, {"image_size": 32}),
    "vit": (photos, "image", {"epochs": 2, "batch_size": 8, "precision": "f32"}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_goes_on_to_the_same_end(case: str, tmp_path: Path) -> None:
    """Kill -9 within an epoch; then the same order of rows, the same losses, the same file of weights."""
    import torch

    make, task, numbers, more = CASES[case]
    numbers["checkpoint_steps"] = 2
    base = headrace.toy.vision_model(labels=0) if case == "vit" else None
    data, out = make(tmp_path), tmp_path / "killed"
    given = {**numbers, **more} if base is None else {**numbers, "base": base}
    command = [sys.executable, "-m", "headrace.cli", "train", task, "--data", str(data), "--out", str(out)]
    command += [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value))]
    checkpoint = out / "checkpoints" / "checkpoint.pt"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        assert process.wait(60) == -9, process.stderr.read() if process.stderr else ""
    step = torch.load(checkpoint, weights_only=True)["step"]

    settings = settings_for(task, from_scratch=base is None, **numbers)
    with pytest.raises(headrace.InvalidArgumentError, match=r"was stopped.*--resume"):
        lifecycle.train(task, data, base, out, settings, **more)
    other = settings_for(task, from_scratch=base is None, **numbers, seed=1)
    with pytest.raises(headrace.InvalidArgumentError, match="another training"):
        lifecycle.train(task, data, base, out, other, resume=True, **more)
    resumed = lifecycle.train(task, data, base, out, settings, resume=True, **more)
    whole = lifecycle.train(task, data, base, tmp_path / "whole", settings, **more)
    assert 0 < step <= len(whole.history.losses)
    assert resumed.history.resumed_at == step
    assert resumed.history.losses == whole.history.losses
    assert [one.validation for one in resumed.history.epochs] == [
        one.validation for one in whole.history.epochs
    ]
    assert resumed.metrics == whole.metrics
    name = "model.onnx" if base is None else "model.safetensors"
    assert (out / name).read_bytes() == (whole.out / name).read_bytes()
    assert not (out / "checkpoints").exists()
    with pytest.raises(headrace.InvalidArgumentError, match="finished"):
        lifecycle.train(task, data, base, out, settings, resume=True, **more)


def test_what_has_no_steps_begins_anew(tmp_path: Path) -> None:
    """Of scikit-learn's estimators there is no checkpoint: the same command does it all again."""
    data, out = table(tmp_path), tmp_path / "model"
    (out / "checkpoints" / "package").mkdir(parents=True)  # killed while it was packaged
    (out / "checkpoints" / "package" / "model.onnx").write_bytes(b"half")
    with pytest.raises(headrace.InvalidArgumentError, match="--resume"):
        lifecycle.train("tabular", data, None, out)
    made = lifecycle.train("tabular", data, None, out, resume=True)
    assert made.metrics["accuracy"] > 0.8
    assert json.loads((out / "training.json").read_text())["estimator"] == "boosting"
    assert not (out / "checkpoints").exists()
