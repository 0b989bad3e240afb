"""The arithmetic of benchmarks/bench_tagger.py; its figures are nobody's test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import Entity

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench_tagger

    return bench_tagger


def test_words_are_counted_by_the_entities_that_overlap_them(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("Maria\tB-person\nSmith\tI-person\nruns\tO\n\nParis\tB-location\nMill\tB-product\n\t\n")
    sentences = bench.read(file)
    assert sentences == [
        [("Maria", "person"), ("Smith", "person"), ("runs", "")],
        [("Paris", "location"), ("Mill", "")],
    ]
    assert bench.text_of(sentences[0]) == "Maria Smith runs"
    entities = [Entity("GIVEN_NAME", 1, 0, 5, "Maria"), Entity("CITY", 1, 6, 11, "Smith")]
    assert bench.words_of(sentences[0], entities) == ["person", "location", ""]
    # A kind that is not counted hides nothing, and neighbours are not overlapped.
    entities = [Entity("URL", 1, 0, 5, "Paris"), Entity("STATE", 1, 4, 6, "s ")]
    assert bench.words_of(sentences[1], entities) == ["location", ""]
    # One right, one of another kind: found in vain and missed.
    assert bench.tally(sentences[0], ["person", "location", ""]) == (1, 1, 1)
    assert bench.tally(sentences[0], ["", "person", "person"]) == (1, 1, 1)
    assert bench.f1(np.array([[1, 1, 1], [3, 0, 0]])).tolist() == [50, 100]


def test_four_bits_become_floats(bench: Any) -> None:
    numbers = np.arange(2 * 64).reshape(2, 2, 32) % 16
    packed = (numbers[..., ::2] | numbers[..., 1::2] << 4).astype(np.uint8)
    scales = np.array([[1, 2], [0.5, 0.25]], np.float32)
    expected = ((numbers - 8) * scales[..., None]).reshape(2, 64)
    np.testing.assert_array_equal(bench.rampart._floats(packed, scales), expected)
