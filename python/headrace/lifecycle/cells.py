"""A cell of a file -> what a task reads there: a text, a label, a number, a list of tags."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import Any

_NULLS = {"", "nan", "null", "n/a", "<na>"}
# UTF-8 that was read as cp1252 and written again: "cafÃ©" for "café", "itâ€™s" for "it’s".
_MOJIBAKE = re.compile("[ÂÃ][\u0080-\u00bf\u0152-\u2122]|â€[\u0090-\u2122]|\ufffd")


class CellError(ValueError):
    """The cell is not what it should be; the message says what it is."""


def is_missing(value: Any) -> bool:
    """None, NaN, or one of the words that programs write for them; "none" may well be a class.

    >>> [is_missing(value) for value in (None, float("nan"), "NaN", "", 0, "no")]
    [True, True, True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and len(value) <= 4 and value.strip().lower() in _NULLS


def as_text(value: Any) -> str:
    """A text; numbers are texts too. Raises CellError for a list or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    raise CellError(f"a {type(value).__name__}, not a text")


def as_label(value: Any) -> str:
    """A class's name: 1.0 is "1", True is "True"; spaces around it do not count."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return as_text(value).strip()


def as_number(value: Any) -> float:
    """A finite number. Raises CellError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise CellError(f"{value!r} is no number") from None
    if not math.isfinite(number):
        raise CellError(f"{value!r} is not finite")
    return number


def as_time(value: Any) -> float:
    """Seconds since 1970 of a date, or a number as it is (a year, a timestamp). Raises CellError."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc).timestamp()
    try:
        return as_number(value)
    except CellError:
        pass
    try:
        time = datetime.datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except ValueError:
        raise CellError(f"{value!r} is no date such as 2024-05-31 and no number") from None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)).timestamp()


def as_list(value: Any) -> list[str]:
    """A list of texts; in a CSV it is written as JSON, or with spaces between. Raises CellError."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise CellError(f"no JSON list: {error}") from None
        else:
            value = value.split()
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, (str, int)) for item in value):
        raise CellError(f"a {type(value).__name__}, not a list of texts")
    return [str(item) for item in value]


def is_mojibake(text: str) -> bool:
    """Whether the text was, at some time, read in another encoding than it was written in.

    >>> is_mojibake("a caf\\u00c3\\u00a9"), is_mojibake("a caf\\u00e9")
    (True, False)
    """
    return not text.isascii() and _MOJIBAKE.search(text) is not None
