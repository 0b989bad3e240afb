"""ONNX models through onnxruntime (extra `onnx`), without the interpreter's lock while they compute.

A file is checked (onnx_file.py) before onnxruntime sees it; its inputs and outputs are the model's signature, which
headrace.toml may narrow: ranges, axes, padding, the outputs that are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError, InvalidArgumentError, ModelNotFoundError, UnsupportedError
from .function import BatchOptions, Function
from .onnx_file import OnnxFile, Port, read_onnx
from .padding import in_batches
from .signature import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..manifest import Manifest

_MAX_FIXED_BATCH = 65536


def read(place: Path, manifest: Manifest, threads: int) -> Function:
    """The model in a folder, or a lone .onnx file, as a function of tensors.

    Raises CorruptFileError, UnsupportedError, ModelNotFoundError for files that are not to be run; InvalidArgumentError
    where headrace.toml contradicts the file.
    """
    path, folder = (
        (place, place.parent) if place.is_file() else (model_file(place, manifest, (".onnx",)), place)
    )
    found = read_onnx(path, folder)
    signature, fixed = _signature(path, found, manifest)
    options = manifest.batch or BatchOptions()
    runners = options.concurrency or options.workers or 1
    arguments = {
        "path": os.fspath(path),
        "outputs": [spec.name for spec in signature.outputs],
        "threads": max(1, threads // runners),
        "batch": fixed,
    }
    return Function(OnnxSession, options, signature, arguments)


def model_file(folder: Path, manifest: Manifest, suffixes: tuple[str, ...]) -> Path:
    """The file that headrace.toml names, which must lie in the folder, or the only one with such a suffix."""
    if manifest.model is not None:
        path = (folder / manifest.model).resolve()
        if folder.resolve() not in path.parents:
            raise InvalidArgumentError(f"{folder}: model = {manifest.model!r}: must be a file of this folder")
        if path.suffix not in suffixes:
            raise InvalidArgumentError(
                f"{folder}: model = {manifest.model!r}: must be a file of the kind {' or '.join(suffixes)}"
            )
        if not path.is_file():
            raise ModelNotFoundError(f"{folder}: model = {manifest.model!r}: there is no such file")
        return path
    found = sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.is_file())
    if len(found) != 1:
        raise ModelNotFoundError(
            f"{folder}: it has {len(found)} files of the kind {' or '.join(suffixes)}: say model = \"...\" in its "
            "headrace.toml" if found else f"{folder}: it has no file of the kind {' or '.join(suffixes)}"
        )  # fmt: skip
    return found[0]


def _signature(path: Path, found: OnnxFile, manifest: Manifest) -> tuple[Signature, int | None]:
    """And the number of items that the file always wants, where it wants one."""
    by_name = {port.name: port for port in found.outputs}
    wanted = list(manifest.outputs) or list(by_name)
    for kind, given, known in (
        ("inputs", list(manifest.inputs), [port.name for port in found.inputs]),
        ("outputs", wanted, list(by_name)),
    ):
        if unknown := [name for name in given if name not in known]:
            raise InvalidArgumentError(
                f"{path}: headrace.toml names {unknown[0]!r} among the {kind}: the file has {', '.join(known)}"
            )
    if not found.inputs or not wanted:
        raise UnsupportedError(
            f"{path}: it has {len(found.inputs)} inputs and {len(wanted)} outputs: needs both"
        )
    batches: set[int | None] = set()
    inputs = {
        port.name: _spec(path, port, manifest.inputs.get(port.name, {}), batches) for port in found.inputs
    }
    outputs = {name: _spec(path, by_name[name], manifest.outputs.get(name, {}), batches) for name in wanted}
    if len(batches) > 1:
        shown = ", ".join("any size" if size is None else str(size) for size in batches)
        raise UnsupportedError(
            f"{path}: the first axes of its inputs and outputs differ ({shown}): that must be the batch everywhere; "
            "export it with that axis dynamic"
        )
    (fixed,) = batches
    if fixed is not None and fixed > _MAX_FIXED_BATCH:
        raise UnsupportedError(
            f"{path}: it takes {fixed} items; at most {_MAX_FIXED_BATCH} are: export it with a dynamic first axis"
        )
    return Signature.parse(inputs, outputs), fixed


def _spec(path: Path, port: Port, said: Any, batches: set[int | None]) -> TensorSpec:
    if port.dtype is None:
        raise UnsupportedError(
            f"{path}: {port.name!r} is no tensor of numbers or texts (but a list or a map, as of some classifiers): "
            "name the tensors that you want under [outputs] in headrace.toml, or export without maps (skl2onnx: "
            "zipmap=False)"
        )
    given = TensorSpec.parse(port.name, said) if isinstance(said, str) else None
    table: dict[str, Any] = {} if given is not None else dict(said)
    shape = port.shape
    if given is not None:
        table = {"dtype": given.dtype, "shape": given.shape}
    if shape is None and "shape" in table:
        shape = (None, *(None if size in ("?", None, -1) else size for size in table["shape"]))
    if not shape:
        raise UnsupportedError(
            f"{path}: {port.name!r} has no axis for the batch, or the file does not say its shape: give shape for it "
            "in headrace.toml, or export it with a dynamic first axis"
        )
    batches.add(shape[0])
    if table.get("dtype", port.dtype) not in (port.dtype, "bytes" if port.dtype == "str" else port.dtype):
        raise InvalidArgumentError(
            f"{path}: headrace.toml says {table['dtype']} of {port.name!r}; the file says {port.dtype}"
        )
    spec = TensorSpec.parse(port.name, {"dtype": port.dtype, "shape": shape[1:], **table})
    if len(spec.shape) != len(shape) - 1 or any(
        own not in (None, size) for own, size in zip(shape[1:], spec.shape, strict=False)
    ):
        raise InvalidArgumentError(
            f"{path}: headrace.toml says {spec} of {port.name!r}; the file says "
            f"{TensorSpec(port.name, port.dtype, shape[1:])} of each item"
        )
    return spec


class OnnxSession:
    """A session of onnxruntime: arrays [n, ...] by name in, by name out. Any number of threads may call it.

    Args:
        outputs: names of those that are computed.
        threads: that one batch runs on.
        batch: the number of items that the file always wants: batches are split and filled up to it.
    """

    def __init__(self, path: str, outputs: list[str], threads: int, batch: int | None = None) -> None:
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised
        # Threads that spin between batches take a shared machine's processors from everyone else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes have no common base
            raise CorruptFileError(f"{path}: onnxruntime refuses it: {_first_line(error)}") from None
        self._outputs = outputs
        self._batch = batch
        self._texts = {port.name for port in self._session.get_inputs() if port.type == "tensor(string)"}

    def __call__(self, **tensors: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if self._batch is None:
            return self._run(tensors)
        found: dict[str, NDArray[Any]] = in_batches(self._run, tensors, self._batch, self._batch)
        return found

    def _run(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = self._session.run(self._outputs, dict(tensors))
        return dict(zip(self._outputs, found, strict=True))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def import_onnxruntime() -> Any:
    """UnsupportedError where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise UnsupportedError("ONNX models need onnxruntime: run: pip install 'headrace[onnx]'") from None
    return onnxruntime
