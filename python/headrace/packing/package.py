"""From a trained model to a folder that headrace serves, checked against the framework that it comes from."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error, InvalidArgumentError, UnsupportedError
from ..predict.function import BatchOptions
from ..predict.signature import Signature, TensorSpec
from . import examples, folder

if TYPE_CHECKING:
    from .examples import Arrays

_ALONE = 4  # examples that are also asked one by one: an answer must not depend on its company


@dataclass(frozen=True)
class Packaged:
    """A folder that is served, and how it came to be.

    `max_difference` is the largest difference of an answer from the framework's, of max(1, value); `notes` say which
    ways did not lead there, and why.
    """

    directory: Path
    runtime: str
    max_difference: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Way:
    """One way to convert a model: `write` makes `file` in a folder."""

    runtime: str
    file: str
    write: Callable[[Path], None]
    is_code: bool = False


@dataclass(frozen=True)
class _Source:
    """A model as it was given: its tensors, what it answers to the examples, and the ways that there are."""

    inputs: Arrays
    outputs: Arrays
    ways: tuple[_Way, ...]
    made_with: str
    labels: Sequence[str] = ()
    ranges: Callable[[], Mapping[str, tuple[int, int]]] = dict  # of inputs that are looked up in tables


def package(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    example_inputs: Any,
    inputs: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | Mapping[str, Any] = (),
    runtime: str | None = None,
    name: str | None = None,
    labels: Sequence[str] = (),
    licence: str | None = None,
    description: str | None = None,
    batch: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
) -> Packaged:
    """Makes a folder that `headrace serve` and `Engine.add` take of a trained model, and checks that it answers as the
    framework does: all examples together and some one by one.

    The folder has the model's file, headrace.toml, golden answers that every later load is held to, a model card and
    checksums. A file of data (ONNX) is preferred; where there is no way to one, or its answers differ, the model
    becomes a program of its framework, which headrace.toml then says is trusted: it is yours.

    Args:
        model: a torch.nn.Module, a Keras model (on torch), a scikit-learn estimator or pipeline, or an .onnx file.
        directory: is made; must not be there, or be empty.
        example_inputs: arrays [n, ...] by the inputs' names, one array, or a DataFrame whose columns are inputs; a few
            rows that are like what will come. float64 becomes float32.
        inputs: what the examples cannot tell, by name: "int64[?]" for an axis of any size, or a table of TensorSpec's
            fields (low, high, nan, pad, mask_of). Of a torch module, `low` and `high` of ids that are looked up in
            an embedding are found by themselves.
        outputs: their names, or a mapping of them to what is said of them (cut_to).
        runtime: "onnx", "torch" or "sklearn": that one or none.
        name: in the model card; by default the directory's.
        labels, licence, description: for headrace.toml and the card.
        batch: BatchOptions' fields, such as {"max_batch": 64}.
        tolerance: the largest difference allowed, of max(1, value).

    Raises:
        InvalidArgumentError: unfit examples, a directory that is taken, or answers that differ by more than tolerance.
        UnsupportedError: no way leads from this model to a folder; it says why each did not.

    >>> import tempfile, numpy as np, headrace
    >>> from sklearn.linear_model import LogisticRegression
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = headrace.package(LogisticRegression().fit(x, [0, 1, 0, 1]), f"{folder}/small", example_inputs=x)
    ...     with headrace.load(made.directory) as model:
    ...         made.runtime, model.predict({"x": [3, 0]})["label"].item()
    ('onnx', 1)
    """
    target = Path(directory).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidArgumentError(
            f"{directory}: is there already; give a directory that is not, or is empty"
        )
    if not tolerance > 0:
        raise InvalidArgumentError(f"tolerance={tolerance!r}: must be above 0")
    BatchOptions(**(batch or {}))
    said = inputs or {}
    names = list(outputs)
    source = _read(model, example_inputs, said, names)
    if unknown := [each for each in said if each not in source.inputs]:
        raise InvalidArgumentError(f"inputs: {unknown[0]!r}: the examples have {', '.join(source.inputs)}")
    ways = [way for way in source.ways if runtime in (None, way.runtime)]
    if not ways:
        known = ", ".join(way.runtime for way in source.ways)
        raise InvalidArgumentError(f"runtime={runtime!r}: this model can become {known}")
    output_specs = {
        each: _output_spec(each, array, outputs[each] if isinstance(outputs, Mapping) else None)
        for each, array in source.outputs.items()
    }
    signature = Signature.parse(
        {each: examples.spec_of(each, array, said.get(each)) for each, array in source.inputs.items()},
        output_specs,
    )
    notes: list[str] = []
    for way in ways:
        about = folder.About(
            name=name or target.name, runtime=way.runtime, file=way.file, made_with=source.made_with,
            is_code=way.is_code, labels=labels or source.labels, licence=licence, description=description,
            batch=batch or {}, tolerance=tolerance,
        )  # fmt: skip
        try:
            difference = _build(target, way, about, signature, source, notes)
        except Error as error:
            notes.append(f"not {way.runtime}: {error}")
            continue
        return Packaged(target, way.runtime, difference, tuple(notes))
    raise UnsupportedError(
        f"{target.name}: no way leads to a folder that answers as the model: {'; '.join(notes)}"
    )


def _build(
    target: Path, way: _Way, about: folder.About, signature: Signature, source: _Source, notes: Sequence[str]
) -> float:
    """Makes the folder under another name, checks it, and puts it in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        way.write(made / way.file)
        # Now, because torch exports a module with an LSTM once: what else is found by exporting comes after the file.
        signature = _with_ranges(signature, source)
        folder.write_manifest(made, about, signature)
        folder.write_golden(made, source.inputs, source.outputs)
        folder.finish(made)
        difference = _compare(made, way.runtime, source, signature)
        if not difference <= about.tolerance:
            raise InvalidArgumentError(
                f"its answers differ from the framework's by {difference:.2e} of max(1, value); tolerance is "
                f"{about.tolerance:g}"
            )
        folder.write_card(made, about, signature, difference, notes)
        folder.finish(made)
        made.chmod(0o755)
        if target.exists():
            target.rmdir()
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return difference


def _compare(made: Path, runtime: str, source: _Source, signature: Signature) -> float:
    from ..engine import Engine
    from ..manifest import read_manifest
    from ..predict.loading import load_directory

    # Without the gate, which would refuse without telling how far off each answer is; not compiled for this machine.
    manifest = dataclasses.replace(read_manifest(made), compile="never" if runtime == "torch" else None)
    with Engine() as engine:
        model = load_directory(engine, "package", "package", made, manifest)
        try:
            rows = len(next(iter(source.inputs.values())))
            parts = [slice(0, rows), *(slice(i, i + 1) for i in range(min(rows, _ALONE)))]
            worst = 0.0
            for part in parts:
                work = model._tensor_work({name: array[part] for name, array in source.inputs.items()})
                model._wait_for(model._begin_call(work, None, "normal", "wait", None))
                found = work.tensors()
                worst = max(
                    worst, *(examples.difference(found[n], a[part]) for n, a in source.outputs.items())
                )
            return worst
        finally:
            assert model._calls is not None
            model._calls.close()


def _with_ranges(signature: Signature, source: _Source) -> Signature:
    """With the ranges that the model shows, but for what is said."""
    ranges = source.ranges()
    specs = []
    for spec in signature.inputs:
        low, high = ranges.get(spec.name, (None, None))
        specs.append(
            dataclasses.replace(
                spec,
                low=low if spec.low is None else spec.low,
                high=high if spec.high is None else spec.high,
            )
        )
    return dataclasses.replace(signature, inputs=tuple(specs))


def _output_spec(name: str, array: Any, said: Any) -> TensorSpec:
    spec = examples.spec_of(name, array, said)
    # An entry for each of a padded input: as many as there are.
    if spec.cut_to is not None and spec.shape and spec.shape[0] is not None:
        return TensorSpec(name, spec.dtype, (None, *spec.shape[1:]), cut_to=spec.cut_to)
    return spec


def _read(model: Any, given: Any, said: Mapping[str, Any], names: Sequence[str]) -> _Source:
    if isinstance(model, (str, os.PathLike)):
        return _read_onnx(Path(model).expanduser(), given, names)
    modules = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "keras" in modules:
        from .from_torch import from_keras

        module, known = from_keras(model)
        return _read_torch(module, given, said, names, known, f"keras {_version('keras')}, ")
    if "torch" in modules:
        known = examples.parameter_names(model.forward)
        return _read_torch(model, given, said, names, known)
    if "sklearn" in modules or (hasattr(model, "fit") and hasattr(model, "get_params")):
        return _read_sklearn(model, given, said)
    raise UnsupportedError(
        f"a {type(model).__name__}: known are torch.nn.Module, Keras models, scikit-learn estimators and .onnx files; "
        "a Python function needs no package: see headrace.model"
    )


def _specs(arrays: Arrays, said: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: examples.spec_of(name, array, said.get(name)) for name, array in arrays.items()}


def _read_torch(
    module: Any,
    given: Any,
    said: Mapping[str, Any],
    names: Sequence[str],
    known: Sequence[str],
    made_with: str = "",
) -> _Source:
    from . import from_torch

    arrays = examples.as_arrays(given, known)
    outputs = from_torch.expected(module, arrays, names)
    specs = _specs(arrays, said)

    def onnx(path: Path) -> None:
        from_torch.to_onnx(module, arrays, specs, list(outputs), path)

    def program(path: Path) -> None:
        from_torch.to_program(module, arrays, specs, path)

    ways = (_Way("onnx", "model.onnx", onnx), _Way("torch", "model.pt2", program, is_code=True))
    kind = type(getattr(module, "model", module)).__name__
    made_with = f"{made_with}torch {_version('torch')} ({kind})"
    ranges = cache(lambda: from_torch.id_ranges(module, arrays, specs))
    return _Source(arrays, outputs, ways, made_with, ranges=ranges)


def _read_sklearn(estimator: Any, given: Any, said: Mapping[str, Any]) -> _Source:
    from . import from_sklearn

    arrays = examples.as_arrays(given)
    outputs = from_sklearn.expected(estimator, arrays)
    specs = _specs(arrays, said)
    ways = (
        _Way("onnx", "model.onnx", lambda path: from_sklearn.to_onnx(estimator, specs, outputs, path)),
        _Way("sklearn", "model.skops", lambda path: from_sklearn.to_skops(estimator, path), is_code=True),
    )
    made_with = f"scikit-learn {_version('scikit-learn')} ({type(estimator).__name__})"
    return _Source(arrays, outputs, ways, made_with, from_sklearn.labels_of(estimator))


def _read_onnx(path: Path, given: Any, names: Sequence[str]) -> _Source:
    from ..predict.onnx import OnnxSession
    from ..predict.onnx_file import read_onnx

    found = read_onnx(path, path.parent)
    arrays = examples.as_arrays(given, [port.name for port in found.inputs])
    wanted = list(names) or [port.name for port in found.outputs]
    first = {port.shape[0] if port.shape else None for port in found.inputs}
    outputs = OnnxSession(os.fspath(path), wanted, 1, first.pop() if len(first) == 1 else None)(**arrays)

    def copy(target: Path) -> None:
        shutil.copyfile(path, target)
        for data in found.files:
            (target.parent / data).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / data, target.parent / data)

    made_with = f"onnxruntime {_version('onnxruntime')}, from {path.name}"
    return _Source(arrays, outputs, (_Way("onnx", "model.onnx", copy),), made_with)


def _version(package: str) -> str:
    try:
        return re.sub(r"\+.*", "", importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return ""
