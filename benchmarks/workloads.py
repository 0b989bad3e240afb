"""The texts to embed, in the order in which they arrive."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
from pathlib import Path

NAMES = ("short", "mixed")
COUNT = 1500


def load(name: str) -> tuple[list[str], str]:
    """The texts of a workload and where they are from.

    With HEADRACE_SHARED set to a folder that holds workloads/texts_NAME.json, those; else texts from the
    packages installed here: their one-line summaries (short), their readmes' paragraphs and lines (mixed).
    """
    if name not in NAMES:
        raise SystemExit(f"workload {name!r}: must be one of {', '.join(NAMES)}")
    shared = os.environ.get("HEADRACE_SHARED")
    if shared:
        path = Path(shared) / "workloads" / f"texts_{name}.json"
        if path.exists():
            return json.loads(path.read_text()), path.name
    return from_packages(name), "installed packages"


def from_packages(name: str) -> list[str]:
    """Texts from the packages installed here, in an order of a fixed seed."""
    texts: set[str] = set()
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        readme = metadata.get_payload() or metadata.get("Description") or ""
        blocks = readme.split("\n\n") if name == "mixed" else readme.splitlines()
        limit = 2000 if name == "mixed" else 120
        texts.update(block.strip() for block in [metadata.get("Summary") or "", *blocks])
        texts = {text for text in texts if 8 <= len(text) <= limit}
    ordered = sorted(texts)
    random.Random(0).shuffle(ordered)
    return ordered[:COUNT]
