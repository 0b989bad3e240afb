"""Who took what, and when: users' histories out of a file of interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidArgumentError
from .cells import CellError, as_label, as_number, as_time, is_missing
from .columns import find_columns
from .data import read_blocks
from .inspection import Inspected, file_hash, natural
from .problems import DataReport, Problem
from .scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Histories(Inspected):
    """Users with two items or more. A row of this is a user: `rows` are the numbers of their last items' rows, `names`
    the items in the order of their numbers; number 0 is padding. `users[i]` are a user's items, the earliest first."""

    users: list[list[int]] = field(default_factory=list)

    def counts(self) -> NDArray[np.int64]:
        """How often each item stands before a last one."""
        every = [item for user in self.users for item in user[:-1]]
        return np.bincount(np.asarray(every, np.int64), minlength=len(self.names))


def read_histories(
    path: str | Path,
    settings: DataSettings,
    *,
    names: Sequence[str] | None = None,
    min_rating: float | None = None,
) -> Histories:
    """The histories in a file with the columns user, item, and perhaps rating and time; without times in its order.

    Args:
        names: the items that a model knows; others are told and left out.
        min_rating: rows with less are left out.

    Raises InvalidArgumentError for a missing column, or no user with two items.
    """
    path = Path(path)
    problems: dict[str, Problem] = {}

    def tell(code: str, message: str) -> Problem:
        return problems.setdefault(code, Problem(code, message, "dropped"))

    columns: dict[str, str] = {}
    found: list[tuple[str, str, float, int]] = []
    total = 0
    for block in read_blocks(path, encoding=settings.encoding, delimiter=settings.delimiter):
        columns = columns or find_columns("recommend", block.columns, settings.columns, path=path.name)
        if min_rating is not None and "rating" not in columns:
            raise InvalidArgumentError(f"min_rating={min_rating}: {path.name} has no column of ratings")
        for i in range(len(block)):
            row = block.first_row + i
            total += 1
            cells = {part: block.columns[name][i] for part, name in columns.items()}
            if row in block.broken or is_missing(cells["user"]) or is_missing(cells["item"]):
                tell("broken_row", "no user, no item, or not a row").add(row)
                continue
            try:
                if min_rating is not None and as_number(cells["rating"]) < min_rating:
                    tell("low_rating", f"a rating below {min_rating:g}").add(row)
                    continue
                when = as_time(cells["when"]) if "when" in columns else float(row)
            except CellError as error:
                tell("wrong_cell", "a cell of another kind").add(row, None, str(error))
                continue
            found.append((as_label(cells["user"]), as_label(cells["item"]), when, row))
    found.sort(key=lambda each: (each[2], each[3]))
    known = ["", *sorted({item for _, item, _, _ in found}, key=natural)] if names is None else list(names)
    numbers = {name: i for i, name in enumerate(known)}
    users: dict[str, dict[int, int]] = {}
    for user, item, _, row in found:
        if item not in numbers:
            tell("unknown_item", "an item that the model does not know").add(row, None, repr(item))
            continue
        users.setdefault(user, {}).setdefault(numbers[item], row)  # the first time counts
    kept = [items for items in users.values() if len(items) > 1]
    report = DataReport(
        str(path), "recommend", columns, total, sum(map(len, kept)), problems=list(problems.values()),
        sha256=file_hash(path),
    )  # fmt: skip
    if not kept:
        report.problems.append(Problem("no_rows", f"no user of {len(users)} has two items", "error"))
    return Histories(
        path=path,
        report=report,
        names=known,
        rows=np.array([list(items.values())[-1] for items in kept], np.int64),
        labels=np.array([list(items)[-1] for items in kept], np.int64),
        hashes=np.arange(len(kept), dtype=np.uint64),
        groups=None,
        times=None,
        settings=settings,
        users=[list(items) for items in kept],
    )
