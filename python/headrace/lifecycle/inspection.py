"""Reads files in bounded memory and says what is in them and what is wrong; tells a training which rows to use."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import read_blocks
from .duplicates import DuplicateFinder
from .problems import DataReport, Problem
from .scan import DataSettings, Scan

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMBALANCED = 10.0


@dataclass
class Inspected:
    """A file's report and, for each row that is kept, its number, label (an index into `names`, or a number), the hash
    of its text, its group and its time."""

    path: Path
    report: DataReport
    names: list[str]
    rows: NDArray[np.int64]
    labels: NDArray[Any]
    hashes: NDArray[np.uint64]
    groups: NDArray[np.uint64] | None
    times: NDArray[np.float64] | None
    settings: DataSettings

    def texts(self) -> Iterator[tuple[NDArray[np.int64], dict[str, list[Any]]]]:
        """The kept rows' cells by part, block by block, with their places in `rows`."""
        place = 0
        for block in read_blocks(
            self.path, encoding=self.settings.encoding, delimiter=self.settings.delimiter
        ):
            end = int(np.searchsorted(self.rows, block.first_row + len(block)))
            chosen = self.rows[place:end] - block.first_row
            if len(chosen):
                yield (
                    np.arange(place, end),
                    {
                        part: [block.columns[name][i] for i in chosen]
                        for part, name in self.report.columns.items()
                    },
                )
            place = end


def inspect_files(
    paths: Mapping[str, str | Path],
    task: str = "classify",
    settings: DataSettings | None = None,
    *,
    known_labels: Sequence[str] | None = None,
    evaluation: bool = False,
    keep: bool = True,
) -> dict[str, Inspected]:
    """Reads files that belong together, such as {"train": ..., "test": ...}; the first is the one to train on.

    A text that stands in the first file and in another is dropped from the first. With `known_labels` another label is
    an error. For an `evaluation` repeated or contradicting rows are told and kept: they are what is to be measured.
    `keep=False` only reports: its memory does not grow with the files.
    """
    settings = settings or DataSettings()
    scans: dict[str, Scan] = {}
    labels = known_labels
    with DuplicateFinder() as finder:
        for source, (name, path) in enumerate(paths.items()):
            scan = scans[name] = Scan(Path(path), task, settings, labels, keep)
            scan.run(finder, source)
            if labels is None and task in ("classify", "multilabel", "tag"):
                labels = sorted(scan.ids, key=natural)  # what the first file has, the others may have
        drops = _duplicates(list(scans.values()), finder, settings, evaluation)
    found: dict[str, Inspected] = {}
    for (name, scan), drop in zip(scans.items(), drops, strict=True):
        found[name] = _finish(scan, drop, list(labels or ()), is_training=not evaluation and not found)
    return found


def _duplicates(
    scans: list[Scan], finder: DuplicateFinder, settings: DataSettings, is_evaluation: bool
) -> list[array[int]]:
    """Tells repeated, contradicting and leaking rows; the rows of each file that are dropped for it."""
    drops = [array("q") for _ in scans]
    for group in finder.groups():
        sources, rows = group["source"].tolist(), group["row"].tolist()
        same_label = len(set(group["label"].tolist())) == 1
        held_out = {source for source in sources if source}
        first: dict[int, int] = {}
        for source, row in zip(sources, rows, strict=True):
            earlier = first.setdefault(source, row)
            if source == 0 and held_out:
                code, example = "leakage", None
            elif not same_label and sources.count(source) > 1:
                code, example = "conflict", None if row == earlier else f"rows {earlier} and {row}"
            elif row != earlier:
                code, example = "duplicate", f"row {row} repeats row {earlier}"
            else:
                continue
            problem = scans[source].problem(code)
            problem.add(row, None, example)
            if source or is_evaluation or (code == "duplicate" and settings.keep_duplicates):
                problem.action = "kept"
            else:
                scans[source].kept -= 1
                if scans[source].keep:
                    drops[source].append(row)
    return drops


def _finish(scan: Scan, drop: array[int], names: list[str], is_training: bool) -> Inspected:
    rows = np.array(scan.rows, dtype=np.int64)
    stays = ~np.isin(rows, np.array(drop, dtype=np.int64))
    labels: NDArray[Any] = np.array(scan.labels)
    counts: dict[str, int] = {}
    if scan.task in ("classify", "multilabel", "tag"):
        order = np.array([names.index(name) for name in scan.ids], dtype=np.int64)  # found order -> sorted
        counts = {name: scan.counts.get(number, 0) for name, number in scan.ids.items()}
        if scan.task == "classify":
            labels = order[labels.astype(np.int64)] if len(labels) else labels.astype(np.int64)
            if scan.keep:
                counts = dict(
                    zip(names, np.bincount(labels[stays], minlength=len(names)).tolist(), strict=True)
                )
    used = ", ".join(scan.columns.values())
    report = DataReport(
        path=str(scan.path),
        task=scan.task,
        columns=scan.columns,
        rows=scan.total,
        kept=scan.kept,
        labels=counts,
        problems=list(scan.problems.values()),
        sha256=file_hash(scan.path),
    )
    if scan.kept:
        report.characters = {"mean": scan.characters / scan.kept, "max": scan.longest}
    if report.kept <= 0:
        report.problems.append(
            Problem("no_rows", f"no row is left of {scan.total}; columns: {used}", "error")
        )
    if scan.task == "classify" and is_training:
        check_classes(report)
    return Inspected(
        path=scan.path,
        report=report,
        names=names,
        rows=rows[stays],
        labels=labels[stays],
        hashes=np.array(scan.hashes, dtype=np.uint64)[stays],
        groups=np.array(scan.groups, dtype=np.uint64)[stays] if "group" in scan.columns else None,
        times=np.array(scan.times, dtype=np.float64)[stays] if "time" in scan.columns else None,
        settings=scan.settings,
    )


def check_classes(report: DataReport) -> None:
    present = {name: count for name, count in report.labels.items() if count}
    if len(present) == 1:
        name, count = next(iter(present.items()))
        what = f"one class only: all {count} rows have the label {name!r}; there is nothing to tell apart"
        report.problems.append(Problem("one_class", what, "error"))
    rare = {name: count for name, count in present.items() if count < 3}
    if rare and len(present) > 1:
        listed = ", ".join(f"{name!r} ({count})" for name, count in sorted(rare.items())[:10])
        what = f"labels with fewer than 3 rows, too few to train, choose and test with: {listed}"
        report.problems.append(Problem("rare_label", what, "kept"))
    if report.imbalance is not None and report.imbalance >= _IMBALANCED:
        what = (
            f"the largest class has {report.imbalance:.0f} times the rows of the smallest: consider "
            "--class-weights balanced, and look at macro recall rather than accuracy"
        )
        report.problems.append(Problem("imbalance", what, "kept"))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder by name."""
    total = hashlib.sha256()
    for one in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
        if one != path:
            total.update(one.relative_to(path).as_posix().encode() + b"\0")
        with one.open("rb") as file:
            while piece := file.read(1 << 20):
                total.update(piece)
    return total.hexdigest()


def natural(name: str) -> tuple[int, float, str]:
    """Numbers by value before names by letters: 2 before 10."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
