"""train(): from files and a base model to a folder that `headrace serve` serves, with what it was made of beside it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import repository
from ..errors import InvalidArgumentError
from . import bases, distributed, lineage
from .inspection import Inspected, inspect_files
from .loop import History, fit
from .plots import Progress, write_losses
from .problems import DataReport
from .scan import DataSettings
from .settings import TrainSettings, settings_for
from .splits import folds, split

if TYPE_CHECKING:
    from .evaluation import Evaluation

TASKS = ("classify", "tag", "embed", "rerank", "generate", "tabular", "recommend", "image")
PACKAGED = ("tabular", "recommend", "image")  # trained from nothing or small, without checkpoints
CHECKPOINTS = "checkpoints"


@dataclass(repr=False)
class Training:
    """What a training gave: the folder, what the data were, what happened, and how good the model is in our engine.

    `test` is None where no rows were held out for it; `cross_validation` has the figures of each fold.
    """

    out: Path
    task: str
    data: DataReport
    rows: dict[str, int]
    history: History
    seconds: float
    base: str
    test: Evaluation | None = None
    cross_validation: list[dict[str, float]] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The test's figures, or else those of the best epoch's validation."""
        if self.test is not None:
            return self.test.metrics
        best = self.history.best_epoch
        return self.history.epochs[best - 1].validation if best else {}

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {part}" for part, count in self.rows.items())
        lines = [f"{self.out}: {self.task}, rows: {parts}; {self.seconds:.1f} s"]
        for record in self.history.epochs:
            told = ", ".join(f"{name} {value:.4f}" for name, value in record.validation.items())
            kept = " (kept)" if record.epoch == self.history.best_epoch else ""
            lines.append(
                f"  epoch {record.epoch}: loss {record.loss:.4f}, {record.rows_per_second:.0f} rows/s"
                + (f"; validation: {told}" if told else "")
                + kept
            )
        if self.cross_validation:
            for name in self.cross_validation[0]:
                values = [fold[name] for fold in self.cross_validation]
                lines.append(
                    f"  {len(values)} folds: {name} {np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}"
                )
        if self.test is not None:
            lines.append(
                "test: " + ", ".join(f"{name} {value:.4f}" for name, value in self.test.headline.items())
            )
        served = f"{self.base} --adapter {self.out.name}={self.out}" if self.task == "generate" else self.out
        lines.append(f"serve it by: headrace serve {served}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .plots import losses_svg
        from .report import pre

        return f"{pre(str(self))}{losses_svg(self.history)}"


def train(
    task: str,
    data: str | Path,
    base: str | Path | None,
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    validation_file: str | Path | None = None,
    test_file: str | Path | None = None,
    data_settings: DataSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show_progress: bool | None = None,
    **more: Any,
) -> Training:
    """Trains a model for `task` and writes it to `out`.

    Args:
        task: one of "classify", "tag", "embed", "rerank", "generate", "tabular", "recommend", "image".
        data: the rows to train on: CSV, TSV, JSON lines, Parquet, Arrow, a folder of `datasets`, CoNLL for tag; for
            image also a folder of class folders.
        base: a folder of Hugging Face files, or a demo model such as demo:minilm; of image a ViT, or None; of
            tabular and recommend None.
        out: a folder, which is made.
        settings: the numbers; None: those that suit the task.
        validation_file, test_file: further rows; what is not given is held out of `data` (`settings.validation`,
            `settings.test`).
        data_settings: columns, encoding.
        resume: go on from the checkpoint of a run that was ended; the result is the one it would have had.
        overwrite: whatever is in `out` goes.
        show_progress: a bar, or in a notebook a curve; by default on a terminal and in notebooks.
        more: of tabular `estimator` ("boosting", "logistic", "dense"), of recommend `min_rating`, of image
            `image_size`.

    Raises:
        InvalidArgumentError: data that cannot be trained on, with the rows; a folder that is not empty; a setting.
        ImportError: PyTorch or transformers is missing (extra `train`).

    >>> import pathlib, tempfile, headrace.toy
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> rows = [f"the mill number {i} is {word},{word}" for i in range(20) for word in ("good", "bad")]
    >>> _ = (folder / "mills.csv").write_text("\\n".join(["text,label", *rows]))
    >>> numbers = TrainSettings(epochs=1, learning_rate=0.01, precision="f32")
    >>> found = train("classify", folder / "mills.csv", headrace.toy.model("embed"), folder / "model", numbers)
    >>> found.rows
    {'train': 32, 'validation': 4, 'test': 4}
    """
    if task not in TASKS:
        raise InvalidArgumentError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    data_settings = data_settings or DataSettings()
    settings = settings or settings_for(task, from_scratch=base is None)
    files = {"train": data, "validation": validation_file, "test": test_file}
    given = {part: path for part, path in files.items() if path is not None}
    if task in PACKAGED:
        from .finishing import train_packaged

        shown = {"overwrite": overwrite, "show_progress": show_progress}
        return train_packaged(task, given, base, out, settings, data_settings, resume, {**shown, **more})
    if base is None or more:
        wrong = "base=None" if base is None else min(more)
        raise InvalidArgumentError(f"{wrong}: task={task!r} needs a base model, and has no such argument")
    check_folder(Path(out), resume, overwrite, list(given.values()), base)
    if task == "classify" and data_settings.label_separator is not None:
        task = "multilabel"
    bases.transformers()
    with distributed.processes():
        return _train(task, given, base, Path(out), settings, data_settings, overwrite, show_progress)


def _train(
    task: str,
    files: Mapping[str, str | Path],
    base: str | Path,
    folder: Path,
    settings: TrainSettings,
    data_settings: DataSettings,
    overwrite: bool,
    show_progress: bool | None,
) -> Training:
    begin = time.perf_counter()
    found = inspect_files(files, task, data_settings)
    for one in found.values():
        one.report.check()
    places = split_rows(found, settings)
    mark = lineage.fingerprint(
        {
            "task": task,
            "data": lineage.describe(found),
            "base": lineage.base_hash(bases.base_folder(base)),
            "settings": asdict(settings),
            "keep_duplicates": data_settings.keep_duplicates,
        }
    )
    distributed.wait()  # all have looked at the folder before the first changes it
    if distributed.is_first():
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    distributed.wait()
    recipe = make_recipe(task, base, found["train"].names, settings)
    encoded = {part: recipe.encode(one) for part, one in found.items()}
    scores = _cross_validate(task, base, found["train"], encoded["train"], places["train"], settings)
    use_rows(recipe, found, encoded, places)
    show_progress = show_progress if distributed.is_first() else False
    with Progress(f"training {folder.name}", show_progress) as progress:
        history = fit(
            recipe, settings, checkpoints=folder / CHECKPOINTS, fingerprint=mark, watch=progress.step
        )
    result = Training(
        out=folder,
        task=task,
        data=found["train"].report,
        rows={part: len(chosen) for part, chosen in places.items()},
        history=history,
        seconds=0.0,
        base=str(base),
        cross_validation=scores,
    )
    if distributed.is_first():
        _write(result, recipe, found, places, settings, begin)
    distributed.wait()
    return result


def _write(
    result: Training,
    recipe: Any,
    found: Mapping[str, Inspected],
    places: Mapping[str, Any],
    settings: TrainSettings,
    begin: float,
) -> None:
    """The folder: the model, what it was made of, and how good it is."""
    folder, history = result.out, result.history
    recipe.save(folder)
    write_losses(history, folder / "loss.png")
    own = [part for part in places if part == "train" or part not in found]  # those with rows of `data`
    np.savez_compressed(folder / lineage.ROWS, **{part: found["train"].rows[places[part]] for part in own})
    reading = found["train"].settings
    record = {
        "task": result.task,
        "base": {"name": result.base, "sha256": lineage.base_hash(bases.base_folder(result.base))},
        "data": lineage.describe(found),
        "rows": result.rows,
        "settings": asdict(settings),
        "reading": {"encoding": reading.encoding, "delimiter": reading.delimiter},
        "history": history.to_dict(),
        "cross_validation": result.cross_validation,
    }
    lineage.write(folder, record)
    result.test = _test(result, found, places)
    result.seconds = time.perf_counter() - begin
    test_figures = {} if result.test is None else result.test.metrics
    lineage.write(folder, {**record, "test": test_figures, "seconds": round(result.seconds, 3)})
    lineage.log(result, settings)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def check_folder(
    folder: Path, resume: bool, overwrite: bool, files: Sequence[str | Path], base: str | Path | None
) -> None:
    """Raises InvalidArgumentError unless a training, or a compression, may write to the folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidArgumentError(f"{folder}: a file; out is the folder to write")
    if overwrite:
        # What is removed must be a training's, and nothing that this one needs.
        own = folder.resolve()
        needed = [] if base is None else [repository.resolve(base)]
        for path in (*files, *needed):
            if own in (Path(path).resolve(), *Path(path).resolve().parents):
                raise InvalidArgumentError(
                    f"{folder}: overwriting it would remove {path}, which this training needs"
                )
        records = (lineage.NAME, lineage.COMPRESSION)
        is_training = any((folder / name).is_file() for name in records) or (folder / CHECKPOINTS).is_dir()
        if any(folder.iterdir()) and not is_training:
            raise InvalidArgumentError(f"{folder}: no training wrote this folder; remove it yourself")
        return
    if resume and (folder / lineage.NAME).is_file() and not (folder / CHECKPOINTS).is_dir():
        raise InvalidArgumentError(f"{folder}: its training is finished: there is nothing to go on with")
    if any(folder.iterdir()) and not resume:
        is_stopped = (folder / CHECKPOINTS).is_dir()
        what = "is not empty"
        if is_stopped:
            what = "holds a training that was stopped: resume=True (--resume) goes on with it"
        raise InvalidArgumentError(f"{folder}: {what}; overwrite=True (--overwrite) begins anew")


def split_rows(found: Mapping[str, Inspected], settings: TrainSettings) -> dict[str, np.ndarray[Any, Any]]:
    """Places of the rows in each part; a part with a file of its own has all of that."""
    data = found["train"]
    groups = data.groups
    if groups is None and data.settings.keep_duplicates:
        groups = data.hashes  # equal texts stay together: none is trained on and tested with
    places = split(
        len(data.rows),
        validation=0 if "validation" in found else settings.validation,
        test=0 if "test" in found else settings.test,
        labels=data.labels if data.names and data.report.task in ("classify", "tabular", "image") else None,
        groups=groups,
        times=data.times,
        seed=settings.seed,
    )
    for part in ("validation", "test"):
        if part in found:
            places[part] = np.arange(len(found[part].rows))
    return places


def make_recipe(task: str, base: str | Path, names: list[str], settings: TrainSettings) -> Any:
    """The recipe of a task, with its model loaded."""
    from importlib import import_module

    module = import_module(f".recipes.{task}", __package__)
    return getattr(module, f"{task.capitalize()}Recipe")(base, names, settings)


def use_rows(
    recipe: Any, found: Mapping[str, Inspected], encoded: Mapping[str, Any], places: Mapping[str, Any]
) -> None:
    """Hands the recipe the rows that train and those that choose."""
    source = "validation" if "validation" in found else "train"
    recipe.use(
        (encoded["train"], found["train"].labels, places["train"]),
        (encoded[source], found[source].labels, places["validation"]),
    )


def _cross_validate(
    task: str, base: str | Path, data: Inspected, encoded: Any, places: Any, settings: TrainSettings
) -> list[dict[str, float]]:
    """The validation's figures of each fold, each trained from the base anew."""
    if settings.folds is None:
        return []
    labels = data.labels[places] if task == "classify" else None
    groups = None if data.groups is None else data.groups[places]
    scores = []
    for train_part, held_out in folds(
        len(places), settings.folds, labels=labels, groups=groups, seed=settings.seed
    ):
        recipe = make_recipe(task, base, data.names, settings)
        recipe.use((encoded, data.labels, places[train_part]), (encoded, data.labels, places[held_out]))
        history = fit(recipe, settings)
        scores.append(history.epochs[history.best_epoch - 1].validation)
    return scores


def _test(result: Training, found: Mapping[str, Inspected], places: Mapping[str, Any]) -> Evaluation | None:
    """The saved folder's figures on the test rows, by the engine that will serve it."""
    from .evaluation import evaluate_rows, is_supported

    part = "test" if "test" in found else "train"
    if not len(places["test"]) or not is_supported(result.task) or result.task == "generate":  # an adapter
        return None
    return evaluate_rows(result.out, found[part], places["test"], bootstrap=0)


def train_classifier(
    data: str | Path,
    base: str | Path = "demo:minilm",
    out: str | Path = "model",
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    validation_file: str | Path | None = None,
    test_file: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Training:
    """`train("classify", ...)` with the settings as arguments: `train_classifier("news.csv", epochs=2, seed=1)`.

    Raises what `train` raises; TypeError for a setting that is not one of TrainSettings.

    >>> import json, pathlib, tempfile, headrace.toy
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> rows = [{"text": f"mill {i} is {word}", "label": word} for i in range(20) for word in ("good", "bad")]
    >>> _ = (folder / "mills.jsonl").write_text("\\n".join(map(json.dumps, rows)))
    >>> base = headrace.toy.model("embed")
    >>> found = train_classifier(folder / "mills.jsonl", base, folder / "model", epochs=1, precision="f32")
    >>> sorted(found.metrics)[:2]
    ['accuracy', 'average_precision_macro']
    """
    return train(
        "classify",
        data,
        base,
        out,
        TrainSettings(**settings),
        validation_file=validation_file,
        test_file=test_file,
        data_settings=DataSettings(columns={"text": text_column, "label": label_column}),
        overwrite=overwrite,
    )
