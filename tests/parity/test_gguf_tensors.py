"""Tensors of a GGUF against the format's own package, bit for bit."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

import headrace
from headrace import _core

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Where the f16 scales of a block stand, in bytes: random ones would be infinite now and then.
SCALES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}


def _blocks(kind: str, rows: int, width: int, seed: int) -> np.ndarray:
    """Random rows of that type, as the file holds them: uint8 [rows, bytes]."""
    random = np.random.default_rng(seed)
    if kind not in SCALES:
        numbers = random.normal(size=(rows, width)).astype(np.float32)
        return gguf.quants.quantize(numbers, Type[kind]).view(np.uint8).reshape(rows, -1)
    block, size = gguf.GGML_QUANT_SIZES[Type[kind]]
    data = random.integers(0, 256, (rows, width // block, size), dtype=np.uint8)
    for at in SCALES[kind]:
        scale = random.normal(size=(rows, width // block, 1)).astype(np.float16)
        data[:, :, at : at + 2] = scale.view(np.uint8).reshape(rows, -1, 2)
    return data.reshape(rows, -1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "all.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for i, kind in enumerate(TYPES):
        writer.add_tensor(f"{kind}.weight", _blocks(kind, 5, 512, i), raw_dtype=Type[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_are_those_of_the_format_s_own_package(path: Path, kind: str) -> None:
    ours = _core.GgufFile.open(str(path)).tensor(f"{kind}.weight")
    theirs = gguf.quants.dequantize(_blocks(kind, 5, 512, TYPES.index(kind)), Type[kind])
    assert ours.shape == (5, 512)
    assert np.array_equal(ours.view(np.uint32), theirs.astype(np.float32).view(np.uint32))


def test_a_real_file() -> None:
    from headrace.repository import resolve

    path = resolve("demo:smollm2")
    ours = _core.GgufFile.open(str(path))
    reader = gguf.GGUFReader(path)
    assert sorted(ours.names()) == sorted(tensor.name for tensor in reader.tensors)
    for tensor in reader.tensors[::20]:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours.tensor(tensor.name), expected), tensor.name


def test_an_unknown_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    size = gguf.GGML_QUANT_SIZES[Type.Q2_K][1]
    writer.add_tensor("odd.weight", np.zeros((1, size), np.uint8), raw_dtype=Type.Q2_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(headrace.UnsupportedError, match=r"odd\.weight.*type 10"):
        _core.GgufFile.open(str(path))
