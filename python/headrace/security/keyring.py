"""The keys of a running server: all of them in memory, kept in step with the catalogue by a thread."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence

from ..catalogue import Catalogue
from .keys import Key, Pepper, make_key, split_key
from .scopes import Limits, Principal

logger = logging.getLogger("headrace.keys")

REFRESH_SECONDS = 2.0  # a revoked key is refused after this and the time of one query
GRACE_SECONDS = 60.0  # for so long keys are believed while the catalogue is away


class KeyRefused(Exception):
    """No key, or none that is valid now; the message says why."""


class KeysUnavailable(Exception):
    """The catalogue has been away for too long to believe what is in memory."""


class KeyRing:
    """Checks keys in a few microseconds; `authenticate` may be called from any thread.

    Raises, when made, what the catalogue raises.
    """

    def __init__(self, catalogue: Catalogue, pepper: Pepper, *, refresh: float = REFRESH_SECONDS) -> None:
        self._catalogue = catalogue
        self._pepper = pepper
        self._refresh = refresh
        self._keys: dict[str, tuple[Key, Principal]] = {}
        self._certificates: dict[str, list[tuple[Key, Principal]]] = {}
        self._fresh_at = 0.0
        self._end = threading.Event()
        self._updating = threading.Lock()  # so that an older reading never comes after a newer one
        self._update()
        self._thread = threading.Thread(target=self._run, name="headrace-keys", daemon=True)
        self._thread.start()

    def _update(self) -> list[Key]:
        with self._updating:
            before = time.monotonic()
            found = {}
            for key in self._catalogue.all_keys():
                known = self._keys.get(key.id)
                found[key.id] = known if known is not None and known[0] == key else (key, key.principal)
            certificates: dict[str, list[tuple[Key, Principal]]] = {}
            for each in found.values():
                if each[0].certificate is not None:
                    certificates.setdefault(each[0].certificate, []).append(each)
            self._certificates = certificates
            self._keys, self._fresh_at = found, before
            return [key for key, _ in found.values()]

    # These wait for the catalogue, so none belongs on an event loop. OSError when it is away.

    def all_keys(self) -> list[Key]:
        """Every key as the catalogue has it now, oldest first, with those that are over."""
        return self._update()

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        tenant: str | None = None,
        lifetime: float | None = None,
        limits: Limits | None = None,
        certificate: str | None = None,
    ) -> tuple[str, Key]:
        """A new key, valid here at once: the text to be shown once, and what is kept. Raises what make_key raises."""
        text, key = make_key(
            self._pepper,
            name,
            scopes,
            tenant=tenant,
            lifetime=lifetime,
            limits=limits,
            certificate=certificate,
        )
        self._catalogue.add(key)
        with contextlib.suppress(OSError):  # it is there, and this is the only time that its text is told
            self._update()
        return text, key

    def revoke(self, identity: str) -> Key:
        """Ends a key, here at once and elsewhere within seconds. ModelNotFoundError for one that is not there."""
        key = self._catalogue.revoke(identity, time.time())
        with contextlib.suppress(OSError):
            self._update()
        return key

    def _run(self) -> None:
        is_away = False
        while not self._end.wait(self._refresh):
            try:
                self._update()
            except Exception as error:
                if not is_away:
                    logger.warning("keys cannot be read; those known are believed for a minute: %s", error)
                is_away = True
            else:
                if is_away:
                    logger.warning("keys can be read again")
                is_away = False

    def __len__(self) -> int:
        return len(self._keys)

    def authenticate(self, text: str) -> Principal:
        """Whose key `text` is. KeyRefused when it is none, KeysUnavailable when that cannot be told."""
        parts = split_key(text)
        if parts is None:
            raise KeyRefused("the key is not a key of this server: it may be cut off or mistyped")
        self._check_fresh()
        identity, secret = parts
        found = self._keys.get(identity)
        # An unknown id costs what a known one does.
        if not self._pepper.matches(secret, found[0].hash if found else "0" * 64) or found is None:
            raise KeyRefused("the key is not known here")
        key, principal = found
        state = key.state(time.time())
        if state != "active":
            raise KeyRefused(f"the key {key.name!r} is {state}: ask for a new one")
        return principal

    @property
    def has_certificates(self) -> bool:
        """Whether any client certificate is a key."""
        return bool(self._certificates)

    def authenticate_certificate(self, names: Sequence[str]) -> Principal:
        """Whose key a verified certificate is, by the first of its names that is known: the newest key of that name
        that is valid. Raises as `authenticate`."""
        self._check_fresh()
        for name in names:
            found = self._certificates.get(name, [])
            for key, principal in reversed(found):
                if key.state(time.time()) == "active":
                    return principal
            if found:
                key = found[-1][0]
                raise KeyRefused(f"the key {key.name!r} is {key.state(time.time())}: ask for a new one")
        raise KeyRefused("the client's certificate is not a key of this server")

    def _check_fresh(self) -> None:
        if time.monotonic() - self._fresh_at > GRACE_SECONDS:
            raise KeysUnavailable("keys cannot be checked, because the catalogue cannot be reached")

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._catalogue.close()
