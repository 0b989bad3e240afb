"""The manifest of a sealed model, `sealed.json`, and of a plain one, `checksums.json`.

Both list every file with its size and the SHA-256 of what is on disk. `sealed.json` also has the wrapped data key, and
a MAC over everything else in it under a key derived from the data key: whoever has no key can neither change it nor put
another model's files under it. It is written in one form only, so that no byte of it can be changed unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError, ModelNotFoundError
from .seal_keys import KEY_ID, WrappedKey
from .segments import ALGORITHM, KEY_BYTES, sealed_size_of

SEALED, CHECKSUMS = "sealed.json", "checksums.json"
ENDING = ".sealed"
_VERSION = 1
_MAX_BYTES = 16 << 20
_MAX_FILES = 10_000
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A file: its path inside the folder, the size of its contents, and the SHA-256 of what is on disk."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`model` is a random name that binds files to this manifest; `key` and `mac` are None for a plain model."""

    files: tuple[Entry, ...]
    model: str = ""
    key: WrappedKey | None = None
    mac: str | None = None

    def associated(self, name: str) -> bytes:
        """What is authenticated with the file of that name, so that no other file can stand in its place."""
        return f"headrace sealed model {self.model}\n{name}".encode()

    def _value(self) -> dict[str, Any]:
        files = [{"name": entry.name, "size": entry.size, "sha256": entry.sha256} for entry in self.files]
        if self.key is None:
            return {"version": _VERSION, "files": files}
        key = {
            "id": self.key.id,
            "method": self.key.method,
            "wrapped": base64.b64encode(self.key.wrapped).decode(),
        }
        return {
            "version": _VERSION,
            "algorithm": ALGORITHM,
            "model": self.model,
            "key": key,
            "files": files,
        }

    def _mac(self, data_key: bytes) -> str:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"headrace sealed manifest")
        return hmac.new(derived.derive(data_key), _encoded(self._value()), "sha256").hexdigest()

    def encoded(self, data_key: bytes | None = None) -> bytes:
        """The file, with the MAC for that key, or with the one it has."""
        value = self._value()
        mac = self.mac if data_key is None else self._mac(data_key)
        return _encoded(value if mac is None else {**value, "mac": mac})

    def check_mac(self, data_key: bytes, path: Path) -> None:
        if not hmac.compare_digest((self.mac or "").encode(), self._mac(data_key).encode()):
            raise CorruptFileError(f"{path}: it was changed since the model was sealed: copy it again")


def _encoded(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def read_manifest(path: Path) -> Manifest:
    """Reads `sealed.json` or `checksums.json`. ModelNotFoundError without one, CorruptFileError for a damaged one."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file") from None
    try:
        value = json.loads(data) if len(data) <= _MAX_BYTES else {}
        if value["version"] != _VERSION:
            raise CorruptFileError(f"{path}: version {value['version']!r:.32}; this release reads {_VERSION}")
        manifest = _parsed(value, path.name == SEALED)
        if len(manifest.files) > _MAX_FILES or manifest.encoded() != data:
            raise ValueError
    except CorruptFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise CorruptFileError(f"{path}: damaged, or not written by headrace seal: copy it again") from None
    return manifest


def _parsed(value: dict[str, Any], is_sealed: bool) -> Manifest:
    files = tuple(Entry(file["name"], file["size"], file["sha256"]) for file in value["files"])
    for entry in files:
        if not is_safe_name(entry.name) or type(entry.size) is not int or not _HEX.fullmatch(entry.sha256):
            raise ValueError
        if not 0 <= entry.size < 1 << 48:
            raise ValueError
    if len({entry.name for entry in files}) != len(files):
        raise ValueError
    if not is_sealed:
        return Manifest(files)
    if value["algorithm"] != ALGORITHM:
        raise CorruptFileError(f"{SEALED}: algorithm {value['algorithm']!r:.64}; known is {ALGORITHM}")
    key, model, mac = value["key"], value["model"], value["mac"]
    if not all(isinstance(text, str) for text in (model, mac, key["id"], key["method"])):
        raise ValueError
    if not KEY_ID.fullmatch(key["id"]):
        raise ValueError
    wrapped = base64.b64decode(key["wrapped"], validate=True)
    return Manifest(files, model, WrappedKey(key["id"], key["method"], wrapped), mac)


def is_safe_name(name: str) -> bool:
    """Whether that is a path that stays inside the folder."""
    try:
        name.encode()  # lone surrogates stand for bytes that are no text
    except UnicodeEncodeError:
        return False
    parts = name.split("/")
    return "\0" not in name and "\\" not in name and not any(part in ("", ".", "..") for part in parts)


def size_on_disk(manifest: Manifest, entry: Entry) -> int:
    return entry.size if manifest.key is None else sealed_size_of(entry.size)


def path_on_disk(folder: Path, manifest: Manifest, entry: Entry) -> Path:
    return folder / (entry.name if manifest.key is None else entry.name + ENDING)
