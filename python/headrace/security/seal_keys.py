"""The key that wraps the data keys of sealed models: from a file, the environment, or a command that asks a KMS."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import CorruptFileError, InvalidArgumentError
from .private_file import create_private
from .segments import KEY_BYTES

KEY, KEY_FILE, KMS = "HEADRACE_SEAL_KEY", "HEADRACE_SEAL_KEY_FILE", "HEADRACE_SEAL_KMS"
KEY_ID = re.compile("[ -~]{1,256}")
_NONCE_BYTES = 12
_MAX_WRAPPED = 1 << 16
_KMS_SECONDS = 60.0


@dataclass(frozen=True)
class WrappedKey:
    """A data key as the manifest holds it."""

    id: str  # of the key that wraps it
    method: str  # "AES256_GCM", or "command"
    wrapped: bytes


class WrappingKey(Protocol):
    """What wraps and unwraps data keys."""

    def wrap(self, data_key: bytes) -> WrappedKey: ...

    def unwrap(self, key: WrappedKey) -> bytes: ...


class LocalKey:
    """A key of 32 bytes that this process holds; data keys are wrapped by AES-256-GCM with its id as associated data.

    The id is a part of the key's hash, so that a wrong key is told from a damaged file.
    """

    method = "AES256_GCM"

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.id = hashlib.sha256(b"headrace seal key id" + key).hexdigest()[:16]

    @classmethod
    def from_text(cls, text: str, source: str) -> LocalKey:
        """From what `new_key` writes."""
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise InvalidArgumentError(
                f"{source}: not a sealing key, which is 32 bytes in base64: make one by headrace seal --new-key FILE"
            )
        return cls(key)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> LocalKey:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read(1024)
        except UnicodeDecodeError:
            text = ""
        except FileNotFoundError:
            raise InvalidArgumentError(f"{os.fspath(path)}: no such key file") from None
        return cls.from_text(text, os.fspath(path))

    def _associated(self) -> bytes:
        return f"headrace sealed data key {self.id}".encode()

    def wrap(self, data_key: bytes) -> WrappedKey:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, data_key, self._associated())
        return WrappedKey(self.id, self.method, nonce + sealed)

    def unwrap(self, key: WrappedKey) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if key.method != self.method:
            raise InvalidArgumentError(
                f"the model is sealed under a key of a KMS ({key.id}): set {KMS} to the command that unwraps it"
            )
        if key.id != self.id:
            raise InvalidArgumentError(
                f"wrong key: the model is sealed under the key {key.id}, the key given is {self.id}"
            )
        nonce, sealed = key.wrapped[:_NONCE_BYTES], key.wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(self._key).decrypt(nonce, sealed, self._associated())
        except (InvalidTag, ValueError):
            raise CorruptFileError("the wrapped key is damaged") from None


class KmsCommand:
    """A key that never leaves a key management service; commands of the operator's speak to it.

    `unwrap_command` reads the wrapped key on its standard input and writes the data key, 32 bytes, to its standard
    output; `wrap_command` the other way round. They are run without a shell, with the key's id in
    HEADRACE_SEAL_KEY_ID.
    """

    method = "command"

    def __init__(
        self, unwrap_command: str | None = None, *, wrap_command: str | None = None, id: str = "kms"
    ) -> None:
        if not KEY_ID.fullmatch(id):
            raise InvalidArgumentError(f"key id {id!r:.64}: must be 1 to 256 printable ASCII characters")
        self._unwrap_command = unwrap_command
        self._wrap_command = wrap_command
        self.id = id

    def wrap(self, data_key: bytes) -> WrappedKey:
        if self._wrap_command is None:
            raise InvalidArgumentError(
                "a KMS seals by --kms-wrap COMMAND, which reads the data key and writes it wrapped"
            )
        wrapped = _run(self._wrap_command, data_key, self.id)
        if not 0 < len(wrapped) <= _MAX_WRAPPED:
            raise InvalidArgumentError(
                f"{self._wrap_command}: wrote {len(wrapped)} bytes; expected 1 to 65536"
            )
        return WrappedKey(self.id, self.method, wrapped)

    def unwrap(self, key: WrappedKey) -> bytes:
        if key.method != self.method:
            raise InvalidArgumentError(
                f"the model is sealed under a local key ({key.id}), not by a KMS: set {KEY} or {KEY_FILE}"
            )
        if self._unwrap_command is None:
            raise InvalidArgumentError(f"set {KMS} to the command that unwraps the key {key.id}")
        data_key = _run(self._unwrap_command, key.wrapped, key.id)
        if len(data_key) != KEY_BYTES:
            raise InvalidArgumentError(
                f"{KMS}: the command wrote {len(data_key)} bytes; a data key has {KEY_BYTES}, and no newline"
            )
        return data_key


def _run(command: str, given: bytes, key_id: str) -> bytes:
    arguments = shlex.split(command)
    if not arguments:
        raise InvalidArgumentError(f"{KMS}: the command is empty")
    try:
        done = subprocess.run(
            arguments,
            input=given,
            capture_output=True,
            check=False,
            timeout=_KMS_SECONDS,
            env={**os.environ, "HEADRACE_SEAL_KEY_ID": key_id},
        )
    except subprocess.TimeoutExpired:
        raise InvalidArgumentError(f"{arguments[0]}: no answer in {_KMS_SECONDS:g} seconds") from None
    except OSError as error:
        raise InvalidArgumentError(f"{arguments[0]}: cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [
            "nothing on its standard error"
        ]
        raise InvalidArgumentError(
            f"{arguments[0]}: exit code {done.returncode} for the key {key_id}: {said[0][:500]}"
        )
    return done.stdout


def find_key(key_file: str | os.PathLike[str] | None = None) -> WrappingKey:
    """The key in `key_file`, or the one that the environment names.

    Raises InvalidArgumentError when there is none, several, or what is there is no key.
    """
    if key_file is not None:
        return LocalKey.from_file(key_file)
    given = [name for name in (KEY, KEY_FILE, KMS) if os.environ.get(name)]
    if len(given) != 1:
        there = f"{' and '.join(given)} are set" if given else "no key is given"
        raise InvalidArgumentError(
            f"{there}; a sealed model needs one of {KEY} (the key), {KEY_FILE} (its file) and {KMS} (a command)"
        )
    value = os.environ[given[0]]
    if given[0] == KMS:
        return KmsCommand(value)
    return LocalKey.from_file(value) if given[0] == KEY_FILE else LocalKey.from_text(value, KEY)


def new_key(path: str | os.PathLike[str]) -> LocalKey:
    """Makes a random key and its file, which only its owner can read. Raises InvalidArgumentError when it is there."""
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"
    try:
        create_private(Path(path), text)
    except FileExistsError:
        raise InvalidArgumentError(
            f"{os.fspath(path)}: is there already; a key that is lost opens nothing any more, so it is not overwritten"
        ) from None
    return LocalKey.from_text(text, os.fspath(path))
