"""From a function, `file.py:name` or a folder whose headrace.toml names a runtime, to a model that an engine serves."""

from __future__ import annotations

import importlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _core
from ..errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError
from ..repository import size_on_disk
from .checksums import check_sums
from .function import Function, as_function
from .runner import Calls
from .target import Target, in_process

if TYPE_CHECKING:
    from ..engine import Engine
    from ..loaded_model import Model
    from ..manifest import Manifest
    from ..residency import ModelPath

_ASYNC_CONCURRENCY = 8
_RUNTIMES = ("onnx", "sklearn", "torch")  # each a module beside this, with `read`


def read_function(source: ModelPath) -> Function:
    """A function itself, or that of `file.py:name`, whose file is run.

    Raises ModelNotFoundError where there is no such file or name, InvalidArgumentError where it is no function.
    """
    from .worker import load_file

    if not isinstance(source, (str, os.PathLike)):
        given = as_function(source)
        if given is None:
            raise InvalidArgumentError(f"{source!r} is no path and no function")
        return given
    file, _, name = os.fspath(source).rpartition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ModelNotFoundError(f"{file}: no such file; a function is named as file.py:name")
    found: Any = load_file(os.fspath(path), f"headrace_model_{re.sub(r'[^A-Za-z0-9]', '_', os.fspath(path))}")
    for part in name.split("."):
        found = getattr(found, part, None)
    function = as_function(found)
    if function is None:
        raise ModelNotFoundError(f"{file}: it has no function or class {name!r}")
    return function


def load_function(engine: Engine, name: str, core_name: str, source: ModelPath) -> Model:
    """Begins to serve a function, itself or that of `file.py:name`."""
    path = source if isinstance(source, (str, os.PathLike)) else ""
    return _served(engine, name, core_name, read_function(source), os.fspath(path))


def _served(
    engine: Engine,
    name: str,
    core_name: str,
    function: Function,
    path: str,
    *,
    runtime: str = "python",
    labels: tuple[str, ...] = (),
) -> Model:
    """In workers where it asks for them, which are started first."""
    targets: list[Target] = []
    options = function.options
    if function.streams and function.signature is not None:
        raise InvalidArgumentError(
            f"{name}: a function that yields takes items: leave out inputs and outputs"
        )
    try:
        if options.workers:
            from .pool import WorkerTarget

            for _ in range(options.workers):
                targets.append(WorkerTarget(function))
        else:
            usual = _ASYNC_CONCURRENCY if function.kind.startswith("async") else 1
            targets = [in_process(function)] * (options.concurrency or usual)
    except BaseException:
        for target in targets:
            target.close()
        raise
    calls = Calls(
        name,
        targets,
        options,
        queue_budget=engine.queue_budget,
        signature=function.signature,
        streams=function.streams,
    )
    return made_model(engine, name, core_name, calls, path=path, architecture=runtime, labels=labels)


def made_model(
    engine: Engine,
    name: str,
    core_name: str,
    calls: Calls,
    *,
    path: str,
    architecture: str,
    labels: tuple[str, ...] = (),
) -> Model:
    from ..loaded_model import Model, ModelInfo

    # What it takes in memory nobody tells; its files are the best guess.
    weight_bytes = size_on_disk(Path(path)) if path and Path(path).exists() else 0
    info = ModelInfo(
        name=name, task="predict", architecture=architecture, path=path, created=int(time.time()),
        dimensions=0, max_tokens=0, vocabulary=0, parameters=0, weight_bytes=weight_bytes,
        precision="", isa=_core.isa(),
        inputs=() if calls.signature is None else calls.signature.inputs,
        outputs=() if calls.signature is None else calls.signature.outputs,
        streams=calls.streams, labels=labels,
    )  # fmt: skip
    return Model(engine, info, core_name=core_name, calls=calls)


def load_directory(engine: Engine, name: str, core_name: str, directory: Path, manifest: Manifest) -> Model:
    """A folder whose headrace.toml names a runtime, or one of ONNX.


    Raises UnsupportedError for a runtime that is not known, and for code that the operator has not said to trust.
    """
    runtime = manifest.runtime or "onnx"
    if runtime == "python":
        function = _python_function(directory, manifest)
    elif runtime in _RUNTIMES:
        check_sums(directory)
        module = importlib.import_module(f".{runtime}", __package__)
        function = module.read(directory, manifest, engine.threads)
    else:
        known = ", ".join(("python", *_RUNTIMES))
        raise UnsupportedError(f"{directory}: runtime {runtime!r}: known are {known}")
    return _served(
        engine, name, core_name, function, os.fspath(directory), runtime=runtime, labels=manifest.labels
    )


def _python_function(directory: Path, manifest: Manifest) -> Function:
    check_trusted(directory, manifest, "Python code")
    file, colon, function_name = (manifest.function or "").partition(":")
    path = (directory / file).resolve()
    if not colon or directory.resolve() not in path.parents:
        raise InvalidArgumentError(
            f"{directory}: function = {manifest.function!r}: must be a file of this folder and a name in it, such as "
            "'model.py:classify'"
        )
    function = read_function(f"{path}:{function_name}")
    if manifest.batch is not None:
        function = Function(function.made_of, manifest.batch, function.signature)
    return function


def check_trusted(directory: Path, manifest: Manifest, what: str) -> None:
    """UnsupportedError unless the operator's manifest says that the folder's code may run."""
    if not manifest.trusted:
        error = UnsupportedError(
            f"{directory}: it holds {what}, which can do anything on this machine; if you know where it is from, say "
            "trusted = true in its headrace.toml"
        )
        error.code = "not_trusted"
        raise error
