"""Secrets that are made once and kept in a file which only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def create_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600. FileExistsError where there is one."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w") as out:
        out.write(text)


def secret_of(path: Path, *, create: bool) -> bytes | None:
    """The secret in the file; of 256 random bits, made where there is none and that is asked for, else None."""
    if not path.exists():
        if not create:
            return None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):  # another process was quicker
            create_private(path, secrets.token_hex(32) + "\n")
    return path.read_bytes().strip()
