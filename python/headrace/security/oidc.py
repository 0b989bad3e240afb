"""Tokens of an OpenID Connect issuer (RFC 7519, RFC 9068): signed JWTs instead of keys of our own.

The issuer's public keys are read when the server starts and again when a token names one that is not known. A token's
scopes are ours (scopes.py) in its `scope`, `scp` or `scopes`; others are ignored. Its tenant is its `tenant`, else its
`sub`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ..errors import InvalidArgumentError
from .keyring import KeyRefused, KeysUnavailable
from .scopes import Principal, check_scope

logger = logging.getLogger("headrace.keys")

# Signatures by a private key only: a shared secret would let this server make tokens, and "none" anyone.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_SECONDS = 30
_READ_AGAIN_SECONDS = 10.0  # at the earliest: tokens with made-up key names must not make us ask all the time
_BELIEVED_SECONDS = 60.0  # without checking the signature again
_MOST_BELIEVED = 10_000
_MAX_DOCUMENT = 1 << 20
MAX_TOKEN = 16_384


class Issuer:
    """Checks tokens of one issuer. Thread-safe.

    Args:
        url: the issuer, as its tokens' `iss` has it; its configuration is at /.well-known/openid-configuration.
        audience: what tokens for this server have as `aud`.

    Raises:
        InvalidArgumentError: no such issuer, or PyJWT is not installed.
    """

    def __init__(self, url: str, audience: str) -> None:
        try:
            import jwt
            import jwt.algorithms
        except ModuleNotFoundError:
            raise InvalidArgumentError("tokens need PyJWT: run: pip install 'headrace[oidc]'") from None
        self._jwt = jwt
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise InvalidArgumentError(f"oidc_issuer={url[:200]!r}: must be an https:// URL")
        self._url = url
        self._audience = audience
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._read_at = 0.0
        self._believed: dict[bytes, tuple[Principal, float]] = {}
        try:
            self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidArgumentError(
                f"oidc_issuer={url[:200]!r}: its keys cannot be read: {error}"
            ) from None

    def _fetch(self, url: str) -> Any:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.loads(answer.read(_MAX_DOCUMENT))

    def _read(self) -> None:
        self._read_at = time.monotonic()
        configuration = self._fetch(self._url.rstrip("/") + "/.well-known/openid-configuration")
        if configuration["issuer"] != self._url:
            raise ValueError(f"it calls itself {str(configuration['issuer'])[:200]!r}")
        found = {}
        for key in self._fetch(configuration["jwks_uri"])["keys"]:
            if key.get("use", "sig") == "sig" and isinstance(key.get("kid"), str):
                try:
                    found[key["kid"]] = self._jwt.PyJWK(key)
                except self._jwt.PyJWTError:
                    continue  # of a kind that is not ours to check
        self._keys = found

    def _key(self, name: Any) -> Any:
        found = self._keys.get(name)
        if found is None and isinstance(name, str):
            with self._lock:
                if name not in self._keys and time.monotonic() - self._read_at > _READ_AGAIN_SECONDS:
                    # In a thread, since the event loop must not wait for another server: the next try will find it.
                    self._read_at = time.monotonic()
                    threading.Thread(target=self._read_again, name="headrace-oidc", daemon=True).start()
                    raise KeysUnavailable("the token's key is being asked for: try again in a second")
            found = self._keys.get(name)
        if found is None:
            raise KeyRefused("the token is signed with a key that its issuer does not have")
        return found

    def _read_again(self) -> None:
        try:
            self._read()
        except Exception as error:
            logger.warning("the keys of the token issuer cannot be read: %s", error)

    def authenticate(self, token: str) -> Principal:
        """Whose token it is. KeyRefused when it is not valid, KeysUnavailable when that cannot be told yet."""
        if len(token) > MAX_TOKEN:
            raise KeyRefused(f"the token is longer than {MAX_TOKEN} characters")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        believed = self._believed.get(digest)
        if believed is not None and believed[1] > time.time():
            return believed[0]
        principal, expires = self._check(token)
        if len(self._believed) >= _MOST_BELIEVED:
            self._believed.clear()
        self._believed[digest] = principal, min(expires, time.time() + _BELIEVED_SECONDS)
        return principal

    def _check(self, token: str) -> tuple[Principal, float]:
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise KeyRefused("the token is not signed in a way that is accepted here")
            claims = jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise KeyRefused("the token has expired: ask its issuer for a new one") from None
        except jwt.InvalidAudienceError:
            raise KeyRefused("the token is for another service") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise KeyRefused("the token is not valid here") from None
        subject = str(claims["sub"])[:128]
        name = claims.get("preferred_username") or claims.get("client_id") or subject
        tenant = str(claims.get("tenant") or subject)[:128]
        return Principal(f"oidc:{subject}", str(name)[:128], tenant, _scopes(claims)), float(claims["exp"])


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for claim in ("scope", "scp", "scopes"):
        given = claims.get(claim)
        for word in given.split() if isinstance(given, str) else given if isinstance(given, list) else ():
            try:
                found.add(check_scope(str(word)))
            except InvalidArgumentError:
                continue  # of another service
    return frozenset(found)
