"""A model's life before it serves: look at data, train, evaluate, compress (extra `train`).

    from headrace import lifecycle

    training = lifecycle.train_classifier("news.csv", "demo:minilm", "news-model", epochs=2)
    evaluation = lifecycle.evaluate("news-model", "news.csv")
    evaluation.write_report("report.html")

The commands `headrace data`, `train`, `evaluate` and `compress` do the same. Nothing heavy is imported before it
is used; an evaluation needs numpy alone, plots need matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..attributions.explanation import Explanation
    from .compression.result import Compression
    from .compression.run import compress
    from .compression.settings import CompressSettings
    from .data import read_blocks
    from .evaluation import Evaluation, evaluate
    from .explaining import Importance, explain, importance
    from .inspection import inspect_files
    from .merging import merge_adapter
    from .problems import DataReport, Problem
    from .result import Training
    from .scan import DataSettings
    from .settings import TrainSettings
    from .splits import folds, split
    from .training import train, train_classifier

__all__ = [
    "CompressSettings",
    "Compression",
    "DataReport",
    "DataSettings",
    "Evaluation",
    "Explanation",
    "Importance",
    "Problem",
    "TrainSettings",
    "Training",
    "compress",
    "evaluate",
    "explain",
    "folds",
    "importance",
    "inspect_files",
    "merge_adapter",
    "read_blocks",
    "split",
    "train",
    "train_classifier",
]

_LAZY = {
    "CompressSettings": "compression.settings",
    "Compression": "compression.result",
    "DataReport": "problems",
    "DataSettings": "scan",
    "Evaluation": "evaluation",
    "Explanation": "explaining",
    "Importance": "explaining",
    "Problem": "problems",
    "TrainSettings": "settings",
    "Training": "result",
    "compress": "compression.run",
    "evaluate": "evaluation",
    "explain": "explaining",
    "importance": "explaining",
    "folds": "splits",
    "inspect_files": "inspection",
    "merge_adapter": "merging",
    "read_blocks": "data",
    "split": "splits",
    "train": "training",
    "train_classifier": "training",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'headrace.lifecycle' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
