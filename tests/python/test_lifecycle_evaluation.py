"""Evaluation: figures of the engine's own answers, slices, comparisons, reports."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.cli import main


@pytest.fixture(scope="module")
def model() -> Path:
    return headrace.toy.model("classify")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(3)
    words = ("mill", "wheel", "water", "river", "good", "bad", "paris", "maria", "<b>", "&")
    rows = ["text,label,country"]
    for i in range(120):
        text = " ".join(chance.choice(words, 6))
        rows.append(f"{text} {i},{chance.choice(['negative', 'positive'])},{'fr' if i % 3 else 'de'}")
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def found(model: Path, data: Path) -> lifecycle.Evaluation:
    other = headrace.toy.model("classify", seed=5)
    settings = lifecycle.DataSettings(columns={"slice": "country"})
    return lifecycle.evaluate(model, data, data_settings=settings, compare=other)


def test_figures_are_those_of_scikit_learn(found: lifecycle.Evaluation, model: Path, data: Path) -> None:
    lines = [line.split(",") for line in data.read_text().splitlines()[1:]]
    with headrace.load(model) as loaded:
        answers = loaded.classify([line[0] for line in lines])
    truth = [line[1] for line in lines]
    labels = [answer[0].label for answer in answers]
    positive = [next(label.score for label in answer if label.label == "positive") for answer in answers]
    assert found.metrics["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, labels))
    assert found.metrics["recall_macro"] == pytest.approx(
        sklearn.metrics.recall_score(truth, labels, average="macro", zero_division=0)
    )
    assert found.metrics["roc_auc_macro"] == pytest.approx(
        sklearn.metrics.roc_auc_score([label == "positive" for label in truth], positive)
    )
    expected = sklearn.metrics.log_loss(truth, np.column_stack([1 - np.array(positive), positive]))
    assert found.metrics["log_loss"] == pytest.approx(expected, rel=1e-4)
    assert found.confusion == sklearn.metrics.confusion_matrix(truth, labels).tolist()
    low, high = found.intervals["accuracy"]
    assert low < found.metrics["accuracy"] < high
    assert [row["found"] for row in found.predictions] == labels
    wrong = sum(one != two for one, two in zip(truth, labels, strict=True))
    assert len(found.mistakes) == min(50, wrong)
    assert found.mistakes[0]["score"] >= found.mistakes[-1]["score"]
    assert found.speed is not None
    assert found.speed.rows_per_second > 0


def test_slices_and_their_gaps(found: lifecycle.Evaluation) -> None:
    assert {name: row["rows"] for name, row in found.slices.items()} == {"fr": 80, "de": 40}
    mean = sum(row["accuracy"] * row["rows"] for row in found.slices.values()) / 120
    assert mean == pytest.approx(found.metrics["accuracy"])
    assert found.gaps["accuracy"] == pytest.approx(
        abs(found.slices["fr"]["accuracy"] - found.slices["de"]["accuracy"])
    )
    assert set(found.gaps) == {"accuracy", "recall_macro", "selection", "recall"}


def test_a_comparison_is_on_the_same_rows(found: lifecycle.Evaluation, data: Path) -> None:
    other = lifecycle.evaluate(headrace.toy.model("classify", seed=5), data, bootstrap=0)
    difference = found.comparison["differences"][0]
    assert difference.first == pytest.approx(found.metrics["accuracy"])
    assert difference.second == pytest.approx(other.metrics["accuracy"])
    assert 0 < found.comparison["mcnemar_p"] <= 1
    assert not other.intervals


def test_the_report_needs_no_other_file(found: lifecycle.Evaluation, tmp_path: Path) -> None:
    class Page(HTMLParser):
        tags: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            for name, value in attributes:
                assert name not in ("src", "href", "xlink:href") or str(value).startswith(("#", "data:")), (
                    name,
                    value,
                )

    found.write_report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") == 4
    assert "script" not in page.tags
    assert "&lt;b&gt;" in text
    assert "Worst mistakes" in text
    assert "<svg" in found._repr_html_()


def test_the_command_prints_json(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    code = main(
        ["evaluate", str(model), "--data", str(data), "--json", "--bootstrap", "50", "--report", str(report)]
    )
    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {"accuracy", "recall_macro"} <= answer["metrics"].keys()
    assert report.is_file()
    assert main(["evaluate", str(model), "--data", str(data), "--slice-column", "country"]) == 0
    assert "slice fr: 80 rows" in capsys.readouterr().out


def test_what_cannot_be_evaluated_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="no record"):
        lifecycle.evaluate(model, data, rows="test")
    with pytest.raises(headrace.UnsupportedError, match="fill_mask"):
        lifecycle.evaluate(headrace.toy.model("fill_mask"), data)
    with pytest.raises(headrace.InvalidArgumentError, match="nothing to compare"):
        lifecycle.evaluate(model, data, compare=headrace.toy.model("tag"))
    sentences = tmp_path / "sentences.jsonl"
    sentences.write_text('{"tokens": ["Maria"], "tags": ["B-PER"], "country": "fr"}')
    settings = lifecycle.DataSettings(columns={"slice": "country"})
    with pytest.raises(headrace.UnsupportedError, match="slices are told of classify"):
        lifecycle.evaluate(headrace.toy.model("tag"), sentences, data_settings=settings)
    strange = tmp_path / "strange.csv"
    strange.write_text("text,label\nthe mill,positive\nthe wheel,Positive\n")
    with pytest.raises(headrace.InvalidArgumentError, match=r"row 2 \(line 3\).*perhaps 'positive'"):
        lifecycle.evaluate(model, strange)


def test_a_model_of_numbers_has_figures_of_numbers(tmp_path: Path) -> None:
    folder = headrace.toy.model("rerank", tmp_path / "numbers")
    config = json.loads((folder / "config.json").read_text())
    config["problem_type"] = "regression"
    config["num_labels"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    data = tmp_path / "rows.csv"
    data.write_text("text,score\n" + "\n".join(f"a mill and {i} wheels,{i / 7}" for i in range(20)))
    with headrace.load(folder) as loaded:
        assert loaded.info.task == "classify"
    found = lifecycle.evaluate(folder, data)
    assert {"mae", "rmse", "r2", "spearman"} <= found.metrics.keys()
