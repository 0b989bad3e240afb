"""`headrace bench --kernels`: counts, checks and output. No test passes or fails on a time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace import _core, roofline
from headrace.kernel_bench import Case, cases, measure

ISA = _core.isa()


def timed(kernel: str, isa: str = ISA, **sizes: Any) -> _core.KernelTimes:
    return _core.time_kernel(isa, kernel, **{"rows": 8, "n": 16, "k": 12, "seconds": 0.001, **sizes})


def test_operations_and_bytes_are_those_of_the_page() -> None:
    plain, with_residual = timed("gemm"), timed("gemm", residual=True)
    assert plain.operations == with_residual.operations == 2 * 8 * 16 * 12
    assert with_residual.bytes - plain.bytes == 4 * 8 * 16
    n = 960  # whole panels, whatever their width
    assert timed("gemm", n=n).bytes == 4 * (8 * 12 + n * 12 + n + 8 * n)
    attention = timed("attention", rows=10, n=3, k=4)
    assert attention.operations == 3 * 10 * 10 * (4 * 4 + 5)
    assert attention.bytes == 4 * (4 * 10 * 3 * 4)
    norm = timed("layer_norm")
    assert (norm.operations, norm.bytes) == (8 * 8 * 16, 4 * (2 * 8 * 16 + 2 * 16))
    for kernel in ("softmax", "gelu"):
        found = timed(kernel)
        assert (found.operations, found.bytes) == (5 * 8 * 16, 4 * 2 * 8 * 16)
    pooled = timed("mean_pool", rows=5, n=3, k=7)
    assert pooled.operations == 3 * 5 * 7 + 3 * 7
    assert pooled.bytes == 4 * pooled.operations
    assert timed("encode", precision="bf16").operations == 8 * 16
    assert timed("encode", precision="int8").operations == 3 * 8 * 16


@pytest.mark.parametrize("isa", _core.runnable_isas())
def test_every_kernel_runs_on_every_table_and_on_two_threads(isa: str) -> None:
    for precision in ("f32", "bf16", "int8"):
        assert _core.measure_peak_gflops(isa, 1, precision) > 0
    for case in cases(64, isa):
        if case.of.startswith(("BERT", "XLM")) and case.kernel == "gemm":
            continue  # large, and of the same kinds as MiniLM's
        times = _core.time_kernel(
            isa, case.kernel, precision=case.precision, rows=case.rows, n=case.n, k=case.k, gelu=case.gelu,
            residual=case.residual, threads=2, seconds=1e-6,
        )  # fmt: skip
        assert 3 <= len(times.seconds) <= 15
        assert min(times.seconds) > 0
        assert times.operations > 0


def test_cases_cover_each_model_precision_and_epilogue() -> None:
    found = cases()
    assert len(found) == len(set(found))
    gemms = [case for case in found if case.kernel == "gemm"]
    assert len(gemms) == 3 * 3 * 4
    assert Case("gemm", "BERT-base up", 512, 3072, 768, "int8", gelu=True) in gemms
    assert Case("gemm", "XLM-R-large down", 512, 1024, 4096, "bf16", residual=True) in gemms
    assert Case("attention", "MiniLM", 128, 12, 32, "bf16") in set(cases(isa="amx")) - set(found)
    kinds = {"gemm", "attention", "encode", "layer_norm", "gelu", "mean_pool", "softmax"}
    assert {case.kernel for case in found} == kinds == set(roofline._MARKERS)


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        ("sort", {}, "kernel='sort'"),
        ("gemm", {"rows": 0}, "a size of 0"),
        ("gemm", {"k": 1 << 20}, "a size of 1048576"),
        ("mean_pool", {"rows": 60000, "n": 60000, "k": 60000}, "at most 268435456"),
        ("attention", {"rows": 60000, "n": 4, "k": 600}, "at most 268435456"),
        ("gemm", {"precision": "int4"}, "precision='int4'"),
        ("gemm", {"threads": 0}, "threads=0"),
        ("gemm", {"seconds": 0.0}, "seconds=0"),
        ("gemm", {"seconds": float("nan")}, "seconds=nan"),
        ("encode", {}, "encode in f32"),
        ("gemm", {"isa": "mmx"}, "mmx"),
    ],
)
def test_what_is_refused(kernel: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(headrace.Error, match=message):
        timed(kernel, **options)


def test_memory_is_read() -> None:
    samples = _core.time_reading(1 << 22, 2, 0.01)
    assert min(samples) > 0
    for size in (0, 1 << 40):
        with pytest.raises(headrace.InvalidArgumentError, match="bytes="):
            _core.time_reading(size)


def test_other_threads_of_python_go_on_meanwhile() -> None:
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    before = counted[0]
    timed("gemm", rows=64, n=256, k=256, seconds=0.3)
    after = counted[0]
    stop.set()
    counter.join()
    assert after - before > 20


def test_shares_are_of_the_measured_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headrace.kernel_bench.cases", lambda _tokens, _isa: [Case("gemm", "x", 64, 256, 128)]
    )
    seen: list[str] = []
    (table,) = measure([ISA], [1], 0.005, seen.append)
    (row,) = table["kernels"]
    assert any("gemm" in text for text in seen)
    assert row["us_p10"] <= row["us"] <= row["us_p90"]
    assert row["gflops"] == pytest.approx(2 * 64 * 256 * 128 / row["us"] / 1e3, rel=1e-2)
    assert row["share_of_peak"] == pytest.approx(row["gflops"] / table["peak_gflops"]["f32"], rel=1e-2)
    assert row["share_of_read"] == pytest.approx(row["gbs"] / table["read_gbs"], rel=2e-2)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", "bench", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    plot = tmp_path / "roofline.png"
    done = command(
        *("--kernels", "--isa", ISA, "--threads", "1", "--seconds", "0.001", "--json", "--plot", str(plot))
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["cpu"] == _core.cpu_model()
    (table,) = told["tables"]
    assert (table["isa"], table["threads"]) == (ISA, 1)
    assert [row["shape"] for row in table["kernels"]] == [case.shape() for case in cases(isa=ISA)]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.stat().st_size > 20_000


def test_a_chart_of_several_tables(tmp_path: Path) -> None:
    row = {"kernel": "gemm", "precision": "f32", "gflops": 50.0, "gbs": 2.0}
    peaks = {"f32": 100.0, "bf16": 95.0, "int8": 400.0}
    tables = [
        {
            "isa": isa,
            "threads": threads,
            "peak_gflops": peaks,
            "read_gbs": 9.0,
            "near_gbs": 50.0,
            "kernels": [row],
        }
        for isa in ("one", "two")
        for threads in (1, 2)
    ]
    roofline.plot({"cpu": "any", "cpus": 2, "tables": tables}, str(tmp_path / "chart.png"))
    assert (tmp_path / "chart.png").stat().st_size > 20_000
    assert roofline._ceilings(peaks) == [(["int8"], 400.0), (["f32", "bf16"], 100.0)]


def test_a_table_for_people() -> None:
    done = command("--kernels", "--isa", ISA, "--threads", "1", "--seconds", "0.001")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{ISA}, 1 thread(s): peak")
    assert len([line for line in lines if line.startswith("gemm ")]) == 36
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kernels", "--isa", "mmx"), "'mmx' is none of those that run here"),
        (("--kernels", "--threads", "0"), "--threads=0"),
        (("--kernels", "--threads", "two"), "--threads=two"),
        (("--kernels", "--seconds", "0"), "--seconds=0"),
        (("--isa", "avx2"), "--isa is for --kernels"),
        (("--threads", "2"), "--threads is for --kernels"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("headrace: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
