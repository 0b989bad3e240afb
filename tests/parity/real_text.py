"""Real text in many scripts that every installation of the tests brings."""

from __future__ import annotations

import itertools
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path


def installed_lines() -> Iterator[str]:
    """Distinct lines of what a Python installation brings: code, licenses, descriptions, test data."""
    paths = sysconfig.get_paths()
    library, packages = Path(paths["stdlib"]), Path(paths["purelib"])
    sources: Iterable[Path] = itertools.chain(
        packages.glob("*.dist-info/METADATA"),
        packages.glob("*.dist-info/**/LICENSE*"),
        library.glob("pydoc_data/*.py"),
        library.glob("test/cjkencodings/*-utf8.txt"),
        packages.glob("idna/*.py"),
        packages.glob("pip/_vendor/**/*.py"),
        packages.glob("pandas/tests/**/*.py"),
        packages.glob("transformers/models/[a-f]*/*.py"),
        library.glob("test/test_e*/*.py"),
        library.glob("*.py"),
    )
    seen: set[str] = set()
    for source in sources:
        try:
            text = source.read_text("utf-8")
        except (UnicodeDecodeError, IsADirectoryError):
            continue
        for line in text.split("\n"):
            if line and line not in seen:
                seen.add(line)
                yield line
