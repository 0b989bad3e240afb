"""The emulator of CUDA blocks (tests/cuda) finds planted faults, and finds nothing in the kernels as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "cpp" / "kernels" / "cuda"
EMULATOR = ROOT / "tests" / "cuda"
CXX = os.environ.get("CXX", "g++")

# What is planted: file, what stands there, what instead, and what is to be said of it.
MUTANTS = {
    "barrier before a stage is overwritten": (
        "gemm.h",
        "      }\n    }\n    block_barrier();\n  }\n  copy_wait<0>();",
        "      }\n    }\n  }\n  copy_wait<0>();",
        "values",
    ),
    "barrier after a stage is filled": (
        "gemm.h",
        "    copy_wait<1>();\n    block_barrier();\n    const char* xt",
        "    copy_wait<1>();\n    const char* xt",
        "values",
    ),
    "barrier of a sum": (
        "device.h",
        "  if (lane_index() == 0) scratch[warp_index()] = value;\n  block_barrier();\n  T sum = 0;",
        "  if (lane_index() == 0) scratch[warp_index()] = value;\n  T sum = 0;",
        "values",
    ),
    "barrier before a sum's place is used again": (
        "device.h",
        "  value = warp_sum(value);\n  block_barrier();\n",
        "  value = warp_sum(value);\n",
        "values",
    ),
    "wrong mask": (
        "device.h",
        "value += shuffle(kAllLanes,",
        "value += shuffle(0x0000ffffu,",
        "a lane that is not in the mask takes part",
    ),
    "return before a barrier": (
        "rows.h",
        "  const float mean = block_sum(sum, scratch)",
        "  if (thread_index() >= 64) return;\n  const float mean = block_sum(sum, scratch)",
        "deadlock",
    ),
    "tail off by one": ("gemm.h", "if (row < m && column < n) put(", "if (row < m && column + 1 < n) put(", "values"),
    "shared memory overflows": (
        "device.h",
        "  if (lane_index() == 0) scratch[warp_index()] = value;\n  block_barrier();\n  T sum = 0;",
        "  scratch[32 + warp_index()] = value;\n"
        "  if (lane_index() == 0) scratch[warp_index()] = value;\n  block_barrier();\n  T sum = 0;",
        "a write beyond the end of shared memory",
    ),
    "copy waited for too late": ("gemm.h", "copy_wait<1>();", "copy_wait<2>();", "values"),
    "copies nobody waits for": ("gemm.h", "  copy_wait<0>();\n}", "}", "copies that nobody waited for"),
    "swapped fragments": (
        "gemm.h",
        "mma(sums[half][2 * pair], a[half], b[0], b[1]);",
        "mma(sums[half][2 * pair], a[half], b[1], b[0]);",
        "values",
    ),
    "values not transposed": ("attention.h", "load_matrices_transposed(v,", "load_matrices(v,", "values"),
    "keys overwritten while they are read": (
        "attention.h",
        "    block_barrier();  // what the last round reads is read\n    copy_head<kHeadDim>(ks,",
        "    copy_head<kHeadDim>(ks,",
        "values",
    ),
}  # fmt: skip


SOURCES = ("simt.cc", "simt_exchange.cc")
DEFINES = '-DHEADRACE_EMULATOR="simt.h"'


def compiled(folder: Path, *flags: str) -> list[Path]:
    """The emulator."""
    objects = []
    for source in SOURCES:
        objects.append(folder / f"{source}.o")
        command = [CXX, "-std=c++20", "-O2", DEFINES, *flags, "-c", EMULATOR / source, "-o", objects[-1]]
        subprocess.run(command, check=True)
    return objects


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return compiled(tmp_path_factory.mktemp("simt"))


@pytest.fixture(scope="module")
def emulator_of_races(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return compiled(tmp_path_factory.mktemp("simt_races"), "-DHEADRACE_TSAN_FIBRES")


def build(folder: Path, emulator: list[Path], *flags: str) -> Path:
    """The probe with the kernels in `folder`."""
    includes = [f"-I{folder}", f"-I{EMULATOR}", f"-I{ROOT / 'cpp'}"]
    program = folder / "probe"
    command = [CXX, "-std=c++20", "-O1", DEFINES, *flags, *includes, EMULATOR / "probe.cc", *emulator]
    subprocess.run([*command, "-o", program], check=True)
    return program


def probe(folder: Path, emulator: list[Path]) -> tuple[int, str]:
    """Compiles the probe and runs it."""
    program = build(folder, emulator)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout


# Of these every schedule may give the right numbers; the sanitizer needs one run under any.
RACES = (
    "barrier before a stage is overwritten",
    "barrier after a stage is filled",
    "barrier of a sum",
    "barrier before a sum's place is used again",
    "keys overwritten while they are read",
)


def raced(folder: Path, emulator: list[Path]) -> tuple[int, str]:
    """As probe(), under ThreadSanitizer: the kernels are compiled for it, the emulator between them is not, and says
    what happens before what by barriers and exchanges alone."""
    program = build(folder, emulator, "-fsanitize=thread")
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1:exitcode=66"}
    done = subprocess.run([program, "one"], capture_output=True, text=True, timeout=300, env=environment)
    return done.returncode, done.stdout + done.stderr


def copied(folder: Path) -> Path:
    shutil.copytree(KERNELS, folder / "kernels" / "cuda")
    return folder


def test_the_kernels_are_sound(tmp_path: Path, emulator: list[Path]) -> None:
    assert probe(copied(tmp_path), emulator) == (0, "ok\n")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_fault_is_found(tmp_path: Path, emulator: list[Path], mutant: str) -> None:
    name, old, new, says = MUTANTS[mutant]
    file = copied(tmp_path) / "kernels" / "cuda" / name
    text = file.read_text()
    assert text.count(old) >= 1, "the kernel has changed: plant the fault anew"
    file.write_text(text.replace(old, new, 1))
    code, said = probe(tmp_path, emulator)
    assert code == 1, said
    assert says in said


def test_the_kernels_have_no_races(tmp_path: Path, emulator_of_races: list[Path]) -> None:
    assert raced(copied(tmp_path), emulator_of_races) == (0, "ok\n")


@pytest.mark.parametrize("mutant", RACES)
def test_a_race_is_reported(tmp_path: Path, emulator_of_races: list[Path], mutant: str) -> None:
    name, old, new, _ = MUTANTS[mutant]
    file = copied(tmp_path) / "kernels" / "cuda" / name
    file.write_text(file.read_text().replace(old, new, 1))
    code, said = raced(tmp_path, emulator_of_races)
    assert code == 66, said
    assert "data race" in said
