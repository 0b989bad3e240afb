"""train("tabular"): from a table to a pipeline that says a column out of the others, served as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from . import distributed
from .loop import History
from .metrics import classification
from .metrics.ranking import regression
from .runs import Run
from .scan import DataSettings
from .settings import TrainSettings
from .splits import class_weights
from .tables import Table, read_table

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .result import Training

ESTIMATORS = ("boosting", "logistic", "dense")
HIDDEN = 128


def train_tabular(run: Run, *, estimator: str = "boosting") -> Training:
    """A model of a table; what `train("tabular", ...)` calls.

    Numbers are filled up with their median and scaled, texts become one number a value. Then: "boosting", gradient
    boosting over histograms (scikit-learn); "logistic", a regression (logistic, or ridge of a quantity); "dense", a
    network with 128 ReLU, trained by our loop.
    """
    if estimator not in ESTIMATORS:
        raise InvalidArgumentError(f"estimator={estimator!r}: must be one of {', '.join(ESTIMATORS)}")
    found = _read(run.files, run.data_settings)
    run.method = run.more["estimator"] = estimator
    run.use(found)
    data, rows = found["train"], run.places["train"]
    pipeline, history = _pipeline(data, estimator, run.settings), History()
    if estimator == "dense":
        history = _fit_dense(pipeline, run)
    elif distributed.is_first():  # these know of no other process
        truth = data.labels[rows] if data.regresses else np.asarray(data.names, object)[data.labels[rows]]
        more = {}
        if run.settings.class_weights == "balanced" and not data.regresses:
            weights = class_weights(data.labels[rows], len(data.names))[data.labels[rows]]
            more = {"model__sample_weight": weights}
        pipeline.fit(frame(data, rows), truth, **more)
    return run.finish(history, lambda _: _package(pipeline, run))


def _read(files: Mapping[str, str | Path], settings: DataSettings) -> dict[str, Any]:
    found = {"train": read_table(files["train"], settings)}
    data = found["train"]
    for part, path in files.items():
        if part != "train":
            found[part] = read_table(
                path, settings, features=kinds(data), names=data.names, is_evaluation=True
            )
    return found


def kinds(data: Table) -> dict[str, str]:
    """Column -> "number" or "text"."""
    return {name: "text" if column.dtype == object else "number" for name, column in data.cells.items()}


def frame(data: Table, places: NDArray[Any]) -> Any:
    """The rows as scikit-learn takes them."""
    import pandas as pd

    return pd.DataFrame({name: column[places] for name, column in data.cells.items()})


def _pipeline(data: Table, estimator: str, settings: TrainSettings) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name, kind in kinds(data).items() if kind == "number"]
    texts = [name for name, kind in kinds(data).items() if kind == "text"]
    filled = Pipeline([("median", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    steps: list[Any] = [("numbers", filled, numbers)] if numbers else []
    if texts:
        steps.append(("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", _model(data, estimator, settings))])


def _model(data: Table, estimator: str, settings: TrainSettings) -> Any:
    from sklearn import ensemble, linear_model, neural_network

    seed = settings.seed
    if data.regresses:
        return {
            "boosting": lambda: ensemble.HistGradientBoostingRegressor(random_state=seed),
            "logistic": lambda: linear_model.Ridge(),
            "dense": lambda: neural_network.MLPRegressor(
                hidden_layer_sizes=(HIDDEN,), max_iter=1, random_state=seed
            ),
        }[estimator]()
    return {
        "boosting": lambda: ensemble.HistGradientBoostingClassifier(random_state=seed),
        "logistic": lambda: linear_model.LogisticRegression(max_iter=2000, random_state=seed),
        "dense": lambda: neural_network.MLPClassifier((HIDDEN,), max_iter=1, random_state=seed),
    }[estimator]()


class DenseRecipe:
    """A network of one hidden layer for the loop: [n, features] -> [n, classes], or [n, 1] of a quantity."""

    def __init__(
        self,
        x: NDArray[np.float32],
        truth: NDArray[Any],
        validation: tuple[Any, Any],
        classes: int,
        settings: TrainSettings,
    ) -> None:
        import torch
        from torch import nn

        self.model: nn.Module
        torch.manual_seed(settings.seed)
        outputs = 1 if classes <= 2 else classes
        self.model = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))
        self.lengths = np.ones(len(x), np.int64)
        self.metric = "recall_macro" if classes else "loss"
        self._classes = classes
        self._x = torch.from_numpy(np.ascontiguousarray(x))
        self._truth = truth
        self._validation = validation
        self._weights = None
        if classes and settings.class_weights == "balanced":
            self._weights = torch.from_numpy(class_weights(truth, classes))

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        return self._loss(self.model(self._x[places]).float(), self._truth[places])

    def _loss(self, outputs: torch.Tensor, truth: NDArray[Any]) -> torch.Tensor:
        import torch
        from torch.nn import functional

        if not self._classes:
            return functional.mse_loss(outputs[:, 0], torch.from_numpy(truth.astype(np.float32)))
        labels = torch.from_numpy(truth.astype(np.int64))
        if self._classes <= 2:
            weight = None if self._weights is None else self._weights[labels]
            return functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.float(), weight)
        return functional.cross_entropy(outputs, labels, self._weights)

    def validate(self) -> dict[str, float]:
        import torch

        x, truth = self._validation
        if not len(x):
            return {}
        outputs = self.model(torch.from_numpy(np.ascontiguousarray(x))).float()
        loss = float(self._loss(outputs, truth))
        if not self._classes:
            return {**regression(truth, outputs[:, 0].double().numpy()), "loss": loss}
        found = (outputs[:, 0] > 0).long() if self._classes <= 2 else outputs.argmax(dim=1)
        figures = classification.summary(truth, found.numpy(), self._classes)
        return {name: figures[name] for name in ("accuracy", "recall_macro", "f1_macro")} | {"loss": loss}


def _fit_dense(pipeline: Any, run: Run) -> History:
    """Trains by our loop, and gives the weights to scikit-learn's network of the same shape, for which there is a way
    to ONNX together with the columns' preparation."""
    import warnings

    found, places, settings = run.found, run.places, run.settings
    data, rows = found["train"], places["train"]
    columns, network = pipeline.named_steps["columns"], pipeline.named_steps["model"]
    x = np.asarray(columns.fit_transform(frame(data, rows)), np.float32)
    held = found.get("validation", data)
    other = places["validation"]
    held_x = np.asarray(columns.transform(frame(held, other)), np.float32) if len(other) else x[:0]
    truth, held_truth = data.labels[rows], held.labels[other]
    middle, spread = 0.0, 1.0
    if data.regresses:
        middle, spread = float(truth.mean()), float(truth.std()) or 1.0
        truth, held_truth = (truth - middle) / spread, (held_truth - middle) / spread
    recipe = DenseRecipe(x, truth, (held_x, held_truth), len(data.names), settings)
    history = run.fit(recipe)
    answers = data.labels[rows] if data.regresses else np.asarray(data.names, object)[data.labels[rows]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one round is few
        network.fit(x, answers)
    weights = [array.detach().double().numpy() for array in recipe.model.parameters()]
    weights[2], weights[3] = weights[2] * spread, weights[3] * spread + middle
    network.coefs_ = [weights[0].T, weights[2].T]
    network.intercepts_ = [weights[1], weights[3]]
    return history


def _package(pipeline: Any, run: Run) -> None:
    data: Table = run.found["train"]
    # In any order: the first of them are the model's golden examples, whose mean explanations start from.
    chosen = np.random.default_rng(0).permutation(run.places["train"])[:64]
    said = {name: {"nan": "allow"} for name, kind in kinds(data).items() if kind == "number"}
    run.package(
        pipeline,
        example_inputs=frame(data, chosen),
        inputs=said,
        labels=data.names,
        tolerance=1e-4,
        description=f"{data.report.columns['label']} of {data.path.name}, by {run.method}",
    )
