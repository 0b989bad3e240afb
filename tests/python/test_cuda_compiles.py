"""nvcc compiles every kernel for every architecture, without a warning, a spill or a register in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cuda_kernels

    return cuda_kernels


def test_every_kernel_compiles(cuda: Any) -> None:
    nvcc = cuda.find_nvcc()
    if nvcc is None:
        pytest.skip("there is no nvcc: see the head of benchmarks/cuda_kernels.py for how pip installs one")
    rows = cuda.compile_kernels(nvcc)
    names = {row.kernel for row in rows}
    # Every kernel of every header, by the name that it has there.
    headers = (ROOT / "cpp" / "kernels" / "cuda").glob("*.h")
    written = {
        line.split("HEADRACE_KERNEL ")[1].split("(")[0]
        for header in headers
        for line in header.read_text().splitlines()
        if line.startswith("HEADRACE_KERNEL ")
    }
    assert {name.split("<")[0] for name in names} == written
    assert {row.architecture for row in rows} == {f"sm_{arch}" for arch in cuda.ARCHITECTURES}
    assert len(rows) == len(names) * len(cuda.ARCHITECTURES)
    assert [row for row in rows if row.stack_bytes or row.spilled_bytes] == []
    assert max(row.shared_bytes for row in rows) <= 48 << 10  # what needs no asking for
    assert max(row.registers for row in rows) <= 255
