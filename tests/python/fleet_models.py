"""Twenty small models, for tests of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
import headrace.toy

COUNT = 20
TEXT = "the water turns the wheel"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty models that answer otherwise."""
    folder = tmp_path_factory.mktemp("fleet")
    for seed in range(COUNT):
        headrace.toy.model("embed", folder / f"toy{seed:02d}", seed=seed)
    return folder


@pytest.fixture(scope="module")
def expected(fleet: Path) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for path in sorted(fleet.iterdir()):
        with headrace.load(path, precision="f32") as model:
            found[path.name] = model.embed(TEXT)
    return found


@pytest.fixture(scope="module")
def size(fleet: Path) -> int:
    """Bytes of one of them."""
    with headrace.load(fleet / "toy00", precision="f32") as model:
        return model.info.bytes
