"""Training: a model is learned, served as it was measured, and a killed run goes on to the very same end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server
from safetensors.numpy import load_file

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.lifecycle.batches import Sequences, epoch_order
from headrace.lifecycle.settings import TrainSettings, learning_rate_at
from headrace.lifecycle.training import train, train_classifier

WORDS = ("mill", "wheel", "water", "river", "paris", "maria", "smith")
FAST = {"learning_rate": 5e-3, "precision": "f32", "batch_size": 8}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base() -> Path:
    return headrace.toy.model("embed")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that a tiny model can learn: a word says the class, in texts of different length."""
    chance = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "mills.csv"
    rows = ["text,label,author"]
    for i in range(160):
        word = ("good", "bad")[i % 2]
        filling = " ".join(chance.choice(WORDS, chance.integers(2, 24)))
        rows.append(f"{filling} {word} {i},{word},{i % 16}")
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def trained(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> lifecycle.Training:
    out = tmp_path_factory.mktemp("trained") / "model"
    return train_classifier(data, base, out, epochs=6, patience=4, class_weights="balanced", **FAST)


def test_a_classifier_is_learned(trained: lifecycle.Training) -> None:
    assert trained.rows == {"train": 128, "validation": 16, "test": 16}
    assert trained.test is not None
    assert trained.metrics["accuracy"] >= 0.9
    losses = trained.history.losses
    assert np.mean(losses[-16:]) < np.mean(losses[:16]) / 2
    assert "serve it by" in str(trained)
    assert "<svg" in trained._repr_html_()
    assert (trained.out / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_record_says_what_the_model_was_made_of(trained: lifecycle.Training, data: Path) -> None:
    record = json.loads((trained.out / "training.json").read_text())
    import hashlib

    assert record["data"]["train"]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert record["settings"]["seed"] == 0
    assert {"headrace", "torch", "transformers", "python"} <= record["versions"].keys()
    assert len(record["code"]["sha256"]) == len(record["base"]["sha256"]) == 64
    assert record["test"]["accuracy"] == trained.metrics["accuracy"]
    assert str(data.parent) not in json.dumps(record)
    assert not (trained.out / "checkpoints").exists()


def test_served_answers_are_the_evaluated_ones(
    trained: lifecycle.Training, data: Path, tmp_path: Path
) -> None:
    predictions = tmp_path / "predictions.jsonl"
    found = lifecycle.evaluate(trained.out, data, predictions=predictions)
    assert found.rows == 16
    assert "held out" in found.notes[0]
    assert found.metrics == pytest.approx(trained.metrics)
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    lines = data.read_text().splitlines()
    texts = [lines[row["row"]].split(",")[0] for row in rows]
    with Server(f"mills={trained.out}") as server:
        body = {"model": "mills", "input": texts}
        answer = httpx2.post(f"{server.url}/v1/classify", json=body, timeout=60).json()
        assert server.stop() == 0
    served = [item["labels"][0] for item in answer["data"]]
    assert [label["label"] for label in served] == [row["found"] for row in rows]
    assert [label["score"] for label in served] == pytest.approx([row["score"] for row in rows], abs=1e-5)


def test_transformers_gives_the_same_answers(trained: lifecycle.Training) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = ["the mill is good", "bad water in the river of paris"]
    tokenizer = AutoTokenizer.from_pretrained(str(trained.out))
    model = AutoModelForSequenceClassification.from_pretrained(str(trained.out)).eval()
    with torch.inference_mode():
        expected = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits.softmax(1).numpy()
    with headrace.load(trained.out, precision="f32") as loaded:
        assert loaded.info.labels == ("bad", "good")
        for row, labels in zip(expected, loaded.classify(texts), strict=True):
            scores = {label.label: label.score for label in labels}
            assert [scores["bad"], scores["good"]] == pytest.approx(row, abs=1e-4)


_KILLED = ["--epochs", "6", "--checkpoint-steps", "3", "--batch-size", "8", "--learning-rate", "0.005",
           "--precision", "f32", "--validation", "0.2", "--test", "0.1"]  # fmt: skip


def test_a_killed_training_goes_on_to_the_same_end(data: Path, base: Path, tmp_path: Path) -> None:
    """Kill -9 within an epoch; then the same order of rows, the same losses, the same weights to the last bit."""
    import torch

    out = tmp_path / "killed"
    checkpoint = out / "checkpoints" / "checkpoint.pt"
    command = [sys.executable, "-m", "headrace.cli", "train", "classify", "--data", str(data), "--base", str(base),
               "--out", str(out), *_KILLED]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        assert process.wait(60) == -9, process.stderr.read() if process.stderr else ""
    step = torch.load(checkpoint, weights_only=True)["step"]
    steps_an_epoch = 14  # 112 rows
    assert 0 < step < 6 * steps_an_epoch

    numbers = TrainSettings(epochs=6, checkpoint_steps=3, validation=0.2, **FAST)
    with pytest.raises(headrace.InvalidArgumentError, match=r"was stopped.*--resume"):
        train("classify", data, base, out, numbers)
    other = TrainSettings(epochs=6, checkpoint_steps=3, validation=0.2, seed=1, **FAST)
    with pytest.raises(headrace.InvalidArgumentError, match="another training"):
        train("classify", data, base, out, other, resume=True)
    resumed = train("classify", data, base, out, numbers, resume=True)
    whole = train("classify", data, base, tmp_path / "whole", numbers)
    assert resumed.history.resumed_at == step
    assert resumed.history.losses == whole.history.losses
    assert resumed.metrics == whole.metrics
    with pytest.raises(headrace.InvalidArgumentError, match="finished"):
        train("classify", data, base, out, numbers, resume=True)
    one, two = (load_file(folder / "model.safetensors") for folder in (out, whole.out))
    assert all((one[name] == two[name]).all() for name in one)


def test_early_stopping_keeps_the_best_epoch(data: Path, base: Path, tmp_path: Path) -> None:
    settings = {**FAST, "learning_rate": 0.2}
    found = train_classifier(data, base, tmp_path / "m", epochs=12, patience=1, seed=1, **settings)
    assert found.history.stopped_early
    assert len(found.history.epochs) == found.history.best_epoch + 1 < 12


def test_cross_validation_and_groups(data: Path, base: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, folds=3, **FAST)
    columns = lifecycle.DataSettings(columns={"group": "author"})
    found = train("classify", data, base, tmp_path / "m", settings, data_settings=columns)
    assert len(found.cross_validation) == 3
    assert "3 folds: accuracy" in str(found)
    with np.load(found.out / "splits.npz") as saved:
        authors = [set(((saved[part] - 1) % 16).tolist()) for part in ("train", "validation", "test")]
    assert sum(map(len, authors)) == 16


def test_given_files_and_frozen_layers_and_bf16(data: Path, base: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()
    for name, rows in (("train", lines[1:120]), ("test", lines[120:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *rows]))
    numbers = TrainSettings(epochs=1, freeze_layers=1, precision="bf16", schedule="cosine", validation=0)
    found = train(
        "classify", tmp_path / "train.csv", base, tmp_path / "m", numbers, test_file=tmp_path / "test.csv"
    )
    assert found.rows == {"train": 119, "validation": 0, "test": 41}
    old, new = load_file(base / "model.safetensors"), load_file(found.out / "model.safetensors")
    changed = {name.split(".")[3] for name in old if "layer" in name and (old[name] != new[name]).any()}
    assert changed == {"1"}
    assert (
        old["bert.embeddings.word_embeddings.weight"] == new["bert.embeddings.word_embeddings.weight"]
    ).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"precision": "f16"}, "one of auto, f32, bf16"),
        ({"validation": 0.6, "test": 0.5}, "below 1"),
        ({"max_tokens": 4096}, "takes at most 512"),
        ({"freeze_layers": 9}, "has 2 layers"),
    ],
)
def test_wrong_settings_are_refused(
    settings: Any, message: str, data: Path, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        train_classifier(data, base, tmp_path / "m", **settings)


def test_what_cannot_be_trained_is_refused(data: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("x")
    with pytest.raises(headrace.InvalidArgumentError, match="not empty"):
        train_classifier(data, base, tmp_path)
    with pytest.raises(headrace.InvalidArgumentError, match="no training wrote this folder"):
        train_classifier(data, base, tmp_path, overwrite=True)
    for own in (data.parent, base.parent, base):
        with pytest.raises(headrace.InvalidArgumentError, match="which this training needs"):
            train_classifier(data, base, own, overwrite=True)
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(headrace.CorruptFileError, match="GGUF"):
        train_classifier(data, gguf, tmp_path / "m")
    with pytest.raises(headrace.InvalidArgumentError, match="one of classify"):
        train("juggle", data, base, tmp_path / "m")


def test_batches_have_little_padding_and_a_fixed_order() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, 3000)
    order = epoch_order(lengths, 32, seed=1, epoch=2)
    assert sorted(np.concatenate(order).tolist()) == list(range(3000))
    padded = sum(len(batch) * lengths[batch].max() for batch in order)
    assert padded < 1.1 * lengths.sum()
    again = epoch_order(lengths, 32, seed=1, epoch=2)
    other = epoch_order(lengths, 32, seed=1, epoch=3)
    assert all((one == two).all() for one, two in zip(order, again, strict=True))
    assert any(len(one) != len(two) or (one != two).any() for one, two in zip(order, other, strict=True))
    tokens = Sequences([[1, 2, 3], [4]])
    assert tokens.padded(np.array([1, 0]), 9).tolist() == [[4, 9, 9], [1, 2, 3]]


def test_learning_rates_are_those_of_transformers() -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

    for name, make in (
        ("linear", get_linear_schedule_with_warmup),
        ("cosine", get_cosine_schedule_with_warmup),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = make(optimizer, 0, 50)
        numbers = TrainSettings(learning_rate=0.5, warmup=0, schedule=name)  # type: ignore[arg-type]
        for step in range(50):
            assert 2 * learning_rate_at(numbers, step, 50) == pytest.approx(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
