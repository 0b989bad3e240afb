"""API keys: 256 bits from the system's random source, shown once, kept as a keyed hash.

A key is `hr_` + 12 characters that name it + `_` + 43 characters of secret + 6 of a CRC-32, which lets a scanner for
leaked secrets know a real one and lets a mistyped one be refused at once. The store has HMAC-SHA256(pepper, secret);
the pepper lies elsewhere, so a copied store opens nothing. A slow hash would add nothing to 256 random bits and would
hand out a way to keep the server busy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidArgumentError
from .certificates import check_name
from .private_file import secret_of
from .scopes import Limits, Principal, check_scope

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _SUM = 12, 43, 6
_KEY = re.compile(rf"hr_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_SUM}}})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}")
MAX_KEY = 100  # characters: longer ones are not looked at
MAX_LIMIT = 10**12
MAX_LIFETIME = 100 * 366 * 86_400  # seconds


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _check_sum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _SUM)


def new_key() -> tuple[str, str, str]:
    """A fresh key: the whole, its public id, its secret."""
    # 62^43 > 2^256: no bit is lost.
    identity, secret = (
        _base62(secrets.randbits(64), _ID),
        _base62(secrets.randbits(256), _SECRET),
    )
    text = f"hr_{identity}_{secret}"
    return text + _check_sum(text), identity, secret


def split_key(text: str) -> tuple[str, str] | None:
    """The id and the secret of a well-formed key, else None.

    >>> from headrace.security.keys import new_key, split_key
    >>> key, identity, secret = new_key()
    >>> split_key(key) == (identity, secret), split_key(key[:-1] + "!")
    (True, None)
    """
    found = _KEY.fullmatch(text) if len(text) <= MAX_KEY else None
    if found is None or _check_sum(text[:-_SUM]) != found[3]:
        return None
    return found[1], found[2]


class Pepper:
    """The secret that makes stored hashes useless by themselves. The first of several hashes new keys, all verify."""

    def __init__(self, secrets_: Sequence[bytes]) -> None:
        if not secrets_ or any(len(secret) < 16 for secret in secrets_):
            raise InvalidArgumentError("the pepper must have at least 16 bytes")
        self._secrets = list(secrets_)

    @classmethod
    def find(cls, folder: Path, *, create: bool) -> Pepper:
        """From HEADRACE_PEPPER (several, newest first, with commas between), else the file `pepper` in `folder`.

        create: makes the file where there is none; else that is an InvalidArgumentError.
        """
        given = os.environ.get("HEADRACE_PEPPER")
        if given:
            return cls([part.strip().encode() for part in given.split(",")])
        path = folder / "pepper"
        secret = secret_of(path, create=create)
        if secret is None:
            raise InvalidArgumentError(
                f"{path}: no pepper, so no key was made here yet: make one by `headrace keys create`, or set "
                "HEADRACE_PEPPER to the one that the keys were made with"
            )
        return cls([secret])

    def hash(self, secret: str) -> str:
        return hmac.new(self._secrets[0], secret.encode(), hashlib.sha256).hexdigest()

    def matches(self, secret: str, stored: str) -> bool:
        """In a time that does not tell how much of it was right."""
        encoded, expected = secret.encode(), stored.encode()
        found = False
        for pepper in self._secrets:
            made = hmac.new(pepper, encoded, hashlib.sha256).hexdigest().encode()
            found |= hmac.compare_digest(made, expected)
        return found


@dataclass(frozen=True)
class Key:
    """What is kept of a key. Times are seconds since 1970; None is never, or without end. One with the name of a
    `certificate` has no secret: whoever shows that certificate has it."""

    id: str
    name: str
    tenant: str
    hash: str = field(repr=False)
    scopes: tuple[str, ...]
    created: float
    expires: float | None = None
    revoked: float | None = None
    limits: Limits = field(default_factory=Limits)
    certificate: str | None = None

    @property
    def principal(self) -> Principal:
        return Principal(self.id, self.name, self.tenant, frozenset(self.scopes), self.limits)

    def state(self, now: float) -> str:
        """active, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


def make_key(
    pepper: Pepper,
    name: str,
    scopes: Sequence[str],
    *,
    tenant: str | None = None,
    lifetime: float | None = None,
    limits: Limits | None = None,
    certificate: str | None = None,
) -> tuple[str, Key]:
    """A new key: the text to be shown once, and what is to be kept. Of a certificate's the text is "".

    Args:
        name: of 1 to 64 letters, digits, spaces and `._@-`; need not be its own.
        scopes: see scopes.py; at least one.
        tenant: whose caches and limits it shares; None: a tenant of its own name.
        lifetime: seconds; None: without end.
        certificate: the name of a client certificate that is the key (certificates.py).
    """
    limits = limits or Limits()
    for what, text in (("name", name), ("tenant", tenant)):
        if text is not None and not _NAME.fullmatch(text):
            raise InvalidArgumentError(
                f"{what}={text[:80]!r}: must be 1 to 64 letters, digits, spaces and ._@-, a letter or digit first"
            )
    if not scopes:
        raise InvalidArgumentError("scopes: a key needs at least one, such as infer")
    if lifetime is not None and not 0 < lifetime <= MAX_LIFETIME:
        raise InvalidArgumentError(f"lifetime={lifetime}: must be positive seconds, of a century at most")
    for field_name, value in vars(limits).items():
        if value is not None and not 1 <= value <= MAX_LIMIT:
            raise InvalidArgumentError(f"{field_name}={value}: must be between 1 and {MAX_LIMIT}, or None")
    if certificate is not None:
        check_name(certificate)
    text, identity, secret = new_key()
    now = time.time()
    return "" if certificate else text, Key(
        identity,
        name,
        tenant if tenant is not None else name,
        "" if certificate else pepper.hash(secret),
        tuple(dict.fromkeys(check_scope(scope) for scope in scopes)),
        now,
        None if lifetime is None else now + lifetime,
        None,
        limits,
        certificate,
    )
