"""TorchScript files (.pt, .ts) and torch.export programs (.pt2): code, to be trusted first.

They run in a worker process unless headrace.toml says `workers = 0`: what is wrong with one ends that process alone.
Every tensor is checked against headrace.toml, and against what an exported program says of itself, before it runs.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError, InvalidArgumentError, UnsupportedError
from . import compiled, exported
from .function import Function
from .onnx import model_file
from .padding import in_batches
from .program import options_of, signature_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..manifest import Manifest
    from .work import Tensors

SUFFIXES = (".pt2", ".pt", ".ts")
# While the exported program serves, before the model is ready, or not at all.
COMPILE = ("background", "before", "never")
_log = logging.getLogger("headrace.predict")


def read(folder: Path, manifest: Manifest, threads: int) -> Function:
    """The program in a folder as a function of tensors.

    Raises UnsupportedError (not_trusted) unless headrace.toml says that it is trusted, InvalidArgumentError where it
    does not name inputs and outputs.
    """
    from .loading import check_trusted

    check_trusted(folder, manifest, "a torch program, a kind of file that is code")
    path = model_file(folder, manifest, SUFFIXES)
    signature = signature_of(folder, manifest)
    options = options_of(manifest)
    compile_when = manifest.compile or "background"
    if compile_when not in COMPILE or (manifest.compile is not None and path.suffix != ".pt2"):
        raise InvalidArgumentError(
            f"{folder}: compile = {compile_when!r}: must be one of {', '.join(map(repr, COMPILE))}, and "
            "is for torch.export programs (.pt2)"
        )
    arguments = {
        "path": os.fspath(path),
        "inputs": [[spec.name, spec.dtype, list(spec.shape)] for spec in signature.inputs],
        "outputs": [spec.name for spec in signature.outputs],
        "threads": max(1, threads // (options.workers or options.concurrency or 1)),
        "compile_when": compile_when if path.suffix == ".pt2" else "never",
        "tolerance": None if manifest.gate is None else manifest.gate.max_difference,
    }
    return Function(TorchProgram, options, signature, arguments)


class TorchProgram:
    """A program of a file: arrays [n, ...] by name in, which it is given in order; by name out.

    Args:
        inputs: name, dtype and shape of one item for each, as headrace.toml has them.
        threads: that one batch runs on.
        compile_when: one of COMPILE.
        tolerance: how far the compiled program's answers may be from the exported one's, of max(1, value); None: 1e-4,
            or 2e-2 where weights have 16 bits.
    """

    def __init__(
        self,
        path: str,
        inputs: Sequence[Sequence[Any]],
        outputs: list[str],
        threads: int,
        compile_when: str = "never",
        tolerance: float | None = None,
    ) -> None:
        try:
            import torch
        except ImportError:
            raise UnsupportedError(f"{path}: torch is not installed: run: pip install torch") from None
        torch.set_num_threads(threads)
        self._path = path
        self._inputs = [name for name, _, _ in inputs]
        self._outputs = outputs
        self._checks: list[exported.ProgramInput] | None = None
        self._batch: tuple[int, int | None] = (1, None)
        self.compiled = False
        try:
            if path.endswith(".pt2"):
                program = torch.export.load(path)
            else:
                with warnings.catch_warnings():  # torch has other plans for TorchScript
                    warnings.simplefilter("ignore", DeprecationWarning)
                    module = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
                    self._run: Any = torch.jit.freeze(module)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise CorruptFileError(
                f"{path}: torch refuses it: {type(error).__name__}: {lines[0][:300]}"
            ) from None
        if path.endswith(".pt2"):
            self._use(program, inputs)
            self._compile(program, compile_when, threads, tolerance)

    def _use(self, program: Any, inputs: Sequence[Sequence[Any]]) -> None:
        try:
            self._checks = exported.inputs_of(program)
            exported.check_said(self._checks, [(name, dtype, shape) for name, dtype, shape in inputs])
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{self._path}: {error}") from None
        self._batch = exported.batch_of(self._checks)

    def _compile(self, program: Any, when: str, threads: int, tolerance: float | None) -> None:
        """Takes the compiled program that is kept, or has one made; until it is there the exported one runs."""
        path = Path(self._path)
        try:
            folder = None if when == "never" else compiled.cache_folder()
        except UnsupportedError as error:
            _log.warning("%s runs as exported: %s", path, error)
            folder = None
        key = "" if folder is None else compiled.key_of(path, threads)
        kept = None if folder is None else compiled.find(folder, key)
        if kept is not None and self._take(kept):
            return
        self._run = program.module()
        if folder is None or kept is not None:
            return
        work = (path, folder, key, threads, tolerance)
        if when == "before":
            self._make(*work)
        else:
            threading.Thread(target=self._make, args=work, daemon=True, name="headrace-compile").start()

    def _make(self, *work: Any) -> None:
        made = compiled.compile_program(*work)
        if made is not None:
            self._take(made)

    def _take(self, path: Path) -> bool:
        try:
            self._run = compiled.CompiledProgram(path)
        except Exception as error:  # of torch and of the dynamic linker
            _log.warning("%s runs as exported: torch refuses %s: %s", self._path, path, error)
            return False
        self.compiled = True
        _log.info("%s runs compiled, from %s", self._path, path)
        return True

    def __call__(self, **tensors: NDArray[Any]) -> Any:
        given = {name: tensors[name] for name in self._inputs}
        if self._checks is not None:
            exported.check(self._checks, given)
        return in_batches(self._run_batch, given, *self._batch)

    def _run_batch(self, tensors: Tensors) -> Any:
        import numpy as np
        import torch

        # Its memory is its own, contiguous and may be written to, whatever a request's was.
        given = [torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in tensors.values()]
        with torch.inference_mode():
            found = self._run(*given)
        if isinstance(found, Mapping):
            return {name: found[name].numpy() for name in self._outputs if name in found}
        values = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return tuple(value.numpy() for value in values)
