"""Estimators of scikit-learn (extra `sklearn`) out of files of skops, joblib or pickle: code, to be trusted first.

They run in a worker process unless headrace.toml says `workers = 0`. Those that skl2onnx can convert are better served
as ONNX: `headrace package` does that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, UnsupportedError
from .function import Function
from .onnx import model_file
from .program import options_of, signature_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..manifest import Manifest

SUFFIXES = (".skops", ".joblib", ".pkl", ".pickle")
# An output's name -> the method that gives it.
METHODS = {
    "label": "predict",
    "value": "predict",
    "probabilities": "predict_proba",
    "score": "decision_function",
    "vector": "transform",
}


def read(folder: Path, manifest: Manifest, threads: int) -> Function:
    """The estimator in a folder as a function of tensors.

    Raises UnsupportedError (not_trusted) unless headrace.toml says that it is trusted, InvalidArgumentError where it
    does not name inputs and outputs.
    """
    from .loading import check_trusted

    check_trusted(folder, manifest, "a scikit-learn model, a kind of file that is code")
    path = model_file(folder, manifest, SUFFIXES)
    signature = signature_of(folder, manifest)
    names = [spec.name for spec in signature.outputs]
    if unknown := [name for name in names if name not in METHODS]:
        raise InvalidArgumentError(
            f"{folder}: the output {unknown[0]!r}: those of an estimator are {', '.join(METHODS)}"
        )
    return Function(Estimator, options_of(manifest), signature, {"path": os.fspath(path), "outputs": names})


def frame(arrays: dict[str, NDArray[Any]]) -> Any:
    """What an estimator takes: one input with an axis of features as it is, several as columns of a DataFrame."""
    if len(arrays) == 1:
        (array,) = arrays.values()
        if array.ndim > 1:
            return array
    import pandas as pd

    return pd.DataFrame(arrays)


def call(estimator: Any, output: str, rows: Any) -> NDArray[Any]:
    """One output for all rows; numbers as float32 or int64, classes as int64 or texts."""
    import numpy as np

    found = getattr(estimator, METHODS[output])(rows)
    if hasattr(found, "toarray"):  # a sparse matrix
        found = found.toarray()
    found = np.asarray(found)
    if found.dtype.kind in "USO":
        return found.astype(str).astype(object)
    return found.astype(np.float32 if found.dtype.kind == "f" else np.int64)


class Estimator:
    """An estimator of a file: arrays [n, ...] by name in, by name out."""

    def __init__(self, path: str, outputs: list[str]) -> None:
        self.estimator = _load(path)
        self._outputs = outputs

    def __call__(self, **tensors: NDArray[Any]) -> dict[str, NDArray[Any]]:
        rows = frame(tensors)
        return {name: call(self.estimator, name, rows) for name in self._outputs}


def _load(path: str) -> Any:
    try:
        if path.endswith(".skops"):
            import skops.io

            return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        if path.endswith(".joblib"):
            import joblib

            return joblib.load(path)
        import pickle

        with open(path, "rb") as file:
            return pickle.load(file)
    except ImportError as error:
        raise UnsupportedError(
            f"{path}: needs {error.name}: run: pip install 'headrace[sklearn]', and what else the model was made with"
        ) from None
