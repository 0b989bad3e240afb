"""The format of sealed models: as Tink has it, and no byte of it can be changed, moved or left out unnoticed."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import headrace
import headrace.toy
from headrace.security import seal_manifest, segments
from headrace.security.seal_keys import LocalKey, new_key
from headrace.security.sealing import is_sealed, open_model, seal, unseal, verify, write_checksums

FIRST = (
    segments.SEGMENT_BYTES - segments.HEADER_BYTES - 16
)  # plaintext bytes of a first segment, and of others
OTHER = segments.SEGMENT_BYTES - 16
SIZES = [0, 1, 1000, FIRST - 1, FIRST, FIRST + 1, FIRST + OTHER, FIRST + OTHER + 1, FIRST + 2 * OTHER + 77]
KEY = bytes(range(32))


@pytest.fixture
def key(tmp_path: Path) -> LocalKey:
    return new_key(tmp_path / "seal.key")


@pytest.fixture
def sealed(tmp_path: Path, key: LocalKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed toy with a file of three segments beside its own; the environment has its key."""
    model = headrace.toy.model("embed", tmp_path / "toy")
    (model / "notes.bin").write_bytes(random.Random(0).randbytes(2 * segments.SEGMENT_BYTES + 5))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    seal(model, tmp_path / "sealed", key)
    monkeypatch.setenv("HEADRACE_SEAL_KEY_FILE", str(tmp_path / "seal.key"))
    return tmp_path / "sealed"


def tink_primitive(key: bytes) -> object:
    """Tink's own streaming AEAD with that key."""
    from tink import json_proto_keyset_format, secret_key_access, streaming_aead

    streaming_aead.register()
    # AesGcmHkdfStreamingKey: params {segments of 2^20, derived keys of 32 bytes, SHA-256}, key
    value = bytes.fromhex("120808808040102018031a20") + key
    data = {
        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        "value": base64.b64encode(value).decode(),
        "keyMaterialType": "SYMMETRIC",
    }
    one = {"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}
    keyset = json.dumps({"primaryKeyId": 1, "key": [one]})
    handle = json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


@pytest.mark.parametrize("size", SIZES)
def test_tink_reads_ours_and_we_read_tink_s(size: int, tmp_path: Path) -> None:
    tink = tink_primitive(KEY)
    contents = random.Random(size).randbytes(size)
    plain, ours, theirs = (tmp_path / name for name in ("plain", "ours", "theirs"))
    plain.write_bytes(contents)
    with open(plain, "rb") as file, open(ours, "wb") as out:
        for part in segments.seal_file(file, size, KEY, b"about"):
            out.write(part)
    assert ours.stat().st_size == segments.sealed_size_of(size)
    assert segments.plain_size_of(ours.stat().st_size) == size
    with open(ours, "rb") as file, tink.new_decrypting_stream(file, b"about") as stream:
        assert stream.read() == contents
    with open(theirs, "wb") as out, tink.new_encrypting_stream(out, b"about") as stream:
        stream.write(contents)
    assert theirs.stat().st_size == ours.stat().st_size
    opened = segments.SealedFile(theirs, size, KEY, b"about")
    assert b"".join(map(bytes, opened.stream())) == contents
    opened.close()


def test_only_sizes_of_sealed_files_are_taken_for_such() -> None:
    for size in range(200):
        assert segments.plain_size_of(segments.sealed_size_of(size)) == size
    assert segments.plain_size_of(segments.HEADER_BYTES + 15) is None
    assert segments.plain_size_of(segments.SEGMENT_BYTES + 16) is None


def test_round_trip(sealed: Path, key: LocalKey, tmp_path: Path) -> None:
    model = tmp_path / "toy"
    unseal(sealed, tmp_path / "back", key)
    names = sorted(path.relative_to(model) for path in model.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(tmp_path / "back") for path in (tmp_path / "back").rglob("*") if path.is_file()
    )
    for name in names:
        assert (model / name).read_bytes() == (tmp_path / "back" / name).read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o700
    assert verify(sealed, key) == verify(sealed) == []


def test_what_is_sealed_twice_differs_everywhere(sealed: Path, key: LocalKey, tmp_path: Path) -> None:
    seal(tmp_path / "toy", tmp_path / "again", key)
    for path in sealed.glob("*.sealed"):
        assert path.read_bytes() != (tmp_path / "again" / path.name).read_bytes()


def test_nothing_readable_is_in_a_sealed_folder(sealed: Path) -> None:
    for path in sealed.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"hidden_size" not in data
            assert b"paris" not in data
            assert b"data_offsets" not in data


def test_a_thousand_flipped_bits_are_told_before_a_model_is_there(sealed: Path) -> None:
    chance = random.Random(2026)
    paths = sorted(path for path in sealed.rglob("*") if path.is_file())
    assert len(paths) == 7
    with headrace.Engine(threads=1) as engine:
        for i in range(1000):
            path = paths[i % len(paths)]
            bit = chance.randrange(path.stat().st_size * 8)
            flip(path, bit)
            with pytest.raises(headrace.Error):
                engine.add("toy", sealed)
            flip(path, bit)
        assert engine.models() == []
        assert engine.add("toy", sealed).embed("the mill").shape == (1, 32)


def flip(path: Path, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _cut(sealed: Path) -> None:
    path = sealed / "notes.bin.sealed"
    path.write_bytes(path.read_bytes()[: 2 * segments.SEGMENT_BYTES])


def _append(sealed: Path) -> None:
    with open(sealed / "notes.bin.sealed", "ab") as file:
        file.write(b"\0")


def _swap_segments(sealed: Path) -> None:
    path = sealed / "notes.bin.sealed"
    data, size = path.read_bytes(), segments.SEGMENT_BYTES
    swapped = data[:HEADER] + data[size : 2 * size - HEADER] + data[HEADER:size] + data[2 * size - HEADER :]
    assert len(swapped) == len(data)
    path.write_bytes(swapped)


HEADER = segments.HEADER_BYTES


def _repeat_a_segment(sealed: Path) -> None:
    path = sealed / "notes.bin.sealed"
    with open(path, "r+b") as file:
        file.seek(segments.SEGMENT_BYTES)
        data = file.read(50)
        file.seek(segments.SEGMENT_BYTES + 100)
        file.write(data)


def _swap_files(sealed: Path) -> None:
    a, b = sealed / "tokenizer_config.json.sealed", sealed / "1_Pooling" / "config.json.sealed"
    a_data, b_data = a.read_bytes(), b.read_bytes()
    a.write_bytes(b_data)
    b.write_bytes(a_data)


def _missing(sealed: Path) -> None:
    (sealed / "notes.bin.sealed").unlink()


def _missing_manifest(sealed: Path) -> None:
    (sealed / "sealed.json").unlink()


def _other_version(sealed: Path) -> None:
    path = sealed / "sealed.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))


def _file_left_out(sealed: Path) -> None:
    value = json.loads((sealed / "sealed.json").read_text())
    value["files"].pop()
    (sealed / "sealed.json").write_text(json.dumps(value, indent=1) + "\n")


def _pipe(sealed: Path) -> None:
    (sealed / "notes.bin.sealed").unlink()
    os.mkfifo(sealed / "notes.bin.sealed")


def _outside(sealed: Path) -> None:
    value = json.loads((sealed / "sealed.json").read_text())
    value["files"][0]["name"] = "../config.json"
    (sealed / "sealed.json").write_text(json.dumps(value, indent=1) + "\n")


DAMAGES: list[tuple[Callable[[Path], None], type[headrace.Error], str]] = [
    (_cut, headrace.CorruptFileError, "notes.bin.sealed: truncated: 2097152 bytes; the manifest has"),
    (_append, headrace.CorruptFileError, "bytes; the manifest has it with"),
    (_swap_segments, headrace.CorruptFileError, "segment 1 of 3 is damaged, or it was moved"),
    (_repeat_a_segment, headrace.CorruptFileError, "segment 2 of 3 is damaged"),
    (_swap_files, headrace.CorruptFileError, "config.json.sealed"),
    (_missing, headrace.ModelNotFoundError, "notes.bin.sealed: no such file"),
    (_missing_manifest, headrace.ModelNotFoundError, "sealed.json is missing"),
    (_other_version, headrace.CorruptFileError, "version 2; this release reads 1"),
    (_file_left_out, headrace.CorruptFileError, "it was changed since the model was sealed"),
    (_pipe, headrace.CorruptFileError, "notes.bin.sealed: not a regular file"),
    (_outside, headrace.CorruptFileError, "damaged, or not written by headrace seal"),
]


@pytest.mark.parametrize(("damage", "error", "words"), DAMAGES, ids=[row[0].__name__ for row in DAMAGES])
def test_damage_is_named(
    damage: Callable[[Path], None], error: type[headrace.Error], words: str, sealed: Path, key: LocalKey
) -> None:
    damage(sealed)
    with pytest.raises(error, match=words):
        headrace.load(sealed)
    if is_sealed(sealed):
        try:
            assert verify(sealed, key)
        except headrace.CorruptFileError:
            assert damage in (_other_version, _file_left_out, _outside)


def test_segments_of_equal_size_cannot_change_places(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(bytes(3 * segments.SEGMENT_BYTES + 9))
    size = 3 * segments.SEGMENT_BYTES + 9
    with open(tmp_path / "plain", "rb") as file:
        data = bytearray(b"".join(map(bytes, segments.seal_file(file, size, KEY, b""))))
    second, third = (slice(i * segments.SEGMENT_BYTES, (i + 1) * segments.SEGMENT_BYTES) for i in (1, 2))
    data[second], data[third] = data[third], data[second]
    (tmp_path / "swapped").write_bytes(data)
    opened = segments.SealedFile(tmp_path / "swapped", size, KEY, b"")
    assert opened.open_segments(None, 0, 1) == FIRST
    with pytest.raises(headrace.CorruptFileError, match="segment 2 of 4"):
        opened.open_segments(None)
    opened.close()


def test_a_file_of_another_model_does_not_open(sealed: Path, key: LocalKey, tmp_path: Path) -> None:
    seal(tmp_path / "toy", tmp_path / "other", key)
    shutil.copy(tmp_path / "other" / "config.json.sealed", sealed / "config.json.sealed")
    with pytest.raises(headrace.CorruptFileError, match=r"config\.json\.sealed: segment 1 of 1"):
        headrace.load(sealed)


def test_only_what_the_core_reads_is_kept(sealed: Path, key: LocalKey) -> None:
    files = open_model(sealed, key=key)
    assert sorted(files) == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert list(open_model(sealed, only=lambda name: name == "config.json", key=key)) == ["config.json"]


OTHER_FORMS = [
    ("files", None),
    ("files", [{"name": 1, "size": 1, "sha256": "0" * 64}]),
    ("files", [{"name": "a", "size": True, "sha256": "0" * 64}]),
    ("files", [{"name": "a", "size": 1 << 60, "sha256": "0" * 64}]),
    ("files", [{"name": "a", "size": 1, "sha256": "0" * 64}] * 2),
    ("key", {"id": "a\0b", "method": "command", "wrapped": ""}),
    ("key", {"id": "a", "method": 5, "wrapped": ""}),
    ("key", {"id": "a", "method": "command", "wrapped": "?"}),
    ("key", []),
    ("mac", 5),
    ("model", None),
    ("version", [1]),
    ("version", True),
    ("algorithm", "AES128_GCM_HKDF_4KB"),
    ("more", 1),
]


@pytest.mark.parametrize(("field", "value"), OTHER_FORMS)
def test_a_manifest_of_another_form_is_refused(field: str, value: object, sealed: Path) -> None:
    path = sealed / "sealed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}, indent=1) + "\n")
    with pytest.raises(headrace.CorruptFileError, match=r"sealed\.json: "):
        headrace.load(sealed)
    with pytest.raises(headrace.CorruptFileError):
        verify(sealed)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\xff", '{"version": 1}'])
def test_a_manifest_that_is_none_is_refused(text: str, sealed: Path) -> None:
    (sealed / "sealed.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(headrace.CorruptFileError, match=r"sealed\.json: damaged"):
        headrace.load(sealed)


class TestChecksums:
    def test_damage_is_told(self, tmp_path: Path) -> None:
        model = headrace.toy.model("tag", tmp_path / "toy")
        write_checksums(model)
        assert verify(model) == []
        (model / "extra.txt").write_text("new")
        flip(model / "model.safetensors", 12345)
        with open(model / "config.json", "a") as file:
            file.write(" ")
        (model / "tokenizer_config.json").unlink()
        told = "\n".join(verify(model))
        assert told.count("\n") == 3
        assert "model.safetensors: its SHA-256 is not the manifest's" in told
        assert "tokenizer_config.json: no such file" in told
        assert "extra.txt: is not in the manifest" in told
        with headrace.load(headrace.toy.model("tag", tmp_path / "again")) as loaded:
            assert loaded.info.task == "tag"

    def test_names_that_leave_the_folder_are_refused(self, tmp_path: Path) -> None:
        for name in ("../a", "/a", "a//b", "a/./b", "", "a\\b", "a\0", "a\ud800"):
            assert not seal_manifest.is_safe_name(name)
        assert seal_manifest.is_safe_name("1_Dense/model.safetensors")
