"""One training from its files to its folder, whatever the task: place, parts of the rows, checkpoints, record.

A task reads its rows and makes a recipe; the rest is here, once, so that each goes on after a kill and leaves the same
beside its model.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import repository
from ..errors import InvalidArgumentError
from . import bases, distributed, experiment_log, lineage
from .inspection import Inspected
from .loop import History, Recipe, fit
from .plots import Progress, write_losses
from .result import Training
from .scan import DataSettings
from .settings import TrainSettings
from .splits import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .evaluation import Evaluation

CHECKPOINTS = "checkpoints"
_PACKAGE = "package"  # within the checkpoints: what is being packaged


@dataclass
class Run:
    """What was asked for, then what was read (`use`), and how it goes on from there (`fit`, `finish`).

    `base` is a model's folder or name, None where a task begins with nothing; `method` stands for it in the record.
    `more` are settings of one task alone. On several processes each has a Run; the first one writes.
    """

    task: str
    files: Mapping[str, str | Path]
    base: str | Path | None
    out: Path
    settings: TrainSettings
    data_settings: DataSettings
    overwrite: bool = False
    show_progress: bool | None = None
    method: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    mark: str = ""
    begin: float = field(default_factory=time.perf_counter)

    def use(self, found: Mapping[str, Inspected], places: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Takes the rows, and makes the folder: what cannot be trained on has taken nothing away.

        `places` are the rows of each part, by default split as the settings say. Raises InvalidArgumentError for data
        with errors, or where nothing is left to train on.
        """
        for one in found.values():
            one.report.check()
        self.found = found
        self.places = split_rows(found, self.settings) if places is None else places
        if not len(self.places["train"]):
            raise InvalidArgumentError(
                "no rows are left to train on: smaller validation and test, or more rows"
            )
        parts = {
            "task": self.task,
            "data": lineage.describe(found),
            "base": self._base(),
            "settings": asdict(self.settings),
            "keep_duplicates": self.data_settings.keep_duplicates,
            "more": self.more,
        }
        self.mark = lineage.fingerprint(parts)
        if distributed.is_first():
            experiment_log.check()
        distributed.wait()  # all have looked at the folder before the first changes it
        if distributed.is_first():
            if self.overwrite and self.out.exists():
                shutil.rmtree(self.out)
            self.out.mkdir(parents=True, exist_ok=True)
        distributed.wait()

    def fit(self, recipe: Recipe) -> History:
        """The loop over the recipe, from the run's checkpoint if there is one."""
        shown = self.show_progress if distributed.is_first() else False
        with Progress(f"training {self.out.name}", shown) as progress:
            return fit(
                recipe,
                self.settings,
                checkpoints=self.out / CHECKPOINTS,
                fingerprint=self.mark,
                watch=progress.step,
            )

    def package(self, model: Any, **about: Any) -> None:
        """`headrace.package` into the run's folder, beside its checkpoints, which a kill meanwhile leaves whole."""
        from ..packing.package import package

        made = self.out / CHECKPOINTS / _PACKAGE
        shutil.rmtree(made, ignore_errors=True)
        package(model, made, name=self.out.name, **about)
        for path in sorted(made.iterdir()):
            path.replace(self.out / path.name)

    def finish(
        self,
        history: History,
        save: Callable[[Path], None],
        *,
        cross_validation: Sequence[dict[str, float]] = (),
    ) -> Training:
        """Writes the model by `save`, and what it was made of; measures it in the engine on the test rows."""
        result = Training(
            out=self.out,
            task=self.task,
            data=self.found["train"].report,
            rows={part: len(chosen) for part, chosen in self.places.items()},
            history=history,
            seconds=0.0,
            base=self.method if self.base is None else str(self.base),
            cross_validation=list(cross_validation),
        )
        if distributed.is_first():
            save(self.out)
            self._write(result)
            shutil.rmtree(self.out / CHECKPOINTS, ignore_errors=True)
        distributed.wait()
        return result

    def _write(self, result: Training) -> None:
        write_losses(result.history, self.out / "loss.png")
        lineage.write_rows(self.out, self.found, self.places)
        reading = self.found["train"].settings
        base = {"name": result.base} | ({} if self.base is None else {"sha256": self._base()})
        record = {
            "task": self.task,
            "base": base,
            "data": lineage.describe(self.found),
            "rows": result.rows,
            "settings": asdict(self.settings),
            "reading": {"encoding": reading.encoding, "delimiter": reading.delimiter},
            "history": result.history.to_dict(),
            "cross_validation": result.cross_validation,
            **self.more,
        }
        lineage.write(self.out, record)  # the measuring reads it
        result.test = self._test()
        result.seconds = time.perf_counter() - self.begin
        figures = {} if result.test is None else result.test.metrics
        lineage.write(self.out, {**record, "test": figures, "seconds": round(result.seconds, 3)})
        about = {"task": self.task, "base": result.base, "data": self.found["train"].path.name}
        experiment_log.write(result, {**about, **asdict(self.settings), **self.more})

    def _test(self) -> Evaluation | None:
        """The saved folder's figures on the test rows, by the engine that will serve it."""
        from .evaluation import evaluate_rows

        places = self.places["test"]
        if not len(places) or self.task == "generate":  # an adapter
            return None
        return evaluate_rows(self.out, self.found.get("test", self.found["train"]), places, bootstrap=0)

    def _base(self) -> str:
        """What tells one base from another."""
        return self.method if self.base is None else lineage.base_hash(bases.base_folder(self.base))


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
