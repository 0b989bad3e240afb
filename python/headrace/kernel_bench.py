"""`headrace bench --kernels`: each kernel of each table, beside what this machine could do at most.

Two ceilings (Williams, Waterman & Patterson 2009, "Roofline"): operations a second on registers alone, and bytes a
second read from memory. docs/kernels.md says what each number means.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import _core
from .errors import InvalidArgumentError
from .memory import HAVE_BF16

TOKENS = 512  # of a full batch
_FEWER_TOKENS = 64  # for the plain loops of the reference table, which take seconds otherwise
_SECONDS = 0.1
_NEAR_BYTES = 1 << 20  # for each thread: in its second cache, where rows on their way through a layer are
_PRECISIONS = ("f32", "bf16", "int8")
# Hidden size, feed-forward size, heads.
_MODELS = {"MiniLM": (384, 1536, 12), "BERT-base": (768, 3072, 12), "XLM-R-large": (1024, 4096, 16)}


@dataclass(frozen=True)
class Case:
    """A kernel and the sizes it is measured at; `of` says where these are from."""

    kernel: str
    of: str
    rows: int
    n: int
    k: int = 1
    precision: str = "f32"
    gelu: bool = False
    residual: bool = False

    def shape(self) -> str:
        """As a reader wants it."""
        if self.kernel == "gemm":
            epilogue = " + GELU" if self.gelu else " + residual" if self.residual else ""
            return f"{self.rows} x {self.k} x {self.n}{epilogue}"
        if self.kernel == "attention":
            return f"{self.rows} tokens, {self.n} heads of {self.k}"
        if self.kernel == "mean_pool":
            return f"{self.n} x {self.rows} x {self.k}"
        return f"{self.rows} x {self.n}"


def cases(tokens: int = TOKENS, isa: str = "") -> list[Case]:
    """Everything that is measured on one table."""
    found = []
    # Where narrow encoders have an attention of their own; on the others it is that of f32.
    attention_precisions = ("f32", "bf16") if isa in HAVE_BF16 else ("f32",)
    for model, (hidden, feed_forward, _) in _MODELS.items():
        for precision in _PRECISIONS:
            sizes: dict[str, Any] = {"kernel": "gemm", "rows": tokens, "precision": precision}
            found += [
                Case(of=f"{model} qkv", n=3 * hidden, k=hidden, **sizes),
                Case(of=f"{model} out", n=hidden, k=hidden, residual=True, **sizes),
                Case(of=f"{model} up", n=feed_forward, k=hidden, gelu=True, **sizes),
                Case(of=f"{model} down", n=hidden, k=feed_forward, residual=True, **sizes),
            ]
    for model, (hidden, feed_forward, heads) in _MODELS.items():
        found += [
            Case("attention", model, length, heads, hidden // heads, precision)
            for precision in attention_precisions
            for length in (32, 128, tokens)
        ]
        found += [Case("encode", model, tokens, hidden, precision=precision) for precision in _PRECISIONS[1:]]
        found.append(Case("layer_norm", model, tokens, hidden))
        found.append(Case("gelu", model, tokens, feed_forward))
        found.append(Case("mean_pool", model, 32, tokens // 32, hidden))
    found += [Case("softmax", f"{length} keys", tokens, length) for length in (32, 128, 512)]
    return list(dict.fromkeys(found))


def measure(
    isas: Sequence[str],
    threads: Sequence[int],
    seconds: float,
    progress: Callable[[str], None] = lambda _text: None,
) -> Iterator[dict[str, Any]]:
    """One dict for each table and number of threads: its ceilings and, under "kernels", a dict for each case."""
    read, near = {}, {}
    for count in threads:
        progress(f"memory, {count} threads")
        read[count] = _median(_core.time_reading(_reading_bytes(), count, max(seconds, 0.2)))
        near[count] = _median(_core.time_reading(count * _NEAR_BYTES, count, seconds))
    for isa in isas:
        for count in threads:
            progress(f"{isa}, {count} threads, peaks")
            peaks = {each: _core.measure_peak_gflops(isa, count, each) for each in _PRECISIONS}
            rows = []
            for case in cases(_FEWER_TOKENS if isa == "reference" else TOKENS, isa):
                progress(f"{isa}, {count} threads, {case.kernel} {case.precision} {case.shape()}")
                rows.append(_timed(isa, case, count, seconds, peaks[case.precision], read[count]))
            yield {
                "isa": isa,
                "threads": count,
                "peak_gflops": {each: round(peak, 1) for each, peak in peaks.items()},
                "read_gbs": round(read[count], 1),
                "near_gbs": round(near[count], 1),
                "kernels": rows,
            }


def _timed(isa: str, case: Case, threads: int, seconds: float, peak: float, read: float) -> dict[str, Any]:
    times = _core.time_kernel(
        isa,
        case.kernel,
        precision=case.precision,
        rows=case.rows,
        n=case.n,
        k=case.k,
        gelu=case.gelu,
        residual=case.residual,
        threads=threads,
        seconds=seconds,
    )
    median = _median(times.seconds)
    gflops, gbs = times.operations / median * 1e-9, times.bytes / median * 1e-9
    return {
        "kernel": case.kernel,
        "precision": case.precision,
        "of": case.of,
        "shape": case.shape(),
        "us": _digits(median * 1e6),
        "us_p10": _digits(_quantile(times.seconds, 0.1) * 1e6),
        "us_p90": _digits(_quantile(times.seconds, 0.9) * 1e6),
        "n": len(times.seconds),
        "gflops": _digits(gflops),
        "gbs": _digits(gbs),
        "share_of_peak": round(gflops / peak, 3),
        "share_of_read": round(gbs / read, 3),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


def _median(values: Sequence[float]) -> float:
    return _quantile(values, 0.5)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _reading_bytes() -> int:
    """Twice the largest cache, so that what is read is not there any more when its turn comes again; an eighth of
    the memory at most."""
    try:
        cache = os.sysconf("SC_LEVEL3_CACHE_SIZE")
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        cache, memory = 0, 1 << 32
    return max(1 << 26, min(max(1 << 28, 2 * cache), memory // 8, 1 << 31))


def run(options: argparse.Namespace) -> int:
    """Measures what the options name and prints it."""
    isas = _isas(options.isa)
    threads = _threads(options.threads)
    seconds = _SECONDS if options.seconds is None else options.seconds
    if not 0 < seconds <= 60:
        raise InvalidArgumentError(f"--seconds={seconds:g}: must be above 0, at most 60")
    if options.plot is not None:
        from .roofline import pyplot

        pyplot()  # a missing library is told before the measurement, not after
    tables = []
    for table in measure(isas, threads, seconds, _progress(sys.stderr.isatty())):
        tables.append(table)
        if not options.json:
            _print(table)
    result = {
        "cpu": _core.cpu_model(),
        "cpus": _core.available_cpus(),
        "version": _core.__version__,
        "seconds": seconds,
        "tables": tables,
    }
    if options.json:
        print(json.dumps(result))
    if options.plot is not None:
        from .roofline import plot

        plot(result, options.plot)
    return 0


def _isas(value: str | None) -> list[str]:
    known = _core.runnable_isas()
    names = known if value is None else value.split(",")
    for name in names:
        if name not in known:
            raise InvalidArgumentError(
                f"--isa={value}: {name!r} is none of those that run here: {', '.join(known)}"
            )
    return list(dict.fromkeys(names))


def _threads(value: str | None) -> list[int]:
    if value is None:
        return sorted({1, _core.available_cpus()})
    numbers = [int(part) if part.isascii() and part.isdigit() else 0 for part in value.split(",")]
    if not all(1 <= number <= 1024 for number in numbers):
        raise InvalidArgumentError(
            f"--threads={value}: must be numbers from 1 to 1024 with commas between, such as 1,2"
        )
    return list(dict.fromkeys(numbers))


def _progress(shown: bool) -> Callable[[str], None]:
    def show(text: str) -> None:
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)

    return show if shown else lambda _text: None


def _print(table: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    peaks = ", ".join(f"{each} {peak:,.0f}" for each, peak in table["peak_gflops"].items())
    print(
        f"{table['isa']}, {table['threads']} thread(s): peak G(FL)OP/s {peaks}; memory {table['read_gbs']:.0f} GB/s, "
        f"1 MiB a thread {table['near_gbs']:.0f}"
    )
    print(
        f"{'kernel':<11}{'':<6}{'of':<17}{'shape':<32}{'us':>10}{'G(FL)OP/s':>11}{'of peak':>9}"
        f"{'GB/s':>8}{'of memory':>11}"
    )
    for row in table["kernels"]:
        precision = row["precision"] if row["kernel"] in ("gemm", "encode", "attention") else ""
        print(
            f"{row['kernel']:<11}{precision:<6}{row['of']:<17}{row['shape']:<32}{row['us']:>10,.1f}"
            f"{row['gflops']:>11,.1f}{row['share_of_peak']:>9.0%}{row['gbs']:>8.1f}{row['share_of_read']:>11.0%}"
        )
    print(flush=True)
