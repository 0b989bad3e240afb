"""torch.export programs compiled by AOTInductor for this machine, and kept for the next start.

A compiled program is machine code. It is read only from a folder that no other user can write to, and only if its bytes
are those that were written. Compiling is a process of its own, at low priority, so that serving goes on beside it:
`python -m headrace.predict.compiled PROGRAM FOLDER KEY THREADS TOLERANCE`.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from .checksums import digest

_log = logging.getLogger("headrace.predict")
_OPTIONS = {
    "freezing": True,  # weights are packed for the processor
    "aot_inductor.check_lowerbound": False,  # torch's own lower end of a dynamic axis is 2: a batch may be 1
}
_HALF_TOLERANCE = 2e-2  # of programs with weights of 16 bits
_REFUSED = 3  # exit code: what is wrong is the program, and stays so


def cache_folder(kind: str = "compiled") -> Path:
    """Where compiled programs, or other files of a `kind`, are kept: below HEADRACE_CACHE, else below headrace in the
    user's cache folder. It is made.

    Raises UnsupportedError where another user owns it or can write to it: what lies there is run.
    """
    given = os.environ.get("HEADRACE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(given or f"{base}/headrace").expanduser().resolve() / kind
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnsupportedError(f"{folder}: it cannot be made: {error.strerror}; set HEADRACE_CACHE") from None
    for place in (folder, folder.parent):
        found = place.stat()
        if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o022:
            raise UnsupportedError(
                f"{place}: another user can write to it, and what lies there is used: chown and chmod 700 it, or set "
                "HEADRACE_CACHE to a folder of your own"
            )
    return folder


def key_of(program: Path, threads: int) -> str:
    """Names what a compiled program depends on: the file's bytes, the processor, torch, the number of threads."""
    import torch

    parts = [digest(program), _processor(), torch.__version__, str(threads), repr(sorted(_OPTIONS.items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    """What it is and can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in reversed(lines)}
    names = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")
    return " ".join([platform.machine(), *(said.get(name, "") for name in names)])


def find(folder: Path, key: str) -> Path | None:
    """A kept program. One whose bytes have changed since it was written is deleted."""
    for path in sorted(folder.glob(f"{key}-*.pt2")):
        if path.stem.partition("-")[2] == digest(path):
            return path
        _log.warning("%s: its bytes are not those that were written: deleted, compiled again", path)
        path.unlink(missing_ok=True)
    return None


class CompiledProgram:
    """A compiled program: tensors in the program's order in, what the program gives out."""

    def __init__(self, path: Path) -> None:
        # Read when code of any compiled program first runs: dtypes, strides and sizes are then exceptions.
        os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
        import torch
        from torch.utils import _pytree

        self._loader = torch._inductor.aoti_load_package(os.fspath(path)).loader
        # torch's own __call__ reads this from JSON in every call.
        self._outputs = _pytree.treespec_loads(self._loader.get_call_spec()[1])

    def __call__(self, *tensors: Any) -> Any:
        from torch.utils import _pytree

        return _pytree.tree_unflatten(self._loader.boxed_run(list(tensors)), self._outputs)


def compiler() -> str | None:
    """The C++ compiler that torch will take; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def compile_program(
    program: Path, folder: Path, key: str, threads: int, tolerance: float | None
) -> Path | None:
    """The program, compiled by another process; None, with a line in the log, where that does not work."""
    refused = folder / f"{key}.refused"
    if refused.exists():
        _log.warning("%s runs as exported: %s (delete %s to try again)", program,
                     refused.read_text(encoding="utf-8"), refused)  # fmt: skip
        return None
    if compiler() is None:
        _log.warning(
            "%s runs as exported: there is no C++ compiler to compile it with; install g++ or set CXX",
            program,
        )
        return None
    command = [sys.executable, "-m", "headrace.predict.compiled", os.fspath(program), os.fspath(folder), key,
               str(threads), "" if tolerance is None else repr(tolerance)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    found = find(folder, key) if done.returncode == 0 else None
    if found is None:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        _log.warning("%s runs as exported: it could not be compiled: %s", program, reason)
    return found


def _make(program: Path, folder: Path, key: str, tolerance: float | None) -> None:
    """Compiles and compares, and only then gives the file its name."""
    import torch

    making = folder / f"{key}.making"
    with open(folder / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several workers one compiles
        if find(folder, key) is not None:
            return
        shutil.rmtree(making, ignore_errors=True)  # of one that was killed
        making.mkdir(mode=0o700)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.fspath(
            making / "inductor"
        )  # not in /tmp, under a known name
        try:
            exported = torch.export.load(program)
            path = making / "program.pt2"
            try:
                torch._inductor.aoti_compile_and_package(
                    exported, package_path=os.fspath(path), inductor_configs=_OPTIONS
                )
                difference = _difference(exported, path)
            except OSError:
                raise
            except Exception as error:
                lines = str(error).strip().splitlines() or [""]
                raise _RefusedError(f"{type(error).__name__}: {lines[0][:200]}") from error
            if tolerance is None:
                is_half = any(
                    value.itemsize < 4 and value.is_floating_point() for value in exported.state_dict.values()
                )
                tolerance = _HALF_TOLERANCE if is_half else 1e-4
            if not difference <= tolerance:
                raise _RefusedError(f"compiled, its answers differ by {difference:.1e} of max(1, value)")
            path.rename(folder / f"{key}-{digest(path)}.pt2")
        except _RefusedError as error:
            (folder / f"{key}.refused").write_text(str(error), encoding="utf-8")
            raise
        finally:
            shutil.rmtree(making, ignore_errors=True)


class _RefusedError(Exception):
    """Another try would end alike."""


def _difference(exported: Any, path: Path) -> float:
    """From the exported program's answers to its own examples, of max(1, value); 0 where it has none."""
    import torch
    from torch.utils import _pytree

    if exported.example_inputs is None:
        return 0.0
    arguments, named = exported.example_inputs
    if named:
        raise _RefusedError("it takes named inputs: export it with positional ones")
    worst = 0.0
    with torch.inference_mode():
        expected = _pytree.tree_leaves(exported.module()(*arguments))
        found = _pytree.tree_leaves(CompiledProgram(path)(*arguments))
        for one, other in zip(found, expected, strict=True):
            apart = (one.double() - other.double()).abs() / other.double().abs().clamp(min=1)
            worst = max(worst, apart.nan_to_num(nan=float("inf")).max().item() if apart.numel() else 0.0)
    return worst


def main() -> None:
    from .worker import end_with_parent

    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    os.nice(10)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    import torch

    program, folder, key, threads, tolerance = sys.argv[1:6]
    torch.set_num_threads(int(threads))
    try:
        _make(Path(program), Path(folder), key, float(tolerance) if tolerance else None)
    except _RefusedError as error:
        print(error, file=sys.stderr)
        sys.exit(_REFUSED)


if __name__ == "__main__":
    main()
