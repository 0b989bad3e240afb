"""torch modules, and Keras models on torch: as ONNX, or as a torch.export program.

The first axis of every input is the batch; axes of any size (`?`) are exported so.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    from ..predict.signature import TensorSpec
    from .examples import Arrays

_MAX_ONE_FILE = 1_900_000_000  # bytes of weights; a protocol buffer holds no more than 2 GiB


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell of libraries that are not there and of their own plans."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Without dropout and such, on the processor; what the module's state was comes back."""
    import torch

    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), _quiet():
            yield
    finally:
        module.train(was_training)


def _tensors(arrays: Arrays, least_rows: int = 1) -> tuple[Any, ...]:
    """torch's, with some rows again where there are too few: an axis of one row would be exported as one."""
    import numpy as np
    import torch

    found = []
    for name, array in arrays.items():
        if array.dtype == object:
            raise UnsupportedError(f"{name}: torch has no tensors of texts")
        times = -(-least_rows // len(array))
        found.append(torch.from_numpy(np.ascontiguousarray(np.concatenate([array] * times))))
    return tuple(found)


def _shapes(arrays: Arrays, specs: Mapping[str, TensorSpec]) -> tuple[dict[int, Any], ...]:
    from torch.export import Dim

    return tuple(
        {
            0: Dim.DYNAMIC,
            **{axis: Dim.DYNAMIC for axis, size in enumerate(specs[name].shape, 1) if size is None},
        }
        for name in arrays
    )


def expected(module: Any, arrays: Arrays, names: Sequence[str]) -> Arrays:
    """What the module gives for the examples, by name."""
    with evaluating(module):
        found = module(*_tensors(arrays))
    if isinstance(found, Mapping):
        by_name = {str(name): value for name, value in found.items() if value is not None}
    else:
        values = list(found) if isinstance(found, (tuple, list)) else [found]
        usual = ["output"] if len(values) == 1 else [f"output_{i}" for i in range(len(values))]
        chosen = list(names) or usual
        if len(chosen) != len(values):
            raise InvalidArgumentError(
                f"outputs={list(names)}: the model gives {len(values)} tensors: name each"
            )
        by_name = dict(zip(chosen, values, strict=True))
    rows = len(next(iter(arrays.values())))
    for name, value in by_name.items():
        if not hasattr(value, "detach") or value.ndim == 0 or len(value) != rows:
            raise UnsupportedError(
                f"the output {name!r} is no tensor with a row for each of the {rows} items"
            )
    return {name: value.detach().cpu().numpy() for name, value in by_name.items()}


def to_onnx(
    module: Any, arrays: Arrays, specs: Mapping[str, TensorSpec], names: Sequence[str], path: Path
) -> None:
    """Writes an .onnx file. UnsupportedError where it cannot be exported."""
    import torch

    size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    with evaluating(module):
        try:
            torch.onnx.export(
                module,
                _tensors(arrays, 2),
                path,
                input_names=list(arrays),
                output_names=list(names),
                dynamic_shapes=_for_star(module, _shapes(arrays, specs)),
                dynamo=True,
                verbose=False,
                external_data=size > _MAX_ONE_FILE,
            )
        except Exception as error:
            raise UnsupportedError(f"torch.onnx: {_told(error)}") from error


def to_program(module: Any, arrays: Arrays, specs: Mapping[str, TensorSpec], path: Path) -> None:
    """Writes a torch.export program, a .pt2 file. UnsupportedError where it cannot be exported."""
    import torch

    try:
        torch.export.save(_exported(module, arrays, specs), path)
    except Exception as error:
        raise UnsupportedError(f"torch.export: {_told(error)}") from error


def _exported(module: Any, arrays: Arrays, specs: Mapping[str, TensorSpec]) -> Any:
    import torch

    with evaluating(module):
        shapes = _for_star(module, _shapes(arrays, specs))
        return torch.export.export(module, _tensors(arrays, 2), dynamic_shapes=shapes)


def id_ranges(module: Any, arrays: Arrays, specs: Mapping[str, TensorSpec]) -> dict[str, tuple[int, int]]:
    """The smallest and the largest number of each input that is looked up in tables, such as an embedding's: another
    would end the model's process, or read what is not there.

    Only what the exported graph shows, so a module that cannot be exported, or computes its ids, has none; and only
    what the examples keep to: an input whose columns are looked up in different tables has no one range.
    """
    from ..predict import exported

    if not any(array.dtype.kind in "iu" for array in arrays.values()):
        return {}
    try:
        inputs = exported.inputs_of(_exported(module, arrays, specs))
    except Exception:  # who packages hears of it where nothing else leads to a folder
        return {}
    found = {}
    for own, (name, array) in zip(inputs, arrays.items(), strict=True):
        if own.ids is not None:
            low, high = -own.ids if own.from_end else 0, own.ids - 1
            if low <= array.min() and array.max() <= high:
                found[name] = (low, high)
    return found


def _for_star(module: Any, shapes: tuple[Any, ...]) -> Any:
    """Of `forward(*tensors)` torch wants one tuple within the tuple."""
    return (shapes,) if isinstance(module, keras_module_type()) else shapes


def _told(error: BaseException) -> str:
    """Its last cause, in a line: exporters wrap what went wrong many times."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


_keras_module: Any = None


def keras_module_type() -> Any:
    """A torch module around a Keras model; made once torch is there."""
    global _keras_module
    if _keras_module is None:
        from torch import nn

        class KerasModule(nn.Module):
            def __init__(self, model: Any) -> None:
                super().__init__()
                self.model = model

            def forward(self, *tensors: Any) -> Any:
                return self.model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)

        _keras_module = KerasModule
    return _keras_module


def from_keras(model: Any) -> tuple[Any, list[str]]:
    """A Keras model as a torch module, and its inputs' names. UnsupportedError on another backend than torch."""
    import keras

    if keras.backend.backend() != "torch":
        raise UnsupportedError(
            f"Keras runs on {keras.backend.backend()}: its models are packaged from torch; set KERAS_BACKEND=torch "
            "before keras is imported and load the model again"
        )
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    return keras_module_type()(model), names
