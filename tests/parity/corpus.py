"""Real text of many languages that a developer may have beside the repository."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Iterator
from pathlib import Path


def shared_corpus() -> Iterator[str]:
    """Documents of up to 30 lines, 12 MB in all; nothing unless HEADRACE_SHARED is set."""
    shared = os.environ.get("HEADRACE_SHARED")
    if not shared:
        return
    path = Path(shared) / "workloads" / "corpus.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as corpus:
        while lines := list(itertools.islice(corpus, 30)):
            yield "".join(lines)
