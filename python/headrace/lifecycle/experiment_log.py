"""The log of experiments: a training's parameters, losses and figures to MLflow, where the environment asks for it.

MLFLOW_TRACKING_URI names a server, or a file such as sqlite:///mlflow.db; MLflow heeds MLFLOW_EXPERIMENT_NAME. Without
the variable, or without the package, nothing is logged.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from .lineage import NAME

if TYPE_CHECKING:
    from .result import Training

_ADDRESS = "MLFLOW_TRACKING_URI"
_BATCH = 500  # metrics a request; MLflow takes 1,000
_ARTIFACTS = (NAME, "loss.png")


def is_wanted() -> bool:
    """Whether trainings are logged."""
    return bool(os.environ.get(_ADDRESS)) and importlib.util.find_spec("mlflow") is not None


def check() -> None:
    """Raises InvalidArgumentError where a log is wanted and cannot be written: before the training, not after it."""
    if not is_wanted():
        return
    import mlflow

    try:
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:  # of MLflow, of its database, of the network
        raise InvalidArgumentError(
            f"{_ADDRESS}={os.environ[_ADDRESS]}: trainings cannot be logged there: {error}"
        ) from None


def write(result: Training, parameters: Mapping[str, Any]) -> None:
    """Logs a finished training; a log that fails is told by a warning: the model is there all the same."""
    if not is_wanted():
        return
    try:
        _write(result, parameters)
    except Exception as error:
        warnings.warn(
            f"{result.out}: trained, but not logged to MLflow: {error}", RuntimeWarning, stacklevel=2
        )


def _write(result: Training, parameters: Mapping[str, Any]) -> None:
    import mlflow
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    history = result.history
    metrics = [Metric("loss", loss, now, step) for step, loss in enumerate(history.losses, 1)]
    steps = len(history.losses) // max(1, len(history.epochs))
    for record in history.epochs:
        told = {f"validation_{name}": value for name, value in record.validation.items()}
        told["rows_per_second"] = record.rows_per_second
        metrics += [Metric(_name(name), value, now, record.epoch * steps) for name, value in told.items()]
    if result.test is not None:
        metrics += [
            Metric(_name(f"test_{name}"), value, now, len(history.losses))
            for name, value in result.test.metrics.items()
        ]
    given = [Param(name, str(value)) for name, value in parameters.items() if value is not None]
    with mlflow.start_run(run_name=result.out.name, nested=mlflow.active_run() is not None) as run:
        client = mlflow.MlflowClient()
        client.log_batch(run.info.run_id, params=given)
        for begin in range(0, len(metrics), _BATCH):
            client.log_batch(run.info.run_id, metrics=metrics[begin : begin + _BATCH])
        for path in (result.out / name for name in _ARTIFACTS):
            if path.is_file():
                mlflow.log_artifact(str(path))


def _name(metric: str) -> str:
    """As MLflow takes it: ndcg@10 is ndcg_at_10."""
    return re.sub(r"[^\w./ -]", "_", metric.replace("@", "_at_"))
