"""What the trainings have in common that end as a packaged folder: its place, the parts of the rows, its record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from . import lineage
from .inspection import Inspected
from .loop import History
from .plots import write_losses
from .scan import DataSettings
from .settings import TrainSettings

if TYPE_CHECKING:
    from .training import Training


def begin_folder(out: str | Path, overwrite: bool, files: Sequence[str | Path]) -> Path:
    """The folder to write, which is not there or empty. InvalidArgumentError for one that holds something else than a
    training, or what this one needs."""
    from .training import check_folder

    folder = Path(out)
    check_folder(folder, False, overwrite, files, None)
    if folder.exists() and overwrite:
        shutil.rmtree(folder)
    return folder


def split_parts(found: Mapping[str, Inspected], settings: TrainSettings) -> dict[str, Any]:
    """`training.split_rows`; InvalidArgumentError where nothing is left to train on."""
    from .training import split_rows

    places = split_rows(found, settings)
    if not len(places["train"]):
        raise InvalidArgumentError("no rows are left to train on: smaller validation and test, or more rows")
    return places


def finish(
    task: str,
    folder: Path,
    found: Mapping[str, Any],
    places: Mapping[str, Any],
    settings: TrainSettings,
    history: History,
    begin: float,
    *,
    base: str,
    more: Mapping[str, Any],
) -> Training:
    """Writes what the packaged model was made of, measures it in the engine on the test rows, and tells of it."""
    from .evaluation import evaluate_rows
    from .training import Training

    write_losses(history, folder / "loss.png")
    data = found["train"]
    own = [part for part in places if part == "train" or part not in found]
    np.savez_compressed(folder / lineage.ROWS, **{part: data.rows[places[part]] for part in own})
    rows = {part: len(chosen) for part, chosen in places.items()}
    record = {
        "task": task,
        "base": {"name": base},
        "data": lineage.describe(found),
        "rows": rows,
        "settings": asdict(settings),
        "reading": {"encoding": data.settings.encoding, "delimiter": data.settings.delimiter},
        "history": history.to_dict(),
        **more,
    }
    lineage.write(folder, record)
    result = Training(
        out=folder, task=task, data=data.report, rows=rows, history=history, seconds=0.0, base=base
    )
    if len(places["test"]):
        result.test = evaluate_rows(folder, found.get("test", data), places["test"], bootstrap=0)
    result.seconds = time.perf_counter() - begin
    figures = {} if result.test is None else result.test.metrics
    lineage.write(folder, {**record, "test": figures, "seconds": round(result.seconds, 3)})
    lineage.log(result, settings)
    return result


def train_packaged(
    task: str,
    files: Mapping[str, str | Path],
    base: str | Path | None,
    out: str | Path,
    settings: TrainSettings,
    data_settings: DataSettings,
    resume: bool,
    more: Mapping[str, Any],
) -> Training:
    """`train` of the tasks that end as a packaged folder. InvalidArgumentError for what they do not take."""
    if resume or settings.folds is not None:
        raise InvalidArgumentError(f"resume and folds are not for task={task!r}: begin anew")
    if base is not None and task != "image":
        raise InvalidArgumentError(f"base={str(base)!r}: task={task!r} begins with nothing; leave it out")
    known = {"tabular": "estimator", "recommend": "min_rating", "image": "image_size"}[task]
    if unknown := set(more) - {"overwrite", "show_progress", known}:
        raise InvalidArgumentError(f"{min(unknown)}: task={task!r} takes {known}")
    if task == "tabular":
        from .tabular import train_tabular

        return train_tabular(files, out, settings, data_settings, **more)
    if task == "recommend":
        from .recommend import train_recommend

        return train_recommend(files, out, settings, data_settings, **more)
    from .image_training import train_image

    return train_image(files, base, out, settings, data_settings, **more)
