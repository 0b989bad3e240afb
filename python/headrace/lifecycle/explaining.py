"""explain(): what did it, of one input; importance(): what the model looks at, over rows of a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attributions.explanation import MAX_EVALUATIONS, Explanation
from ..errors import InvalidArgumentError
from .scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..loaded_model import Model

METHODS = ("auto", "shap", "occlusion", "integrated_gradients")


def explain(
    model: str | Path | Model,
    item: Any = None,
    *,
    image: Any = None,
    target: str | int | None = None,
    method: str = "auto",
    max_evaluations: int = MAX_EVALUATIONS,
    **more: Any,
) -> Explanation:
    """What each word, patch or feature of one input did for the answer of a model.

    Args:
        model: a loaded one, a folder or a demo model.
        item, image, target, max_evaluations, more: as `Model.explain` takes them.
        method: also "integrated_gradients" (Sundararajan et al., arXiv:1703.01365), of folders of transformers that
            classify texts or pictures: their weights are loaded into PyTorch. It tells of tokens and of single pixels.

    Raises:
        InvalidArgumentError: as `Model.explain`, and for integrated gradients of another kind of model.
        ImportError: PyTorch or captum is missing (extra `train`).

    >>> import headrace.toy
    >>> found = explain(headrace.toy.model("classify"), "good water", target="positive")
    >>> found.names, found.evaluations
    (['good', 'water'], 4)
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"method={method!r}: must be one of {', '.join(METHODS)}")
    with loaded(model) as one:
        if method == "integrated_gradients":
            from .gradients import integrated_gradients

            if more:
                raise InvalidArgumentError(
                    f"{min(more)}: integrated gradients take target and max_evaluations"
                )
            return integrated_gradients(one, item, image=image, target=target, max_steps=max_evaluations)
        return one.explain(
            item, image=image, target=target, method=method, max_evaluations=max_evaluations, **more
        )


@contextlib.contextmanager
def loaded(model: str | Path | Model) -> Iterator[Model]:
    """The model itself, or that of a folder for as long as the block runs."""
    if not isinstance(model, (str, Path)):
        yield model
        return
    from ..engine import load

    with load(model) as one:
        yield one


@dataclass(frozen=True, repr=False)
class Importance:
    """How much worse a model becomes when the values of a feature are shuffled among the rows.

    Args:
        names: of the features.
        drops: float64 [features]: the metric's mean fall; below 0 the feature does harm, or it is chance.
        errors: float64 [features]: standard deviations over the repeats.
        metric: "accuracy", or "r2" of numbers.
        value: with nothing shuffled.
        rows: how many rows were asked.
        evaluations: how many answers it took.
    """

    names: list[str]
    drops: NDArray[np.float64]
    errors: NDArray[np.float64]
    metric: str
    value: float
    rows: int
    evaluations: int

    def top(self, count: int = 15) -> list[int]:
        """Places of the most important features."""
        return [int(i) for i in np.argsort(-self.drops, kind="stable")[:count]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        features = [
            {"name": self.names[i], "drop": float(self.drops[i]), "error": float(self.errors[i])}
            for i in self.top(len(self.names))
        ]
        told = {
            "metric": self.metric,
            "value": self.value,
            "rows": self.rows,
            "evaluations": self.evaluations,
        }
        return {**told, "features": features}

    def __str__(self) -> str:
        chosen = self.top(20)
        width = max(len(self.names[i]) for i in chosen)
        most = float(self.drops.max(initial=0.0)) or 1.0
        lines = [f"{self.metric} {self.value:.4f} on {self.rows} rows; it falls by, when one is shuffled:"]
        for i in chosen:
            bar = "█" * max(0, round(20 * self.drops[i] / most))
            lines.append(
                f"  {self.names[i]:<{width}} {self.drops[i]:+8.4f} ±{self.errors[i]:.4f} {bar}".rstrip()
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from . import plots
        from .report import pre

        if not plots.has_matplotlib():
            return pre(str(self))
        from ..attributions.charts import bars_of

        chosen = self.top()
        made = bars_of(
            [self.names[i] for i in chosen], self.drops[chosen].tolist(),
            f"fall of {self.metric} ({self.value:.3f}) when shuffled", self.errors[chosen].tolist(),
        )  # fmt: skip
        return plots.svg(made)

    def write_html(self, path: str | Path) -> None:
        """A page that needs no other file."""
        from .report import document

        Path(path).write_text(document("Importance of features", self._repr_html_()), encoding="utf-8")


def importance(
    model: str | Path | Model,
    data: str | Path,
    *,
    label_column: str | None = None,
    rows: str = "auto",
    max_rows: int = 1000,
    repeats: int = 5,
    seed: int = 0,
    data_settings: DataSettings | None = None,
) -> Importance:
    """How much each feature of a model of tables matters, by permutation (Breiman, "Random Forests", 2001), on rows
    that it was not trained on; every answer comes from the engine.

    Args:
        model: as `explain`; one of tensors whose inputs are columns of the file.
        data: as `evaluate` takes it.
        label_column: what the model should say; found by its usual names.
        rows: as of `evaluate`: "auto" takes the held-out rows of the file that the model was trained on.
        max_rows: of these at most so many, drawn by `seed`.
        repeats: how often each feature is shuffled.
        seed: of what is drawn.
        data_settings: how the file is read.

    Raises InvalidArgumentError for a model of another kind, or a file without its columns.
    """
    from .evaluators import tabular

    if repeats < 1 or max_rows < 2:
        raise InvalidArgumentError(f"repeats={repeats}, max_rows={max_rows}: must be at least 1 and 2")
    settings = data_settings or DataSettings(columns={"label": label_column})
    with loaded(model) as one:
        items, truth = tabular.rows_of(one, data, settings, rows)
        chance = np.random.default_rng(seed)
        if len(items) > max_rows:
            chosen = np.sort(chance.choice(len(items), max_rows, replace=False))
            items, truth = [items[i] for i in chosen], truth[chosen]
        metric = "accuracy" if one.info.labels else "r2"
        value = tabular.score(one, items, truth)
        names, drops, errors, asked = [], [], [], len(items)
        for name, shuffled in _features(items, repeats, chance):
            falls = []
            for rows_now in shuffled:
                falls.append(value - tabular.score(one, rows_now, truth))
                asked += len(items)
            names.append(name)
            drops.append(float(np.mean(falls)))
            errors.append(float(np.std(falls)))
    return Importance(names, np.asarray(drops), np.asarray(errors), metric, value, len(items), asked)


def _features(
    items: list[dict[str, Any]], repeats: int, chance: np.random.Generator
) -> Iterator[tuple[str, Iterator[list[dict[str, Any]]]]]:
    """Each number, or text, of the items by name, and the items with its values shuffled, so many times."""
    for name, first in items[0].items():
        shape = np.shape(first)
        for index in np.ndindex(shape):
            told = f"{name}[{', '.join(map(str, index))}]" if shape else name
            yield told, (_shuffled(items, name, index, chance) for _ in range(repeats))


def _shuffled(
    items: list[dict[str, Any]], name: str, index: tuple[int, ...], chance: np.random.Generator
) -> list[dict[str, Any]]:
    order = chance.permutation(len(items))
    if not index:
        return [{**item, name: items[j][name]} for item, j in zip(items, order, strict=True)]
    found = []
    for item, j in zip(items, order, strict=True):
        values = np.array(item[name])
        values[index] = np.asarray(items[j][name])[index]
        found.append({**item, name: values})
    return found
