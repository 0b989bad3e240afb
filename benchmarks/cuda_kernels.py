"""What nvcc makes of the CUDA kernels: registers, shared memory, stack and spills of each, for each architecture.

    python benchmarks/cuda_kernels.py            prints a table
    python benchmarks/cuda_kernels.py --record   and appends it to benchmarks/results/cuda_kernels.jsonl

No GPU is needed. nvcc is found on PATH, or where pip puts it:
pip install nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
nvidia-cuda-cccl==13.0.85
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "cpp" / "kernels" / "cuda" / "kernels.cu"
ARCHITECTURES = ("80", "89", "90", "100")
_BLOCK = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<arch>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one architecture; bytes but for registers, which are a thread's."""

    kernel: str
    architecture: str
    registers: int
    shared_bytes: int
    stack_bytes: int
    spilled_bytes: int


def find_nvcc() -> str | None:
    """The compiler on PATH, or the one that pip installed."""
    found = shutil.which("nvcc")
    if found:
        return found
    spec = importlib.util.find_spec("nvidia")
    for place in [] if spec is None else list(spec.submodule_search_locations or []):
        for nvcc in sorted(Path(place).glob("cu*/bin/nvcc")):
            return str(nvcc)
    return None


def compile_kernels(nvcc: str, architectures: Sequence[str] = ARCHITECTURES) -> list[Resources]:
    """Compiles every kernel, for the newest also as PTX, with warnings as errors. CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in architectures]
        targets.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
        command = [
            nvcc, "-std=c++20", "-O3", f"-I{ROOT / 'cpp'}", "-Werror=all-warnings", "--threads=2", *targets,
            "-Xptxas=-v,-warn-spills", "-c", str(SOURCE), "-o", f"{folder}/kernels.o",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        names = subprocess.run(
            ["c++filt"], input=done.stderr, capture_output=True, text=True, check=True
        ).stdout
    found = []
    for match, shown in zip(_BLOCK.finditer(done.stderr), _shown(names), strict=True):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        found.append(
            Resources(
                shown, f"sm_{match['arch']}", int(match["registers"]), int(shared[1]) if shared else 0,
                int(match["stack"]), int(match["stores"]) + int(match["loads"]),
            )
        )  # fmt: skip
    return found


def _shown(text: str) -> list[str]:
    names = re.findall(r"Compiling entry function '([^']*)'", text)
    return [
        name.removeprefix("void ").replace("headrace::cuda::", "").split("(")[0].strip() for name in names
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/results")
    options = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print(f"no nvcc on PATH or from pip; {(__doc__ or '').split('pip: ')[-1]}", file=sys.stderr)
        return 2
    rows = compile_kernels(nvcc)
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = (re.search(r"V([\d.]+)", version) or [None, "?"])[1]
    print(f"{'kernel':<32}{'arch':<9}{'registers':>10}{'shared':>9}{'stack':>7}{'spills':>8}")
    for row in rows:
        print(
            f"{row.kernel:<32}{row.architecture:<9}{row.registers:>10}{row.shared_bytes:>9}{row.stack_bytes:>7}"
            f"{row.spilled_bytes:>8}"
        )
    if options.record:
        import harness

        lines = [
            {"benchmark": "cuda_kernels", "unit": "registers", "nvcc": release, **asdict(row)} for row in rows
        ]
        harness.write("cuda_kernels", [{**line, **harness.stamp()} for line in lines])
    return 0


if __name__ == "__main__":
    sys.exit(main())
