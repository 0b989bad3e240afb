"""train(): from files and a base model to a folder that `headrace serve` serves, with what it was made of beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InvalidArgumentError
from . import bases, distributed
from .inspection import Inspected, inspect_files
from .loop import fit
from .result import Training
from .runs import Run, check_folder
from .scan import DataSettings
from .settings import TrainSettings, settings_for
from .splits import folds

TASKS = ("classify", "tag", "embed", "rerank", "generate", "tabular", "recommend", "image")
# Those whose data are read whole, with their module and the settings that are theirs alone.
PACKAGED = {
    "tabular": ("tabular", "estimator"),
    "recommend": ("recommend", "min_rating", "network"),
    "image": ("image_training", "image_size"),
}


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
    ray_workers: int | None = None,
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
        ray_workers: train on so many workers of Ray Train, each with its share of every batch; None: in this process,
            or in those that torchrun started.
        more: of tabular `estimator` ("boosting", "logistic", "dense"), of recommend `min_rating` and `network`
            ("two-towers", "ncf"), of image `image_size`.

    Raises:
        InvalidArgumentError: data that cannot be trained on, with the rows; a folder that is not empty; a setting.
        ImportError: PyTorch or transformers is missing (extra `train`), or Ray (extra `cluster`).
        RuntimeError: a worker of Ray died; `resume` goes on.

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
    if task not in PACKAGED and (base is None or more):
        wrong = "base=None" if base is None else min(more)
        raise InvalidArgumentError(f"{wrong}: task={task!r} needs a base model, and has no such argument")
    check_folder(Path(out), resume, overwrite, list(given.values()), base)
    if ray_workers is not None:
        from .ray_workers import train_on_ray

        asked = {
            "task": task, "data": data, "base": base, "out": out, "settings": settings,
            "validation_file": validation_file, "test_file": test_file, "data_settings": data_settings,
            "resume": resume, "overwrite": overwrite, "show_progress": False,
        }  # fmt: skip
        return train_on_ray(ray_workers, {**asked, **more})
    if task == "classify" and data_settings.label_separator is not None:
        task = "multilabel"
    run = Run(task, given, base, Path(out), settings, data_settings, overwrite, show_progress)
    if base is not None:
        bases.transformers()
    with distributed.processes():
        return _train_packaged(run, more) if task in PACKAGED else _train_text(run)


def _train_text(run: Run) -> Training:
    """Of the tasks with a recipe over a base model of texts."""
    found = inspect_files(run.files, run.task, run.data_settings)
    run.use(found)
    assert run.base is not None
    task, base, settings = run.task, run.base, run.settings
    recipe = make_recipe(task, base, found["train"].names, settings)
    encoded = {part: recipe.encode(one) for part, one in found.items()}
    scores = _cross_validate(task, base, found["train"], encoded["train"], run.places["train"], settings)
    use_rows(recipe, found, encoded, run.places)
    return run.finish(run.fit(recipe), recipe.save, cross_validation=scores)


def _train_packaged(run: Run, more: Mapping[str, Any]) -> Training:
    """Of the tasks that read a file whole. InvalidArgumentError for what they do not take."""
    task = run.task
    if run.settings.folds is not None:
        raise InvalidArgumentError(f"folds={run.settings.folds}: not for task={task!r}")
    if run.base is not None and task != "image":
        raise InvalidArgumentError(f"base={str(run.base)!r}: task={task!r} begins with nothing; leave it out")
    module, *known = PACKAGED[task]
    if unknown := set(more) - set(known):
        raise InvalidArgumentError(f"{min(unknown)}: task={task!r} takes {', '.join(known)}")
    made: Training = getattr(import_module(f".{module}", __package__), f"train_{task}")(run, **more)
    return made


def make_recipe(task: str, base: str | Path, names: list[str], settings: TrainSettings) -> Any:
    """The recipe of a task, with its model loaded."""
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
