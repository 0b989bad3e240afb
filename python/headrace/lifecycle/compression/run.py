"""compress(): a smaller model beside what it was made of, what it lost and what it gained, measured in our engine."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import repository
from ...errors import InvalidArgumentError, UnsupportedError
from ...memory import show_bytes
from .. import bases, lineage, unpacking
from ..cells import as_list, as_text
from ..evaluation import cells_of, choose_rows, evaluator_of, measure
from ..inspection import Inspected, inspect_files
from ..loop import History, fit
from ..plots import Progress
from ..runs import CHECKPOINTS, check_folder, split_rows
from ..scan import DataSettings
from ..training import TASKS, make_recipe, use_rows
from . import distill, grouped, precision, speed, weights
from .result import Compression, Size
from .settings import CompressSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model

_OWN = ("headrace.toml", "README.md", "golden.json", "SHA256SUMS", lineage.COMPRESSION, unpacking.SOURCE)
_STAGES = ("reading the data", "compressing", "measuring quality", "measuring speed")


def compress(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    settings: CompressSettings,
    *,
    test_file: str | Path | None = None,
    data_settings: DataSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    turns: int = 9,
    bootstrap: int = 1000,
    threads: int | None = None,
    show_progress: bool | None = None,
) -> Compression:
    """Makes a smaller model of the one in folder `model`, and measures both in our engine on the same rows.

    Args:
        model: a folder of Hugging Face files, a GGUF (its numbers in f32 are the base) or a demo model, for classify,
            tag, embed, rerank or generate.
        data: rows, as `train` takes them, to prune, recover or learn by, and to measure with. Of the very file that the
            model was trained on, its own test rows measure; of another one a part is held out, where rows are needed to
            change the model.
        out: a folder, which is made; `headrace serve OUT` serves it in its precision.
        settings: the method and its numbers.
        test_file: further rows, which measure; then all of `data` may train.
        data_settings: columns, encoding.
        resume: go on with the recovery of a run that was ended.
        overwrite: whatever an earlier training or compression left in `out` goes.
        turns: how often the speed of both is measured, in turns; 6 or more make an interval.
        bootstrap: samples of the intervals; 0: none.
        threads: of the engine, of both models.
        show_progress: bars; by default on a terminal and in notebooks.

    Raises:
        InvalidArgumentError: data that cannot be used, a folder that is not empty, a setting.
        UnsupportedError: a method that is not of this model's task or family, a sealed model.
        ImportError: PyTorch or transformers is missing (extra `train`).

    >>> import pathlib, tempfile, headrace.toy
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> rows = [f"a {word} mill number {i},{word}" for i in range(20) for word in ("positive", "negative")]
    >>> _ = (folder / "mills.csv").write_text("\\n".join(["text,label", *rows]))
    >>> base = headrace.toy.model("classify")
    >>> found = compress(base, folder / "mills.csv", folder / "small", CompressSettings(method="int8"), turns=1)
    >>> found.sizes[1].memory < found.sizes[0].memory
    True
    """
    begin = time.perf_counter()
    if turns < 1:
        raise InvalidArgumentError(f"turns={turns}: must be 1 or more; 6 or more make an interval")
    folder, place = bases.base_folder(model), Path(out)
    files = {part: path for part, path in (("train", data), ("test", test_file)) if path is not None}
    check_folder(place, resume, overwrite, [*files.values(), *_student(settings)], model)
    bases.transformers()
    from ...engine import load

    with ExitStack() as stack:
        before = stack.enter_context(load(folder, precision="f32", threads=threads))
        _check(settings, before)
        stages = stack.enter_context(_Stages(place.name, show_progress, turns))
        rows = _Rows(before, folder, files, settings, data_settings or DataSettings())
        stages.next()
        if overwrite and place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True, exist_ok=True)
        done, history = _make(before, folder, place, settings, rows, show_progress)
        stages.next()
        after = stack.enter_context(load(place, threads=threads))
        seed = settings.training.seed
        evaluator = evaluator_of(before)
        figures = [
            measure(evaluator, one, name, rows.measured, rows.places, bootstrap, seed, None)
            for one, name in ((before, str(model)), (after, str(place)))
        ]
        evaluator.compare(figures[0], after, rows.measured, rows.places, seed)
        stages.next()
        gain = speed.compare(before, after, rows.inputs(before.info.task), turns=turns, watch=stages.step)
        result = Compression(
            out=place,
            task=before.info.task,
            base=str(model) if str(model).startswith("demo:") else repository.resolve(model).name,
            method=settings.method,
            parameters=settings.parameters(),
            done=done,
            before=figures[0],
            after=figures[1],
            differences=figures[0].comparison["differences"],
            sizes=(_size(before, folder), _size(after, place)),
            gain=gain,
            history=history,
            notes=_notes(settings, done, rows.note, unpacking.source_of(folder)),
        )
    result.seconds = time.perf_counter() - begin
    _record(result, folder, settings, rows)
    shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)
    return result


def _check(settings: CompressSettings, model: Model) -> None:
    task, method = model.info.task, settings.method
    if task not in TASKS:
        raise UnsupportedError(
            f"compress: {model.name} is for {task}: models are compressed for {', '.join(TASKS)}"
        )
    if method in ("q8", "q4") and task != "generate":
        raise UnsupportedError(f"{method}: groups of few bits are of language models; int8 is of {task}")
    if method == "prune-weights" and task == "generate" and settings.epochs:
        raise UnsupportedError(
            "prune-weights: a language model recovers by an adapter, which would fill the zeros again: recover_epochs=0"
        )
    evaluator_of(model)


def _student(settings: CompressSettings) -> list[str | Path]:
    return [] if settings.student is None else [settings.student]


class _Rows:
    """The rows that change the model, and those that measure it."""

    def __init__(
        self,
        model: Model,
        folder: Path,
        files: Mapping[str, str | Path],
        settings: CompressSettings,
        reading: DataSettings,
    ) -> None:
        self.found: dict[str, Inspected] = {}
        self.parts: dict[str, NDArray[Any]] = {}
        self.note: str | None = None
        self.names = list(model.info.labels) if model.info.task in ("classify", "tag") else []
        if not settings.trains:
            path = files.get("test", files["train"])
            self.measured = evaluator_of(model).read(model, path, reading)
            self.places, self.note = choose_rows(folder, self.measured, "auto")
            return
        self.found = inspect_files(files, model.info.task, reading, known_labels=self.names or None)
        for one in self.found.values():
            one.report.check()
        self.parts = _own_parts(folder, self.found) or split_rows(self.found, settings.training)
        self.measured = self.found["test" if "test" in self.found else "train"]
        self.places = self.parts["test"]
        if not len(self.places):
            raise InvalidArgumentError(
                f"{self.measured.path.name}: no rows to measure with: give a test file, or training.test above 0"
            )

    def inputs(self, task: str) -> list[Any]:
        """What the models are timed with."""
        cells = cells_of(self.measured, self.places[:512])
        if task == "rerank":
            pairs = zip(cells["query"], cells["document"], strict=True)
            return [(as_text(query), as_text(document)) for query, document in pairs]
        if task == "tag":
            return [" ".join(as_list(cell)) for cell in cells["tokens"]]
        part = next(part for part in ("text", "anchor", "sentence1", "query") if part in cells)
        texts = [as_text(text) for text in cells[part]]
        return [text[:400] for text in texts] if task == "generate" else texts


def _own_parts(folder: Path, found: Mapping[str, Inspected]) -> dict[str, NDArray[Any]] | None:
    """The parts that the model's own training made of this very file; None for another file."""
    record, path = lineage.read(folder), folder / lineage.ROWS
    data = found["train"]
    if record is None or not path.is_file() or "test" in found:
        return None
    if record["data"]["train"]["sha256"] != data.report.sha256:
        return None
    with np.load(path) as saved:
        parts = {
            part: np.flatnonzero(np.isin(data.rows, saved[part])) if part in saved else np.empty(0, np.int64)
            for part in ("train", "validation", "test")
        }
    return parts if len(parts["train"]) and len(parts["test"]) else None


def _make(
    model: Model,
    folder: Path,
    out: Path,
    settings: CompressSettings,
    rows: _Rows,
    show_progress: bool | None,
) -> tuple[dict[str, Any], History | None]:
    """Writes the folder; what was done, and how the recovery went."""
    task, served = model.info.task, settings.served
    if settings.method in ("q8", "q4"):
        grouped.write(folder, out, int(settings.method[1:]))
        bases.write_manifest(out, task)
        return {}, None
    if not settings.trains:
        precision.copy(folder, out, (*_OWN, lineage.NAME, lineage.ROWS, "loss.png"))
        precision.store(out, settings.method)
        bases.write_manifest(out, task, served)
        return {}, None
    training = replace(settings.training, epochs=max(1, settings.epochs))
    start = folder if settings.student is None else bases.base_folder(settings.student)
    recipe = make_recipe(task, start, rows.names, training)
    encoded = {part: recipe.encode(one) for part, one in rows.found.items()}
    use_rows(recipe, rows.found, encoded, rows.parts)
    learning = recipe
    if settings.method == "distill" and settings.student is not None:
        learning, done = distill.with_teacher(recipe, folder, settings)
    elif settings.method == "distill":
        learning, done = distill.with_own_layers(recipe, settings)
    else:
        name = settings.method.removeprefix("prune-")
        done = import_module(f".{name}", __package__).prune(recipe, settings)
    config = done.pop("config")
    has_adapter = task == "generate" and settings.method != "distill"
    if has_adapter:
        weights.finish(recipe.model)
        bases.save_model(recipe.model, out)
        bases.save_tokenizer(folder, out, recipe.tokenizer)
        if settings.epochs:
            learning = recipe = make_recipe(task, out, [], training)
            use_rows(recipe, rows.found, encoded, rows.parts)
    history = None
    if settings.epochs:
        mark = lineage.fingerprint(
            {
                "data": lineage.describe(rows.found),
                "base": lineage.base_hash(folder),
                "student": lineage.base_hash(start),
                "parameters": settings.parameters(),
                "settings": asdict(training),
            }
        )
        with Progress(f"training {out.name}", show_progress) as progress:
            history = fit(
                learning, training, checkpoints=out / CHECKPOINTS, fingerprint=mark, watch=progress.step
            )
    weights.finish(recipe.model)
    if task != "generate":
        recipe.save(out)
    elif not has_adapter:
        bases.save_model(recipe.model, out)
        bases.save_tokenizer(start, out, recipe.tokenizer)
    elif settings.epochs:
        bases.save_model(recipe.model.merge_and_unload(), out)
    bases.set_config(out, **config)
    precision.store(out, served)
    bases.write_manifest(out, task, served)
    return done, history


def _size(model: Model, folder: Path) -> Size:
    files = [path for kind in ("*.safetensors", "*.gguf") for path in folder.rglob(kind)]
    return Size(sum(path.stat().st_size for path in files), model.info.weight_bytes, model.info.parameters)


def _notes(
    settings: CompressSettings, done: Mapping[str, Any], note: str | None, source: Mapping[str, Any] | None
) -> list[str]:
    notes = [] if note is None else [note]
    if source is not None:
        notes.append(
            f"the base is {source['file']}, a GGUF of {show_bytes(source['bytes'])}, as f32: what its groups had "
            "rounded is no loss here"
        )
    if settings.method == "prune-weights":
        notes.append(
            "zeros are multiplied like other numbers: the engine gains neither speed nor memory from them"
        )
    if settings.method == "prune-heads":
        notes.append(
            "config.json has head_dim: transformers cannot load fewer heads than make up the hidden size"
        )
    if done.get("hidden_states") is False and settings.hidden_weight:
        notes.append("teacher and student have hidden states of different widths: logits alone were compared")
    return notes


def _record(result: Compression, folder: Path, settings: CompressSettings, rows: _Rows) -> None:
    """compression.json, the model card, and which rows the folder has seen."""
    base: dict[str, Any] = {"name": result.base, "sha256": lineage.base_hash(folder)}
    if settings.student is not None:
        student = bases.base_folder(settings.student)
        base["student"] = {"name": student.name, "sha256": lineage.base_hash(student)}
    measured = {"measured": rows.measured}
    lineage.write(
        result.out,
        {"base": base, "data": lineage.describe({**rows.found, **measured}), **result.to_dict()},
        lineage.COMPRESSION,
    )
    card = folder / "README.md"
    result.write_card(card.read_text(encoding="utf-8") if card.is_file() else None)
    for name in (lineage.NAME, lineage.ROWS):  # of the same data, or else nothing is known of any
        if (folder / name).is_file() and not rows.found:
            shutil.copyfile(folder / name, result.out / name)
    if not rows.found:
        return
    lineage.write_rows(result.out, rows.found, rows.parts)
    lineage.write(
        result.out,
        {
            "task": result.task,
            "base": base,
            "data": lineage.describe(rows.found),
            "rows": {part: len(places) for part, places in rows.parts.items()},
            "settings": asdict(settings.training),
            "compression": {"method": result.method, **result.parameters},
        },
    )


class _Stages:
    """A bar of the stages, and of the turns of the last one; nothing where no bar is wanted."""

    def __init__(self, name: str, wanted: bool | None, turns: int) -> None:
        self._name, self._place = name, 0
        self._bar: Any = None
        if sys.stderr.isatty() if wanted is None else wanted:
            from tqdm import tqdm

            self._bar = tqdm(total=len(_STAGES) - 1 + turns, dynamic_ncols=True)

    def __enter__(self) -> _Stages:
        self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _tell(self) -> None:
        if self._bar is not None:
            self._bar.set_description(f"{self._name}: {_STAGES[self._place]}")

    def next(self) -> None:
        """The next stage begins."""
        self._place += 1
        self.step()
        self._tell()

    def step(self) -> None:
        if self._bar is not None:
            self._bar.update(1)
