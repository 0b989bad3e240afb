"""The examples in the docstrings of the package run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import headrace

MODULES = [
    "headrace",
    *(m.name for m in pkgutil.walk_packages(headrace.__path__, "headrace.") if not m.ispkg),
]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("._core")])
def test_examples(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder().find(headrace.Model.embed, "embed")
    assert any(test.examples for test in found)
