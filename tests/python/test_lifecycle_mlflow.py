"""Trainings are logged to MLflow; the database is read as such, so that it is MLflow's own that is tested."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(200, 2)).round(3)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "label"])
        rows.writerows([*row, "wet" if row[0] > row[1] else "dry"] for row in x)
    return tmp_path / "table.csv"


def train(data: Path, address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace.cli", "train", "tabular", "--data", str(data), "--out",
               str(data.parent / "model"), "--estimator", "dense", "--epochs", "2", "--json"]  # fmt: skip
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": address, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1",
        "MLFLOW_EXPERIMENT_NAME": "mills",
    }  # fmt: skip
    return subprocess.run(
        command, env=environment, cwd=data.parent, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_training_is_logged(data: Path) -> None:
    done = train(data, f"sqlite:///{data.parent}/log.db")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with sqlite3.connect(data.parent / "log.db") as log:
        ((run, name, status, artifacts, experiment),) = log.execute(
            "select run_uuid, runs.name, status, artifact_uri, experiments.name"
            " from runs join experiments using (experiment_id)"
        ).fetchall()
        assert (name, status, experiment) == ("model", "FINISHED", "mills")
        parameters = dict(log.execute("select key, value from params where run_uuid = ?", [run]))
        assert parameters["task"] == "tabular"
        assert parameters["estimator"] == "dense"
        assert parameters["epochs"] == "2"
        found = log.execute("select key, step, value from metrics where run_uuid = ?", [run]).fetchall()
    losses = [value for _, _, value in sorted(row for row in found if row[0] == "loss")]
    assert losses == pytest.approx(told["history"]["losses"], abs=1e-6)
    last = {key: value for key, step, value in found if step == len(losses)}
    assert last["test_accuracy"] == told["metrics"]["accuracy"]
    assert last["validation_loss"] == pytest.approx(told["history"]["epochs"][1]["validation"]["loss"])
    folder = data.parent / artifacts.removeprefix("file://")
    assert {path.name for path in folder.iterdir()} == {"training.json", "loss.png"}


def test_a_log_that_cannot_be_written_is_said_before_the_training(data: Path) -> None:
    done = train(data, "nonsense://log")
    assert done.returncode == 2
    assert "MLFLOW_TRACKING_URI=nonsense://log: trainings cannot be logged there" in done.stderr
    assert not (data.parent / "model").exists()
