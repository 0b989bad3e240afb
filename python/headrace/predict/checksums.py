"""SHA256SUMS beside a packaged model: a file that changed since is not run.

`sha256sum -c SHA256SUMS` checks the same."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import CorruptFileError

NAME = "SHA256SUMS"
# What an operator may change.
_FREE = ("headrace.toml", "README.md")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def write_sums(folder: Path) -> None:
    """Of every file of the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    lines = [f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> None:
    """CorruptFileError where a file differs from its line or is missing. A folder without sums is as it is."""
    path = folder / NAME
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        file = folder / (found[2] if found else "")
        if found is None or folder.resolve() not in file.resolve().parents:
            raise CorruptFileError(
                f"{path}: {line[:80]!r} is no line of `sha256sum` for a file of this folder"
            )
        if found[2] in _FREE:
            continue
        if not file.is_file() or digest(file) != found[1]:
            raise CorruptFileError(
                f"{folder}: {found[2]} is not the file that was packaged; package it again, or delete {NAME} if you "
                "changed it yourself"
            )
