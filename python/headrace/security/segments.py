"""Tink's streaming AEAD in the parameters AES256_GCM_HKDF_1MB: files in segments of 1 MiB that stand each for itself.

    header (40 bytes):  u8 40 | salt (32) | nonce prefix (7)
    segment i:          AES-256-GCM of up to 1 MiB less a tag of 16 bytes; the first segment shares its MiB with the
                        header, the last one ends where the file does
    key of a file:      HKDF-SHA256(data key, salt, info = associated data), 32 bytes
    nonce of a segment: nonce prefix | u32 big-endian i | u8 1 in the last segment, else 0

A segment that was changed, moved, left out at the end or taken from another file does not open. Published at
https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming; Tink reads these files, and we read Tink's.
The cipher and the key derivation are those of `cryptography`.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple

from ..errors import CorruptFileError

ALGORITHM = "AES256_GCM_HKDF_1MB"
KEY_BYTES = 32
SEGMENT_BYTES = 1 << 20
_SALT_BYTES, _PREFIX_BYTES, _TAG_BYTES = 32, 7, 16
HEADER_BYTES = 1 + _SALT_BYTES + _PREFIX_BYTES
# A counter of 32 bits, of which the last value is not used.
MAX_SEGMENTS = 2**32 - 1


class Segment(NamedTuple):
    """Where a segment is: `begin` and `size` in the sealed file, `plain` in the file itself."""

    number: int
    begin: int
    size: int
    plain: int


def segment_count(sealed_size: int) -> int:
    return -(-sealed_size // SEGMENT_BYTES)


def sealed_size_of(size: int) -> int:
    """How large a file of `size` bytes is when it is sealed."""
    count = max(1, -(-(size + HEADER_BYTES) // (SEGMENT_BYTES - _TAG_BYTES)))
    return HEADER_BYTES + size + count * _TAG_BYTES


def plain_size_of(sealed_size: int) -> int | None:
    """The size of what is in a sealed file; None where no file has that size when it is sealed."""
    size = sealed_size - HEADER_BYTES - segment_count(sealed_size) * _TAG_BYTES
    return size if size >= 0 and sealed_size_of(size) == sealed_size else None


def segments_of(sealed_size: int, first: int = 0, end: int | None = None) -> Iterator[Segment]:
    count = segment_count(sealed_size)
    for index in range(first, count if end is None else min(end, count)):
        begin = HEADER_BYTES if index == 0 else index * SEGMENT_BYTES
        finish = min((index + 1) * SEGMENT_BYTES, sealed_size)
        plain = 0 if index == 0 else begin - HEADER_BYTES - index * _TAG_BYTES
        yield Segment(index, begin, finish - begin, plain)


class _Cipher:
    """A file's own key and nonces."""

    def __init__(self, data_key: bytes, salt: bytes, prefix: bytes, associated: bytes, count: int) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        key = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=associated).derive(data_key)
        self.aead = AESGCM(key)
        self._prefix = prefix
        self._count = count

    def nonce(self, index: int) -> bytes:
        return self._prefix + index.to_bytes(4, "big") + bytes([index == self._count - 1])


def seal_file(source: BufferedReader, size: int, data_key: bytes, associated: bytes) -> Iterator[memoryview]:
    """The parts of the sealed file, each to be used before the next is asked for.

    Raises CorruptFileError when the source does not have `size` bytes.
    """
    sealed = sealed_size_of(size)
    count = segment_count(sealed)
    if count > MAX_SEGMENTS:
        raise CorruptFileError(f"{source.name}: {size} bytes; a sealed file has at most 2^32 - 1 segments")
    salt, prefix = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_PREFIX_BYTES)
    cipher = _Cipher(data_key, salt, prefix, associated, count)
    yield memoryview(bytes([HEADER_BYTES]) + salt + prefix)
    plain, out = memoryview(bytearray(SEGMENT_BYTES)), memoryview(bytearray(SEGMENT_BYTES))
    for segment in segments_of(sealed):
        wanted = plain[: segment.size - _TAG_BYTES]
        if source.readinto(wanted) != len(wanted):
            raise CorruptFileError(f"{source.name}: it became shorter while it was read")
        cipher.aead.encrypt_into(cipher.nonce(segment.number), wanted, None, out[: segment.size])
        yield out[: segment.size]
    if source.read(1):
        raise CorruptFileError(f"{source.name}: it became longer while it was read")


class SealedFile:
    """A sealed file that is open; its segments may be opened from several threads at a time.

    Raises CorruptFileError, which names the file and what is wrong with it. `size` is what the manifest says.
    """

    def __init__(self, path: str | os.PathLike[str], size: int, data_key: bytes, associated: bytes) -> None:
        self.path = os.fspath(path)
        self.size = size
        self.sealed_size = sealed_size_of(size)
        self.count = segment_count(self.sealed_size)
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(self._file)
            if not stat.S_ISREG(status.st_mode):
                raise CorruptFileError(f"{self.path}: not a regular file")
            there = status.st_size
            if there != self.sealed_size:
                raise CorruptFileError(
                    f"{self.path}: {'truncated: ' if there < self.sealed_size else ''}{there} bytes; the "
                    f"manifest has it with {self.sealed_size}: copy it again"
                )
            header = bytearray(HEADER_BYTES)
            self._read(memoryview(header), 0)
            if header[0] != HEADER_BYTES:
                raise CorruptFileError(f"{self.path}: its header is damaged: copy it again")
            salt, prefix = bytes(header[1 : 1 + _SALT_BYTES]), bytes(header[1 + _SALT_BYTES :])
            self._cipher = _Cipher(data_key, salt, prefix, associated, self.count)
        except BaseException:
            os.close(self._file)
            raise

    def _read(self, out: memoryview, at: int) -> None:
        done = 0
        while done < len(out):
            got = os.preadv(self._file, [out[done:]], at + done)
            if got == 0:
                raise CorruptFileError(f"{self.path}: it became shorter while it was read")
            done += got

    def open_segments(self, out: memoryview | None, first: int = 0, end: int | None = None) -> int:
        """Decrypts segments `first` to `end` to their places in `out`, the whole file; without it they are only
        checked. Returns the number of bytes."""
        return sum(map(len, self.stream(out, first, end)))

    def stream(
        self, out: memoryview | None = None, first: int = 0, end: int | None = None
    ) -> Iterator[memoryview]:
        """The contents, a segment at a time, each to be used before the next is asked for."""
        from cryptography.exceptions import InvalidTag

        sealed = memoryview(bytearray(min(SEGMENT_BYTES, self.sealed_size)))
        spare = memoryview(bytearray(len(sealed))) if out is None else None
        for segment in segments_of(self.sealed_size, first, end):
            size = segment.size - _TAG_BYTES
            if out is not None:
                place = out[segment.plain : segment.plain + size]
            else:
                assert spare is not None
                place = spare[:size]
            part = sealed[: segment.size]
            self._read(part, segment.begin)
            try:
                self._cipher.aead.decrypt_into(self._cipher.nonce(segment.number), part, None, place)
            except InvalidTag:
                raise CorruptFileError(
                    f"{self.path}: segment {segment.number + 1} of {self.count} is damaged, or it was moved here "
                    "from another place or another file: copy the file again"
                ) from None
            yield place

    def close(self) -> None:
        os.close(self._file)
