"""Trainings that end as packaged folders (tables, recommenders, pictures), several labels a text, and their figures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.lifecycle.metrics import multilabel
from headrace.lifecycle.scan import DataSettings
from headrace.lifecycle.settings import TrainSettings, settings_for


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
    return path


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of which age and country tell who stays, visits a little, and noise nothing."""
    chance = np.random.default_rng(0)
    rows = []
    for i in range(500):
        age, country, visits = (
            int(chance.integers(18, 80)),
            ["FR", "DE", "PL"][chance.integers(3)],
            chance.poisson(4),
        )
        stays = (age - 45) / 12 + (2 if country == "PL" else -1) - 0.2 * visits > 0
        rows.append([f"u{i}", "" if i % 50 == 0 else age, country, visits, f"{chance.normal():.3f}",
                     "stays" if stays else "leaves"])  # fmt: skip
    path = tmp_path_factory.mktemp("tables") / "churn.csv"
    return write(path, ["id (x)", "age", "country", "visits", "noise", "target"], rows)


@pytest.fixture(scope="module")
def folder(churn: Path) -> Path:
    out = churn.parent / "boosting"
    lifecycle.train("tabular", churn, None, out)
    return out


def test_a_table(churn: Path, folder: Path) -> None:
    found = lifecycle.evaluate(folder, churn)  # the rows that were held out
    assert found.rows == 50
    assert found.metrics["accuracy"] >= 0.85
    record = json.loads((folder / "training.json").read_text())
    assert record["test"]["accuracy"] == found.metrics["accuracy"]
    with headrace.load(folder) as model:
        assert [spec.name for spec in model.info.inputs] == ["age", "country", "visits", "noise"]
        one = {"age": 70, "country": "PL", "visits": 1, "noise": 0.0}
        assert model.info.labels[int(model.predict(one)["probabilities"].argmax())] == "stays"
        # A country that the training never saw, and no age at all.
        assert np.isfinite(
            model.predict({**one, "country": "XX", "age": float("nan")})["probabilities"]
        ).all()
        why = model.explain(one, target="stays")
        assert why.gap < 1e-6
        assert dict(why.top(4))["noise"] == pytest.approx(0, abs=0.15)
        assert why.baseline == "the mean of the model's examples"


def test_importance(churn: Path, folder: Path) -> None:
    found = lifecycle.importance(folder, churn, repeats=3)
    assert (found.rows, found.metric, found.evaluations) == (50, "accuracy", 50 * (1 + 4 * 3))
    drops = dict(zip(found.names, found.drops, strict=True))
    assert min(drops["age"], drops["country"]) > 0.1 > drops["noise"]
    assert found.value == lifecycle.evaluate(folder, churn, bootstrap=0).metrics["accuracy"]
    assert str(found).splitlines()[1].split()[0] in ("age", "country")
    assert "<svg" in found._repr_html_()


@pytest.mark.parametrize("estimator", ["logistic", "dense"])
def test_other_estimators(churn: Path, folder: Path, tmp_path: Path, estimator: str) -> None:
    settings = settings_for("tabular", epochs=12)
    made = lifecycle.train("tabular", churn, None, tmp_path / "model", settings, estimator=estimator)
    assert made.metrics["accuracy"] >= 0.8
    assert len(made.history.epochs) == (12 if estimator == "dense" else 0)
    compared = lifecycle.evaluate(made.out, churn, compare=folder, bootstrap=50)
    assert compared.comparison["differences"][0].name == "accuracy"


@pytest.mark.parametrize("estimator", ["boosting", "dense"])
def test_a_quantity(tmp_path: Path, estimator: str) -> None:
    chance = np.random.default_rng(1)
    x = chance.normal(size=(300, 2)).round(3)
    data = write(
        tmp_path / "q.csv", ["a", "b", "y"], [[*row, round(100 + 20 * row[0] - 5 * row[1], 2)] for row in x]
    )
    made = lifecycle.train("tabular", data, None, tmp_path / "model", estimator=estimator)
    assert made.metrics["r2"] > 0.9
    with headrace.load(made.out) as model:
        assert model.info.labels == ()
        assert model.predict({"a": 0.0, "b": 0.0})["value"] == pytest.approx(100, abs=8)
    assert lifecycle.importance(made.out, data, repeats=1).metric == "r2"


def test_bad_tables(churn: Path, folder: Path, tmp_path: Path) -> None:
    rows = [[i, i % 2] for i in range(20)] + [[3, 1], [3, 1], ["x", ""], [5, ""]]
    data = write(tmp_path / "bad.csv", ["a", "target"], rows)
    report = lifecycle.train("tabular", data, None, tmp_path / "m", estimator="logistic").data
    told = {problem.code: problem for problem in report.problems}
    assert (told["missing_label"].rows, told["missing_label"].count) == ([23, 24], 2)
    assert told["duplicate"].rows == [21, 22]
    for header, rows, says in (
        (["a", "b"], [[1, 2]], "no column for the label"),
        (["a", "target"], [[i, "one"] for i in range(9)], "one class only"),
        (["a", "target"], [[1, i % 2] for i in range(9)], "can be a feature"),
        (["a", "target"], [], "no rows"),
    ):
        with pytest.raises(headrace.InvalidArgumentError, match=says):
            lifecycle.train("tabular", write(tmp_path / "x.csv", header, rows), None, tmp_path / "x")
    other = write(
        tmp_path / "other.csv", ["age", "country", "visits", "noise", "target"], [[30, "FR", 1, 0, "stay"]]
    )
    with pytest.raises(headrace.InvalidArgumentError, match="a label that the model does not know"):
        lifecycle.evaluate(folder, other)
    with pytest.raises(headrace.InvalidArgumentError, match="no column 'visits'"):
        lifecycle.evaluate(
            folder, write(tmp_path / "less.csv", ["age", "country", "target"], [[3, "FR", "stays"]])
        )
    for arguments, says in (
        ({"estimator": "forest"}, "must be one of boosting"),
        ({"image_size": 3}, "takes estimator"),
        ({"settings": settings_for("tabular", folds=3)}, "folds=3: not for"),
    ):
        with pytest.raises(headrace.InvalidArgumentError, match=says):
            lifecycle.train("tabular", churn, None, tmp_path / "y", **arguments)
    with pytest.raises(headrace.InvalidArgumentError, match="begins with nothing"):
        lifecycle.train("tabular", churn, "demo:minilm", tmp_path / "y")
    with pytest.raises(headrace.InvalidArgumentError, match="needs a base model"):
        lifecycle.train("classify", churn, None, tmp_path / "y")


def test_the_command(churn: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "headrace.cli", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    out = str(tmp_path / "model")
    told = json.loads(
        run("train", "tabular", "--data", str(churn), "--out", out, "--estimator", "logistic", "--json")
    )
    assert told["metrics"]["accuracy"] > 0.8
    found = json.loads(run("explain", out, "--data", str(churn), "--repeats", "1", "--json"))
    assert found["features"][0]["name"] in ("age", "country")
    assert json.loads(run("evaluate", out, "--data", str(churn), "--json"))["metrics"]["accuracy"] > 0.8


@pytest.mark.parametrize("network", ["two-towers", "ncf"])
def test_a_recommender(network: str, tmp_path: Path) -> None:
    """Everyone likes the films of one kind: a model that learns it beats what most have seen."""
    chance = np.random.default_rng(0)
    rows = []
    for user in range(120):
        kind = chance.integers(4)
        for place, film in enumerate(chance.permutation(15)[:9]):
            rows.append([f"u{user}", f"film {kind * 15 + film}", 4, place])
        rows.append([f"u{user}", f"film {(kind + 1) % 4 * 15}", 1, 99])  # what nobody liked
    data = write(tmp_path / "ratings.csv", ["user", "item", "rating", "time"], rows)
    settings = settings_for("recommend", epochs=12)
    made = lifecycle.train(
        "recommend", data, None, tmp_path / "model", settings, min_rating=2, network=network
    )
    assert made.metrics["recall@10"] > 2 * made.metrics["popular_recall@10"]
    assert made.metrics["ndcg@10"] > 2 * made.metrics["popular_ndcg@10"]
    found = lifecycle.evaluate(made.out, data, bootstrap=50)
    assert found.rows == 120
    assert found.metrics == made.test.metrics  # type: ignore[union-attr]
    with headrace.load(made.out) as model:
        had = [model.info.labels.index(f"film {i}") for i in range(4)]
        said = [model.info.labels[i] for i in model.predict({"items": had})["items_next"]]
        assert not {f"film {i}" for i in range(4)} & set(said)
        assert sum(film in {f"film {i}" for i in range(15)} for film in said) >= 8
        together = model.predict_many([{"items": had}, {"items": had[:1]}])
        assert together[0]["items_next"].tolist() == model.predict({"items": had})["items_next"].tolist()
    with pytest.raises(headrace.InvalidArgumentError, match="two-towers, ncf"):
        lifecycle.train("recommend", data, None, tmp_path / "y", settings, network="bag")
    with pytest.raises(headrace.InvalidArgumentError, match="two items"):
        lifecycle.train(
            "recommend", write(tmp_path / "x.csv", ["user", "item"], [["a", "b"]]), None, tmp_path / "x"
        )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of each kind: light above, or light below."""
    chance = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("photos")
    for i in range(80):
        pixels = chance.integers(0, 90, (30, 40, 3))
        half = slice(0, 15) if i % 2 else slice(15, 30)
        pixels[half] += 140
        path = root / ("above" if i % 2 else "below") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (root / "above" / "broken.png").write_bytes(b"no picture")
    (root / "below" / "again.png").write_bytes((root / "below" / "0.png").read_bytes())
    return root


def test_pictures_from_nothing(photos: Path, tmp_path: Path) -> None:
    settings = settings_for("image", epochs=4, validation=0.2, test=0.2)
    made = lifecycle.train("image", photos, None, tmp_path / "model", settings)
    assert made.rows == {"train": 48, "validation": 16, "test": 16}
    assert made.metrics["accuracy"] >= 0.9
    told = {problem.code: problem.count for problem in made.data.problems}
    assert told == {"unreadable": 1, "duplicate": 1}
    assert lifecycle.evaluate(made.out, photos, bootstrap=0).metrics["accuracy"] == made.metrics["accuracy"]
    with headrace.load(made.out) as model:
        [spec] = model.info.inputs
        assert spec.shape == (32, 32, 3)
        picture = headrace.pictures.resize(headrace.pictures.decode(photos / "above" / "1.png"), (32, 32))
        why = model.explain({"image": picture}, target="above", segments=4)
        assert why.picture is not None
        assert why.gap < 1e-6


def test_pictures_of_a_vit(photos: Path, tmp_path: Path) -> None:
    rows = [[f"{path.parent.name}/{path.name}", path.parent.name] for path in sorted(photos.rglob("*.png"))]
    listed = write(photos / "list.csv", ["path", "label"], rows)
    settings = TrainSettings(epochs=4, learning_rate=3e-3, precision="f32", validation=0.2, test=0.2)
    made = lifecycle.train("image", listed, headrace.toy.vision_model(labels=0), tmp_path / "model", settings)
    assert made.metrics["accuracy"] >= 0.8
    with headrace.load(made.out) as model:
        assert model.info.modalities == ("image",)
        assert model.classify(images=photos / "above" / "1.png")[0][0].label == "above"
    assert lifecycle.evaluate(made.out, listed, bootstrap=0).metrics["accuracy"] == made.metrics["accuracy"]


def test_several_labels(tmp_path: Path) -> None:
    rows = []
    for i in range(240):
        labels = ["good"] * (i % 2) + ["bad"] * (i % 3 == 0)
        rows.append({"text": f"{' '.join(labels)} mill {i}", "labels": labels})
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    settings = TrainSettings(epochs=6, learning_rate=5e-3, batch_size=16, precision="f32", test=0.2)
    several = DataSettings(label_separator=",")
    made = lifecycle.train(
        "classify", data, headrace.toy.model("embed"), tmp_path / "model", settings, data_settings=several
    )
    assert made.metrics["f1_micro"] > 0.9
    assert made.data.labels == {"bad": 80, "good": 120}
    found = lifecycle.evaluate(made.out, data, bootstrap=20)
    assert found.metrics["accuracy"] == made.metrics["accuracy"]
    with headrace.load(made.out) as model:
        assert model.info.activation == "sigmoid"
        scores = {label.label: label.score for label in model.classify("good bad mill 6")[0]}
        assert min(scores.values()) > 0.5
    # The same rows as a CSV with the labels in one cell.
    table = write(
        tmp_path / "rows.csv",
        ["text", "labels"],
        [[row["text"], "|".join(row["labels"])] for row in rows if row["labels"]],
    )
    again = lifecycle.evaluate(made.out, table, data_settings=DataSettings(label_separator="|"), bootstrap=0)
    assert again.rows == 160


def test_figures_of_several_labels_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(0)
    truth, scores = chance.random((60, 4)) < 0.4, chance.random((60, 4))
    found = {**multilabel.summary(truth, scores), **multilabel.areas(truth, scores)}
    said = scores >= 0.5
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(truth, said))
    for mean in ("micro", "macro"):
        expected = sk.precision_recall_fscore_support(truth, said, average=mean, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert found[f"{name}_{mean}"] == pytest.approx(value)
    assert found["roc_auc_macro"] == pytest.approx(sk.roc_auc_score(truth, scores))
    assert found["average_precision_macro"] == pytest.approx(sk.average_precision_score(truth, scores))
