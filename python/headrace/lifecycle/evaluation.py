"""evaluate(): how good a model is, computed by the engine that serves it: what is served is what was measured."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError, UnsupportedError
from . import lineage
from .inspection import Inspected, inspect_files
from .metrics.resampling import Difference
from .scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..loaded_model import Model

SUPPORTED = ("classify", "tag", "embed", "rerank", "generate", "predict")
# Of what `predict` answers, by the training that the folder tells of.
_PREDICTS = ("tabular", "recommend", "image")
_LATENCY_CALLS = 50
_HEADLINES = {
    "classify": ("accuracy", "recall_macro", "f1_macro"),
    "tag": ("precision_micro", "recall_micro", "f1_micro"),
    "embed": ("spearman", "mrr@10", "ndcg@10", "recall@1"),
    "rerank": ("mrr@10", "ndcg@10", "average_precision"),
    "generate": ("perplexity", "bits_per_byte"),
    "predict": ("accuracy", "recall_macro", "f1_macro", "rmse", "r2", "recall@10", "ndcg@10"),
}


@dataclass
class Speed:
    """Rows a second in batches, and the milliseconds of single calls (median and 95th percentile)."""

    rows_per_second: float
    p50_ms: float
    p95_ms: float
    calls: int


@dataclass(repr=False)
class Evaluation:
    """How good a model is on some rows.

    Args:
        task: the model's.
        model: its folder.
        data: the file, and which of its rows.
        rows: how many.
        metrics: the figures by name.
        intervals: 95 % bootstrap intervals of some of them.
        per_class: the figures of each class, or kind of entity.
        labels, confusion: names of classes; row i, column j: rows of class i that were found to be j.
        calibration: {"ece": ..., "curve": [{"confidence", "accuracy", "rows"}]}.
        slices: the figures of the rows with each value of a column; `gaps` how far apart they are.
        speed: of the engine on this machine, meanwhile.
        mistakes: wrong rows, the surest first, with their texts.
        curves: points of ROC and precision-recall curves by class.
        predictions: the answer to each row, by its number in the file.
        comparison: against another model on the same rows.
        notes: what a reader should know.
    """

    task: str
    model: str
    data: str
    rows: int
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
    speed: Speed | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> dict[str, float]:
        """The few figures to look at first."""
        return {
            name: self.metrics[name] for name in _HEADLINES[self.task] if name in self.metrics
        } or self.metrics

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers that are none are None; nothing of single rows and no points of curves."""
        values = asdict(self)
        del values["mistakes"], values["curves"], values["predictions"]
        found = plain(values)
        assert isinstance(found, dict)
        return found

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.task} on {self.rows} rows of {self.data}"]
        lines += [f"note: {note}" for note in self.notes]
        for name, value in self.metrics.items():
            interval = self.intervals.get(name)
            told = "" if interval is None else f"  [{interval[0]:.4f}, {interval[1]:.4f}]"
            lines.append(f"  {name:<24} {value:8.4f}{told}")
        if self.calibration:
            lines.append(f"  {'calibration error (ECE)':<24} {self.calibration['ece']:8.4f}")
        if self.per_class:
            width = max(12, *(len(name) for name in self.per_class))
            lines.append(f"  {'':<{width}} precision  recall      f1   rows")
            lines += [
                f"  {name:<{width}} {row['precision']:9.4f} {row['recall']:7.4f} {row['f1']:7.4f} {row['support']:6.0f}"
                for name, row in self.per_class.items()
            ]
        for name, row in self.slices.items():
            told = ", ".join(f"{figure} {value:.4f}" for figure, value in row.items() if figure != "rows")
            lines.append(f"  slice {name}: {row['rows']:.0f} rows, {told}")
        lines += [f"  gap of {name}: {value:.4f}" for name, value in self.gaps.items()]
        if self.speed is not None:
            s = self.speed
            lines.append(
                f"  {s.rows_per_second:.0f} rows/s in batches; one call {s.p50_ms:.2f} ms (p95 {s.p95_ms:.2f} ms)"
            )
        for difference in self.comparison.get("differences", []):
            lines.append(f"  {difference}")
        if "mcnemar_p" in self.comparison:
            lines.append(f"  McNemar's test: p = {self.comparison['mcnemar_p']:.4f}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .report import body

        return body(self)

    def write_report(self, path: str | Path) -> None:
        """A page with tables and plots that needs no other file."""
        from .report import page

        Path(path).write_text(page(self), encoding="utf-8")


def plain(value: Any) -> Any:
    if isinstance(value, Difference):
        return plain({**asdict(value), "is_real": value.is_real})
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    data_settings: DataSettings | None = None,
    rows: str = "auto",
    compare: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    predictions: str | Path | None = None,
    precision: str = "auto",
    threads: int | None = None,
) -> Evaluation:
    """How good the model in folder `model` is on the rows of a file.

    Args:
        model: a folder, or a demo model.
        data: as `train` takes it; labels must be the model's.
        data_settings: columns ("slice" names one by whose values the figures are told apart), encoding.
        rows: "auto" takes, of the very file that the model was trained on, the rows that were held out as its test, and
            all of any other file; "all", "train", "validation" and "test" say so themselves.
        compare: a second model, on the same rows: which differences are real.
        bootstrap: how many samples make the intervals; 0: none.
        seed: of the samples.
        predictions: a JSON-lines file to write each row's answer to.
        precision, threads: as `headrace.load` takes them.

    Raises:
        InvalidArgumentError: rows that cannot be evaluated, such as those with a label that the model does not know.
        UnsupportedError: the model's task has no figures here.

    >>> import pathlib, tempfile, headrace.toy
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mills.csv"
    >>> _ = path.write_text("text,label\\na good mill,positive\\na bad mill,negative\\n")
    >>> found = evaluate(headrace.toy.model("classify"), path)
    >>> found.rows, sorted(found.metrics)[0]
    (2, 'accuracy')
    """
    from ..engine import load

    with load(model, precision=precision, threads=threads) as loaded:
        evaluator = evaluator_of(loaded)
        found = evaluator.read(loaded, data, data_settings or DataSettings())
        if "slice" in found.report.columns and not hasattr(evaluator, "SLICES"):
            raise UnsupportedError(
                f"evaluate: slices are told of classify, and this model is for {loaded.info.task}"
            )
        places, note = choose_rows(Path(loaded.info.path), found, rows)
        result = measure(evaluator, loaded, str(model), found, places, bootstrap, seed, predictions)
        if note:
            result.notes.insert(0, note)
        if compare is not None:
            with load(compare, precision=precision, threads=threads) as other:
                if other.info.task != loaded.info.task:
                    raise InvalidArgumentError(
                        f"{compare} is for {other.info.task}, and {model} for {loaded.info.task}: nothing to compare"
                    )
                evaluator.compare(result, other, found, places, seed)
            result.comparison["other"] = str(compare)
    return result


def evaluate_rows(
    model: str | Path,
    data: Inspected,
    places: NDArray[Any],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """`evaluate` on rows that were read already; `places` are theirs in `data`."""
    from ..engine import load

    with load(model) as loaded:
        return measure(evaluator_of(loaded), loaded, str(model), data, places, bootstrap, seed, None)


def evaluator_of(model: Model) -> Any:
    """The module of evaluators/ for the model's task. Raises UnsupportedError where there is none."""
    from importlib import import_module

    task = model.info.task
    if task not in SUPPORTED:
        raise UnsupportedError(
            f"evaluate: {model.name} is for {task}: there are figures for {', '.join(SUPPORTED)}"
        )
    if task == "classify" and "text" not in model.info.modalities:
        task = "image"
    elif task == "classify" and model.info.activation == "sigmoid" and len(model.info.labels) > 1:
        task = "multilabel"
    if task == "predict":
        record = lineage.read(Path(model.info.path)) if Path(model.info.path).is_dir() else None
        task = "tabular" if record is None else str(record.get("task"))
        if task not in _PREDICTS:
            raise UnsupportedError(
                f"evaluate: {model.name}: training.json says {task!r}; known: {', '.join(_PREDICTS)}"
            )
    return import_module(f".evaluators.{task}", __package__)


def measure(
    evaluator: Any,
    model: Model,
    name: str,
    data: Inspected,
    places: NDArray[Any],
    bootstrap: int,
    seed: int,
    predictions: str | Path | None,
) -> Evaluation:
    """What `evaluator` (evaluator_of) finds of a loaded model on the rows at `places`."""
    result = Evaluation(task=model.info.task, model=name, data=data.path.name, rows=len(places))
    result.notes += [f"{problem.action}: {problem}" for problem in data.report.problems]
    result.predictions = evaluator.measure(result, model, data, places, bootstrap=bootstrap, seed=seed)
    if predictions is not None:
        with Path(predictions).open("w", encoding="utf-8") as file:
            for row in result.predictions:
                file.write(json.dumps(plain(row), ensure_ascii=False) + "\n")
    return result


def choose_rows(folder: Path, data: Inspected, rows: str) -> tuple[NDArray[np.int64], str | None]:
    """Places of the rows to evaluate, and what is to be said about the choice."""
    if rows not in ("auto", "all", "train", "validation", "test"):
        raise InvalidArgumentError(f"rows={rows!r}: must be auto, all, train, validation or test")
    record = lineage.read(folder) if folder.is_dir() else None
    everything = np.arange(len(data.rows))
    if record is None or not (folder / lineage.ROWS).is_file():
        if rows in ("auto", "all"):
            return everything, None
        raise InvalidArgumentError(
            f"rows={rows!r}: {folder} has no record of its training's rows; rows=all takes all"
        )
    is_same = record["data"]["train"]["sha256"] == data.report.sha256
    if rows == "all" or (rows == "auto" and not is_same):
        warning = (
            "the model was trained with rows of this file: these figures flatter it" if is_same else None
        )
        return everything, warning
    if not is_same:
        raise InvalidArgumentError(
            f"rows={rows!r}: the model was not trained on this file; rows=all takes all"
        )
    with np.load(folder / lineage.ROWS) as saved:
        part = "test" if rows == "auto" else rows
        chosen = saved[part] if part in saved else np.empty(0, np.int64)
    if not len(chosen):
        if rows == "auto":
            return (
                everything,
                "the model was trained on this file and nothing was held out: these figures flatter it",
            )
        raise InvalidArgumentError(f"rows={rows!r}: the training had no such rows in this file")
    note = None if rows != "auto" else (
        "the model was trained on this file: these are the rows that were held out as its test (--rows all: all)"
    )  # fmt: skip
    return np.flatnonzero(np.isin(data.rows, chosen)), note


def cells_of(data: Inspected, places: NDArray[Any]) -> dict[str, list[Any]]:
    """The chosen rows' cells by part, in the order of their places."""
    wanted = np.zeros(len(data.rows), bool)
    wanted[places] = True
    found: dict[str, list[Any]] = {part: [] for part in data.report.columns}
    for at, cells in data.texts():
        mask = wanted[at]
        for part, column in cells.items():
            found[part] += [cell for cell, is_wanted in zip(column, mask, strict=True) if is_wanted]
    return found


def timed(run: Any, texts: Sequence[Any], one: Any) -> tuple[Any, Speed]:
    """The answer of run(texts), and how fast it came; `one` answers a single text."""
    begin = time.perf_counter()
    answer = run(texts)
    seconds = time.perf_counter() - begin
    chosen = [texts[i] for i in np.linspace(0, len(texts) - 1, min(_LATENCY_CALLS, len(texts)), dtype=int)]
    times = []
    for text in chosen:
        begin = time.perf_counter()
        one(text)
        times.append((time.perf_counter() - begin) * 1e3)
    p50, p95 = (float(value) for value in np.quantile(times, [0.5, 0.95]))
    return answer, Speed(len(texts) / seconds, p50, p95, len(times))


def read_rows(data: str | Path, task: str, settings: DataSettings, labels: Sequence[str] | None) -> Inspected:
    """The file, checked against the labels that the model gives."""
    found = inspect_files({"test": data}, task, settings, known_labels=labels, evaluation=True)["test"]
    found.report.check()
    return found
