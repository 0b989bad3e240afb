"""The core's safetensors reader against the reference package: same header, same verdict on damaged files."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from headrace import _core
from headrace.errors import CorruptFileError, ModelNotFoundError

# Files the reference accepts and headrace refuses, each with the words of its refusal:
STRICTER = [
    # A repeated name or field: the reference keeps the last one, other readers the first.
    re.compile(r"appears twice"),
    # A tensor written as ["F32", [1], [0, 4]]: an accident of the reference's JSON library.
    re.compile(r"is an array; expected an object"),
    # More than eight dimensions, a name longer than 1 KiB: no model has them, so they are damage or malice.
    re.compile(r"has \d+ dimensions; at most"),
    re.compile(r"name has \d+ bytes; at most"),
    # Sizes from 2^63 on, which only a tensor without elements can have.
    re.compile(r"holds a number; expected an integer"),
]


def sample_file(folder: Path, seed: int) -> bytes:
    random_state = np.random.default_rng(seed)
    dtypes = [np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_, np.float64]
    tensors = {}
    for index in range(int(random_state.integers(0, 6))):
        shape = tuple(int(n) for n in random_state.integers(0, 4, size=int(random_state.integers(0, 4))))
        dtype = dtypes[int(random_state.integers(len(dtypes)))]
        tensors[f"layer.{index}.weight"] = np.ones(shape, dtype=dtype)
    metadata = {"format": "pt", "note": "\u00fc\n"} if seed % 2 else None
    path = folder / "sample.safetensors"
    safetensors.numpy.save_file(tensors, str(path), metadata=metadata)
    return path.read_bytes()


def join(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def split(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:8], "little")
    return content[8 : 8 + length], content[8 + length :]


def reference_verdict(content: bytes) -> str:
    try:
        safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        return str(error)
    return ""


def our_verdict(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    try:
        _core.read_safetensors_header(str(path))
    except CorruptFileError as error:
        return str(error)
    return ""


def compare(path: Path, content: bytes) -> str:
    """The verdict: "accepted", "refused" or "stricter"; fails when laxer, or stricter unlisted."""
    reference = reference_verdict(content)
    ours = our_verdict(path, content)
    if not ours:
        assert not reference, f"headrace accepts what the reference refuses ({reference}): {content[:400]!r}"
        return "accepted"
    if reference:
        return "refused"
    assert any(reason.search(ours) for reason in STRICTER), f"stricter, unlisted: {ours}: {content[:400]!r}"
    return "stricter"


FIELD_VALUES = [
    *(None, True, -1, 0, 1, 2, 3, 4, 8, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.0, 1e300),
    *("", "F32", "F16", "BF16", "F4", "F6_E2M3", "f32", "F33", "I64", "C64"),
    *(
        [],
        [0],
        [1],
        [4],
        [0, 4],
        [4, 0],
        [0, 0],
        [-1, 0],
        [2**33, 2**33],
        [2**62, 4],
        [2**33, 2**33, 0],
        [0.0, 4],
    ),
    *([1] * 9, ["1"], [[1]], {}, {"a": "b"}, {"a": 1}),
]


def field_mutation(content: bytes, rng: random.Random) -> bytes:
    """One member of the header replaced, removed, added, repeated or renamed."""
    header, data = split(content)
    tree = json.loads(header)
    names = [name for name in tree if name != "__metadata__"]
    action = rng.choice(
        ["replace", "replace", "replace", "remove", "add", "rename", "metadata", "entry", "repeat"]
    )
    value = rng.choice(FIELD_VALUES)
    if action == "metadata" or not names:
        tree["__metadata__"] = value
    elif action == "entry":
        tree[rng.choice(names)] = value
    else:
        name = rng.choice(names)
        entry = tree[name]
        field = rng.choice(["dtype", "shape", "data_offsets"])
        if action == "replace":
            entry[field] = value
        elif action == "remove":
            del entry[field]
        elif action == "add":
            entry["extra"] = value
        elif action == "rename":
            tree[rng.choice([*names, "", "x" * 1024, "x" * 1025, "__metadata__"])] = tree.pop(name)
        else:
            text = json.dumps(tree)
            inner = json.dumps(entry)
            repeated = inner[:-1] + f", {json.dumps(field)}: {json.dumps(entry[field])}}}"
            return join(text.replace(inner, repeated, 1).encode(), data)
    return join(json.dumps(tree).encode(), data)


def byte_mutation(content: bytes, rng: random.Random) -> bytes:
    """One byte changed, removed or added; most often in the header, where it matters."""
    length = int.from_bytes(content[:8], "little")
    at = rng.randrange(8) if rng.random() < 0.1 else rng.randrange(8, 8 + length + 1)
    at = min(at, len(content) - 1)
    byte = bytes([rng.choice(b'0123456789-+.eE"[]{}:, \\nu') if rng.random() < 0.7 else rng.randrange(256)])
    action = rng.choice(["change", "change", "remove", "add"])
    header, data = split(content)
    if action == "change" or at < 8:
        return content[:at] + byte + content[at + 1 :]
    changed = header[: at - 8] + (byte if action == "add" else b"") + header[at - 8 + (action == "remove") :]
    return join(changed, data)


@pytest.mark.parametrize("seed", range(40))
def test_header_equals_the_reference(tmp_path: Path, seed: int) -> None:
    content = sample_file(tmp_path, seed)
    ours = _core.read_safetensors_header(str(tmp_path / "sample.safetensors"))
    theirs = dict(safetensors.deserialize(content))
    assert set(ours) == set(theirs)
    _, data = split(content)
    for name, (dtype, shape, begin, end) in ours.items():
        assert dtype == theirs[name]["dtype"]
        assert shape == theirs[name]["shape"]
        assert data[begin:end] == bytes(theirs[name]["data"])


@pytest.mark.parametrize("mutation", [field_mutation, byte_mutation])
def test_damaged_files_get_the_verdict_of_the_reference(tmp_path: Path, mutation) -> None:
    rng = random.Random(7)
    samples = [sample_file(tmp_path, seed) for seed in range(50)]
    verdicts = {"accepted": 0, "refused": 0, "stricter": 0}
    for number in range(1000):
        content = mutation(samples[number % len(samples)], rng)
        verdicts[compare(tmp_path / "damaged.safetensors", content)] += 1
    # The comparison means something only while both verdicts occur often.
    assert verdicts["accepted"] > 50, verdicts
    assert verdicts["refused"] > 300, verdicts


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b" {}",
        b"{}\n\t ",
        b"{}\0",
        b"[]",
        b"null",
        b'{"__metadata__":null}',
        b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,-0]}}',
        b'{"a":{"dtype":"F32","shape":[0e0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F32","shape":[00],"data_offsets":[0,0]}}',
        b'{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        b'{"\xff":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        b'{"a":["F32",[0],[0,0]]}',
        b'{"a":{"dtype":"U8","shape":[18446744073709551615,0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"U8","shape":[9223372036854775807,0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}',
    ],
)
def test_odd_headers_get_the_verdict_of_the_reference(tmp_path: Path, header: bytes) -> None:
    compare(tmp_path / "odd.safetensors", join(header, b""))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none\.safetensors"):
        _core.read_safetensors_header(str(tmp_path / "none.safetensors"))
