"""bf16 and int8: the same weights as fewer bits, in the files and in the engine's matrices.

int8 is dynamic: the engine makes 8-bit rows of the weights when it loads them, and of the activations as they come
(docs/numerics.md). Its files hold float16, whose rounding is 16 times finer than that of 8 bits.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .. import bases

_STORED = {"bf16": "bfloat16", "int8": "float16"}
_LARGEST_HALF = 65504.0


def copy(folder: Path, out: Path, left_out: tuple[str, ...]) -> None:
    """The model's files, weights of other formats and the named ones left out."""
    weights = (".bin", ".onnx", ".h5", ".msgpack", ".ot", ".gguf", ".pt")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in left_out or path.suffix in weights:
            continue
        if path.is_file():
            shutil.copyfile(path, out / path.name)
        elif any(path.glob("config.json")):  # a module of sentence-transformers
            shutil.copytree(path, out / path.name, copy_function=shutil.copyfile)


def store(out: Path, precision: str) -> None:
    """Writes the folder's weights in the numbers that go with the precision; f32 stays as it is."""
    if precision not in _STORED:
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    kind = _STORED[precision]
    for path in sorted(out.rglob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: _narrow(file.get_tensor(name), kind) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, str(path), metadata=metadata)
        path.chmod((out / "config.json").stat().st_mode)
    bases.set_config(out, dtype=kind, torch_dtype=None)


def _narrow(tensor: Any, kind: str) -> Any:
    """bfloat16 where a number is too large for float16, integers as they are."""
    import torch

    if not tensor.is_floating_point():
        return tensor
    if kind == "float16" and tensor.numel() and float(tensor.abs().max()) > _LARGEST_HALF:
        kind = "bfloat16"
    return tensor.to(getattr(torch, kind)).contiguous()
