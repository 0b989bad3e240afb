"""Limits of keys: requests and tokens a minute, tokens a day.

A limit is a bucket that fills evenly and holds what one period allows. A request takes what it will cost at most as far
as that is known beforehand, and gives back what it did not need when it is done (reserve, then settle). Everything is
decided in memory, on the event loop's thread; several servers that share limits exchange what was taken ten times a
second (shared_quotas.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .scopes import Principal

_MINUTE, _DAY = 60.0, 86_400.0
_MOST = 100_000  # keys whose buckets are kept; those that are full again go first


class LimitExceeded(Exception):
    """A key's limit is used up. `kind` is requests or tokens; `wait` is in seconds."""

    def __init__(self, kind: str, limit: int, period: float, wait: float) -> None:
        a_period = "day" if period == _DAY else "minute"
        super().__init__(
            f"this key's limit of {limit} {kind} a {a_period} is used up: try again in {wait:.3g} s"
        )
        self.kind = kind
        self.wait = wait


class Bucket:
    """What is left of one limit. `taken` is what was taken since the last exchange with other servers."""

    __slots__ = ("at", "capacity", "kind", "level", "period", "taken")

    def __init__(self, kind: str, capacity: int, period: float, now: float) -> None:
        self.kind = kind
        self.capacity = capacity
        self.period = period
        self.level = float(capacity)
        self.at = now
        self.taken = 0.0

    def fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.capacity / self.period)
        self.at = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there; more than the whole bucket needs a full one, and leaves a debt."""
        return max(0.0, (min(amount, self.capacity) - self.level) * self.period / self.capacity)

    def take(self, amount: float) -> None:
        self.level = min(self.capacity, self.level - amount)
        self.taken += amount

    def adopt(self, exchanged: float, level: float) -> None:
        """What all servers together have left, after hearing of `exchanged` of what was taken here."""
        self.taken -= exchanged
        self.level = min(self.capacity, level - self.taken)


class Buckets:
    """Those of one key."""

    __slots__ = ("limits", "requests", "tokens")

    def __init__(self, principal: Principal, now: float) -> None:
        limits = self.limits = principal.limits

        def made(kind: str, limit: int | None, period: float) -> list[Bucket]:
            return [] if limit is None else [Bucket(kind, limit, period, now)]

        self.requests = made("requests", limits.requests_per_minute, _MINUTE)
        self.tokens = [
            *made("tokens", limits.tokens_per_minute, _MINUTE),
            *made("tokens", limits.tokens_per_day, _DAY),
        ]

    def all(self) -> list[Bucket]:
        return self.requests + self.tokens

    def is_full(self, now: float) -> bool:
        for bucket in self.all():
            bucket.fill(now)
        return all(bucket.level >= bucket.capacity and not bucket.taken for bucket in self.all())


@dataclass
class Reservation:
    """What a request has taken until it is settled."""

    buckets: Buckets
    tokens: int = 0


class Quotas:
    """The buckets of every key that has limits.

    >>> from headrace.security.quotas import LimitExceeded, Quotas
    >>> from headrace.security.scopes import Limits, Principal
    >>> who = Principal("k1", "search", "acme", frozenset({"infer"}), Limits(tokens_per_minute=100))
    >>> quotas = Quotas(clock=lambda: 0.0)
    >>> reservation = quotas.reserve(who, 80)
    >>> try:
    ...     quotas.reserve(who, 80)
    ... except LimitExceeded as error:
    ...     print(error)
    this key's limit of 100 tokens a minute is used up: try again in 36 s
    >>> quotas.settle(reservation, 5)
    >>> quotas.reserve(who, 80).tokens
    80
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.keys: dict[str, Buckets] = {}

    def buckets(self, principal: Principal) -> Buckets | None:
        """The key's buckets; None where it has no limits."""
        limits = principal.limits
        if (
            limits.requests_per_minute is None
            and limits.tokens_per_minute is None
            and limits.tokens_per_day is None
        ):
            return None
        found = self.keys.get(principal.id)
        if found is None or found.limits != limits:
            if len(self.keys) >= _MOST:
                self._forget_full()
            found = self.keys[principal.id] = Buckets(principal, self._clock())
        return found

    def _forget_full(self) -> None:
        now = self._clock()
        for identity in [identity for identity, buckets in self.keys.items() if buckets.is_full(now)]:
            del self.keys[identity]

    def reserve(self, principal: Principal, tokens: int) -> Reservation | None:
        """Takes one request and `tokens`. LimitExceeded when they are not there, and nothing is taken then."""
        buckets = self.buckets(principal)
        if buckets is None:
            return None
        self._take(buckets, 1, tokens)
        return Reservation(buckets, tokens)

    def extend(self, reservation: Reservation, tokens: int) -> None:
        """Takes more tokens for a request under way. LimitExceeded when they are not there."""
        self._take(reservation.buckets, 0, tokens)
        reservation.tokens += tokens

    def _take(self, buckets: Buckets, requests: int, tokens: int) -> None:
        now = self._clock()
        wanted = [(b, requests) for b in buckets.requests if requests] + [(b, tokens) for b in buckets.tokens]
        for bucket, amount in wanted:
            bucket.fill(now)
            wait = bucket.wait(amount)
            if wait > 0:
                raise LimitExceeded(bucket.kind, bucket.capacity, bucket.period, wait)
        for bucket, amount in wanted:
            bucket.take(amount)

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """The request is done and cost `tokens`: the difference is given back, or taken."""
        now = self._clock()
        for bucket in reservation.buckets.tokens:
            bucket.fill(now)
            bucket.take(tokens - reservation.tokens)
        reservation.tokens = tokens

    def headers(self, buckets: Buckets) -> list[tuple[bytes, bytes]]:
        """x-ratelimit-*, as OpenAI's API has them; of several limits of tokens, the one that is closest."""
        now = self._clock()
        headers: list[tuple[bytes, bytes]] = []
        for kind, found in ((b"requests", buckets.requests), (b"tokens", buckets.tokens)):
            for bucket in found:
                bucket.fill(now)
            if found:
                bucket = min(found, key=lambda b: b.level)
                headers += (
                    (b"x-ratelimit-limit-" + kind, b"%d" % bucket.capacity),
                    (b"x-ratelimit-remaining-" + kind, b"%d" % max(0, int(bucket.level))),
                    (b"x-ratelimit-reset-" + kind, _duration(bucket.wait(bucket.capacity))),
                )
        return headers


def _duration(seconds: float) -> bytes:
    """As Go writes it: 12ms, 1.5s, 6m0s."""
    if seconds < 1:
        return b"%dms" % round(seconds * 1000)
    minutes, rest = divmod(round(seconds, 3), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return (f"{int(minutes)}m{text}s" if minutes else f"{text}s").encode()
