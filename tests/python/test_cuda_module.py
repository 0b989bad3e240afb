"""The extension for NVIDIA GPUs: built by nvcc, it loads and serves on the processor where there is no driver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pybind11
import pytest

import headrace
from headrace import devices

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import json, sys
import headrace
with headrace.load("demo:minilm") as model:
    assert "headrace._cuda" not in sys.modules, "loaded unasked"
    on_cpu = model.embed("hello").shape
try:
    headrace.load("demo:minilm", device="cuda").close()
    refusal = ""
except headrace.UnsupportedError as error:
    refusal = str(error)
print(json.dumps([on_cpu, headrace.info()["cuda"], refusal, "torch" in sys.modules]))
"""


@pytest.fixture
def nvcc(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cuda_kernels

    found = cuda_kernels.find_nvcc()
    if found is None:
        pytest.skip("there is no nvcc: see the head of benchmarks/cuda_kernels.py for how pip installs one")
    return str(found)


def test_a_cuda_build_serves_on_the_processor(nvcc: str, tmp_path: Path) -> None:
    # As PTX alone, unoptimised: what the kernels are worth, other tests say.
    build, package = tmp_path / "build", tmp_path / "site" / "headrace"
    options = {
        "HEADRACE_CUDA": "ON",
        "HEADRACE_WERROR": "ON",
        "HEADRACE_ISAS": "",
        "HEADRACE_CUDA_ARCHITECTURES": "80-virtual",
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_CUDA_COMPILER": nvcc,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or "cmake"
    given = [f"-D{name}={value}" for name, value in options.items()]
    subprocess.run([cmake, "-S", ROOT, "-B", build, "-G", "Ninja", *given], check=True, capture_output=True)
    done = subprocess.run([cmake, "--build", build, "--target", "_cuda"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(Path(headrace.__file__).parent, package, ignore=shutil.ignore_patterns("_cuda*"))
    module = next(build.glob("_cuda*" + str(sysconfig.get_config_var("EXT_SUFFIX"))))
    shutil.copy(module, package)
    needed = subprocess.run(["readelf", "-d", module], check=True, capture_output=True, text=True).stdout
    assert "cuda" not in needed.replace("_cuda", ""), "the runtime is to be linked statically"

    environment = {**os.environ, "PYTHONPATH": str(package.parent), "CUDA_VISIBLE_DEVICES": ""}
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=environment)
    assert probe.returncode == 0, probe.stderr
    import json

    shape, shown, refusal, has_torch = json.loads(probe.stdout)
    assert shape == [1, 384]
    assert shown.startswith("unavailable: ")
    why = shown.removeprefix("unavailable: ")
    assert "NVIDIA" in why
    assert refusal == f"device='cuda': {why}; device='cpu' runs on the processor"
    assert not has_torch


def test_without_the_module_it_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_module", lambda: None)
    with pytest.raises(headrace.UnsupportedError, match="HEADRACE_CUDA=ON"):
        headrace.load("demo:minilm", device="cuda")
    with pytest.raises(headrace.UnsupportedError, match=r"device='cuda:1'.*device='cpu'"):
        headrace.Engine(device="cuda:1")
    assert headrace.info()["cuda"].startswith("unavailable: ")


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "CUDA", "cpu:0"])
def test_other_names_are_refused(device: str) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match="must be 'auto', 'cpu', 'cuda' or 'cuda:N'"):
        headrace.load("demo:minilm", device=device)


def test_serve_says_why_a_gpu_cannot_be_used() -> None:
    if devices.cuda().startswith("NVIDIA"):
        pytest.skip("there is a GPU")
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "serve",
        "demo:minilm",
        "--device",
        "cuda",
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "device='cuda'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_factory_is_checked() -> None:
    from headrace import _core

    assert importlib.util.find_spec("headrace._core") is not None
    wrong: Any = object()
    with pytest.raises(TypeError):
        _core.register_devices(wrong)
