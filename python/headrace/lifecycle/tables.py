"""Tables: columns of numbers and of texts beside one that is to be told, read whole, with what is wrong by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from .cells import CellError, as_label, as_number, is_missing
from .columns import find_columns
from .data import read_blocks
from .duplicates import text_hash
from .inspection import Inspected, check_classes, file_hash, natural
from .problems import DataReport, Problem
from .scan import DataSettings, unknown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_VALUES = 200  # different texts of a column that is a feature
_NUMBERS_ARE_CLASSES = 20  # a label of whole numbers has at most so many, or is a quantity
_EXTRA = ("group", "time", "slice")


@dataclass
class Table(Inspected):
    """Rows whose `cells` are features by name: float32 [rows], NaN where missing, or texts, "" where missing.

    `regresses`: the label is a quantity: `labels` are numbers and `names` is empty.
    """

    cells: dict[str, NDArray[Any]] = field(default_factory=dict)
    slices: list[str] | None = None
    regresses: bool = False

    def items(self, places: NDArray[Any]) -> list[dict[str, Any]]:
        """Rows as a model's items."""
        return [{name: column[i] for name, column in self.cells.items()} for i in places]


def read_table(
    path: str | Path,
    settings: DataSettings,
    *,
    features: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    is_evaluation: bool = False,
) -> Table:
    """The rows of a file.

    Args:
        path: as `train` takes it.
        settings: how it is read; `columns` may name the label, a group, a time and a slice.
        features: the columns that a model has learnt, "number" or "text" by name; None: every column that can be one.
        names: the classes that a model knows; () of one that tells quantities; None: found.
        is_evaluation: repeated rows are told and kept.

    Raises InvalidArgumentError for a column that is not there, or no rows.
    """
    path = Path(path)
    columns, cells, rows, broken = _read(path, settings)
    report = DataReport(str(path), "tabular", columns, rows=len(rows) + len(broken), sha256=file_hash(path))
    problems: dict[str, Problem] = {}

    def tell(code: str, message: str, action: str) -> Problem:
        return problems.setdefault(code, Problem(code, message, action))

    for row, why in broken:
        tell("broken_row", "not a row of this file", "dropped").add(row, None, why)
    keep = np.ones(len(rows), bool)
    for i, value in enumerate(cells[columns["label"]]):
        if is_missing(value):
            keep[i] = False
            tell("missing_label", "no label (NaN, null or empty)", "dropped").add(rows[i])
    regresses = _is_quantity(cells[columns["label"]], keep) if names is None else not names
    known = {name: i for i, name in enumerate(names or ())}
    labels = np.zeros(len(rows))
    texts = [""] * len(rows)
    for i in np.flatnonzero(keep).tolist():
        value = cells[columns["label"]][i]
        try:
            if regresses:
                labels[i] = as_number(value)
            else:
                texts[i] = as_label(value)
        except CellError as error:
            keep[i] = False
            tell("wrong_cell", "a label of another kind", "dropped").add(rows[i], None, str(error))
    if not regresses:
        if names is None:
            known = {
                name: i
                for i, name in enumerate(sorted({texts[i] for i in np.flatnonzero(keep)}, key=natural))
            }
        for i in np.flatnonzero(keep).tolist():
            if texts[i] in known:
                labels[i] = known[texts[i]]
                continue
            keep[i] = False
            tell(*unknown_label()).add(rows[i], None, repr(texts[i]))
    others = {name: column for name, column in cells.items() if name not in columns.values()}
    found = _features(others, keep, rows, features, tell)
    marks = _marks(found, labels)
    _drop_repeated(marks, keep, rows, tell, is_kept=is_evaluation or settings.keep_duplicates)
    report.problems = list(problems.values())
    report.kept = int(keep.sum())
    if not report.kept:
        report.problems.append(Problem("no_rows", f"no row is left of {report.rows}", "error"))
    kept_labels: NDArray[Any] = labels[keep] if regresses else labels[keep].astype(np.int64)
    if not regresses:
        counts = np.bincount(kept_labels, minlength=len(known)).tolist()
        report.labels = dict(zip(known, counts, strict=True))
        if not is_evaluation:
            check_classes(report)
    return Table(
        path=path,
        report=report,
        names=[] if regresses else list(known),
        rows=np.asarray(rows, np.int64)[keep],
        labels=kept_labels,
        hashes=marks[keep],
        groups=_extra(cells, columns, "group", keep),
        times=_extra(cells, columns, "time", keep),
        settings=settings,
        cells={name: column[keep] for name, column in found.items()},
        slices=[str(cells[columns["slice"]][i]) for i in np.flatnonzero(keep)]
        if "slice" in columns
        else None,
        regresses=regresses,
    )


def _read(
    path: Path, settings: DataSettings
) -> tuple[dict[str, str], dict[str, list[Any]], list[int], list[tuple[int, str]]]:
    columns: dict[str, str] = {}
    cells: dict[str, list[Any]] = {}
    rows: list[int] = []
    broken: list[tuple[int, str]] = []
    for block in read_blocks(path, encoding=settings.encoding, delimiter=settings.delimiter):
        if not columns:
            columns = find_columns("tabular", block.columns, settings.columns, path=path.name)
            cells = {name: [] for name in block.columns}
        for i in range(len(block)):
            row = block.first_row + i
            if row in block.broken:
                broken.append((row, block.broken[row]))
                continue
            rows.append(row)
            for name, column in cells.items():
                column.append(block.columns[name][i] if name in block.columns else None)
    if not rows:
        raise InvalidArgumentError(f"{path.name}: no rows")
    return columns, cells, rows, broken


def _is_quantity(values: list[Any], keep: NDArray[np.bool_]) -> bool:
    """Whether a label is a number of something: fractions, or many different whole numbers."""
    numbers = set()
    for i in np.flatnonzero(keep).tolist():
        try:
            numbers.add(as_number(values[i]))
        except CellError:
            return False
    return any(not number.is_integer() for number in numbers) or len(numbers) > _NUMBERS_ARE_CLASSES


def _features(
    cells: Mapping[str, list[Any]],
    keep: NDArray[np.bool_],
    rows: list[int],
    wanted: Mapping[str, str] | None,
    tell: Any,
) -> dict[str, NDArray[Any]]:
    if wanted is not None and (missing := [name for name in wanted if name not in cells]):
        raise InvalidArgumentError(
            f"the file has no column {missing[0]!r}, which the model needs; its columns are {', '.join(cells)}"
        )
    found: dict[str, NDArray[Any]] = {}
    for name in cells if wanted is None else wanted:
        numbers = _numbers(cells[name], keep)
        is_number = numbers is not None if wanted is None else wanted[name] == "number"
        if is_number:
            if numbers is None:
                numbers = _numbers(cells[name], keep, name, rows, tell)
            assert numbers is not None
            gaps = int(np.isnan(numbers[keep]).sum())
            if gaps:
                tell(
                    f"missing_{name}",
                    f"{gaps} cells of {name!r} are missing: the median stands for them",
                    "kept",
                )
            column: NDArray[Any] = numbers
        else:
            column = np.array(["" if is_missing(v) else str(v).strip() for v in cells[name]], dtype=object)
        values = {value for value in column[keep].tolist() if value == value}
        if wanted is None and len(values) < 2:
            tell(f"constant_{name}", f"the column {name!r} has one value only: left out", "kept")
            continue
        if wanted is None and not is_number and len(values) > MAX_VALUES:
            what = f"the column {name!r} has {len(values)} different texts, over {MAX_VALUES}: left out"
            tell(f"texts_{name}", what, "kept")
            continue
        found[name] = column
    if not found:
        raise InvalidArgumentError(
            "no column beside the label can be a feature: numbers, or a few different texts"
        )
    return found


def _numbers(
    values: list[Any],
    keep: NDArray[np.bool_],
    name: str = "",
    rows: Sequence[int] = (),
    tell: Any = None,
) -> NDArray[np.float32] | None:
    """The cells as numbers; with `tell` rows without one are dropped, else None where there is any."""
    found = np.full(len(values), np.nan, np.float32)
    for i in np.flatnonzero(keep).tolist():
        if is_missing(values[i]):
            continue
        try:
            found[i] = as_number(values[i])
        except CellError as error:
            if tell is None:
                return None
            keep[i] = False
            tell(f"wrong_{name}", f"no number in {name!r}", "dropped").add(rows[i], None, str(error))
    return found


def _marks(cells: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of each row's features and label."""
    rows = zip(*(column.tolist() for column in cells.values()), labels.tolist(), strict=True)
    return np.array([text_hash("\x1f".join(map(str, row))) for row in rows], dtype=np.uint64)


def _drop_repeated(
    marks: NDArray[np.uint64], keep: NDArray[np.bool_], rows: list[int], tell: Any, *, is_kept: bool
) -> None:
    first: dict[int, int] = {}
    for i in np.flatnonzero(keep).tolist():
        earlier = first.setdefault(int(marks[i]), rows[i])
        if earlier != rows[i]:
            action = "kept" if is_kept else "dropped"
            tell("duplicate", "the same features and label as an earlier row", action).add(
                rows[i], None, f"row {rows[i]} repeats row {earlier}"
            )
            keep[i] = is_kept


def _extra(
    cells: Mapping[str, list[Any]], columns: Mapping[str, str], part: str, keep: NDArray[np.bool_]
) -> Any:
    """Groups as numbers, or times as seconds; None where no column is named."""
    from .cells import as_time

    if part not in columns:
        return None
    values = [cells[columns[part]][i] for i in np.flatnonzero(keep)]
    if part == "group":
        return np.unique([str(value) for value in values], return_inverse=True)[1].astype(np.uint64)
    try:
        return np.array([as_time(value) for value in values])
    except CellError as error:
        raise InvalidArgumentError(f"column {columns[part]!r}: {error}") from None
