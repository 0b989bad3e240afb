"""What is wrong with data, with the rows where it is: as text, as JSON, as a table in a notebook."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from ..errors import InvalidArgumentError

SHOWN_ROWS = 20


@dataclass
class Problem:
    """One kind of problem.

    `rows` are the first rows that have it (counted from 1, a header is none), `lines` the lines where they begin, if
    the file has lines; `count` is how many there are in all. `action` says what is done about it: "dropped", "kept" or
    "error", which stops a training.
    """

    code: str
    message: str
    action: str
    count: int = 0
    rows: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def add(self, row: int, line: int | None = None, example: str | None = None) -> None:
        """Counts one more row."""
        self.count += 1
        if line is None:  # they may come in any order; the first rows are shown
            insort(self.rows, row)
            del self.rows[SHOWN_ROWS:]
        elif len(self.rows) < SHOWN_ROWS:
            self.rows.append(row)
            self.lines.append(line)
        if example is not None and len(self.examples) < 3 and example not in self.examples:
            self.examples.append(example)

    def __str__(self) -> str:
        text = self.message if not self.count else f"{self.message}: {self._places()}"
        if self.examples:
            text += f" ({'; '.join(self.examples)})"
        return text

    def _places(self) -> str:
        lines = self.lines if len(self.lines) == len(self.rows) else [None] * len(self.rows)
        shown = [
            str(row) if line in (None, row) else f"{row} (line {line})"
            for row, line in zip(self.rows, lines, strict=True)
        ]
        more = self.count - len(shown)
        return (
            ("row " if self.count == 1 else "rows ")
            + ", ".join(shown)
            + (f" and {more} more" if more else "")
        )


@dataclass(repr=False)
class DataReport:
    """What a file holds. `rows` are all, `kept` those that a training would use; `labels` counts the latter.

    `imbalance` is the largest class over the smallest, `characters` the mean length of a kept row's text and the
    longest. `print(report)` shows it, `to_dict()` is what `--json` prints.
    """

    path: str
    task: str
    columns: dict[str, str]
    rows: int = 0
    kept: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    characters: dict[str, float] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    sha256: str = ""

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a training."""
        return [problem for problem in self.problems if problem.action == "error"]

    @property
    def imbalance(self) -> float | None:
        """Rows of the largest class for each of the smallest; None without classes."""
        counts = [count for count in self.labels.values() if count]
        return max(counts) / min(counts) if counts else None

    def check(self) -> None:
        """Raises InvalidArgumentError when a problem stops a training; the message names its rows."""
        if self.errors:
            raise InvalidArgumentError(f"{self.path}: " + "; ".join(map(str, self.errors)))

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "imbalance": self.imbalance}

    def __str__(self) -> str:
        used = ", ".join(
            role if role == name else f"{role} is {name!r}" for role, name in self.columns.items()
        )
        lines = [f"{self.path}: {self.rows} rows, {self.kept} used for {self.task}; columns: {used}"]
        if self.characters:
            lines.append(
                "texts: {mean:.0f} characters on average, {max:.0f} at most".format(**self.characters)
            )
        if self.labels:
            width = max(len(name) for name in self.labels)
            for name, count in self._largest():
                lines.append(f"  {name:<{width}}  {count:>8}  {count / max(1, self.kept):6.1%}")
            if len(self.labels) > SHOWN_ROWS:
                lines.append(f"  and {len(self.labels) - SHOWN_ROWS} more labels")
        for problem in self.problems:
            lines.append(f"{problem.action}: {problem}")
        if not self.problems:
            lines.append("no problem found")
        return "\n".join(lines)

    __repr__ = __str__  # a report is to be read

    def _largest(self) -> Iterable[tuple[str, int]]:
        return sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_ROWS]

    def _repr_html_(self) -> str:
        rows = [("rows", f"{self.rows}, {self.kept} used")]
        rows += [("label " + name, str(count)) for name, count in self._largest()]
        rows += [(problem.action, str(problem)) for problem in self.problems]
        body = "".join(
            f"<tr><td style='text-align:left'>{escape(a)}</td><td style='text-align:left'>{escape(b)}</td></tr>"
            for a, b in rows
        )
        return f"<b>{escape(self.path)}</b> for {escape(self.task)}<table><tbody>{body}</tbody></table>"
