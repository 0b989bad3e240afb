"""Limits of keys: buckets on a clock of the test's own, and a real Redis between two servers' worth of them."""

from __future__ import annotations

import asyncio
import random

import pytest
from services import Redis

from headrace.errors import InvalidArgumentError
from headrace.security.quotas import LimitExceeded, Quotas
from headrace.security.scopes import Limits, Principal
from headrace.security.shared_quotas import Exchange


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def principal(requests: int | None = None, tokens: int | None = None, day: int | None = None) -> Principal:
    return Principal("k", "n", "t", frozenset({"infer"}), Limits(requests, tokens, day))


def test_no_limits_cost_nothing() -> None:
    quotas = Quotas()
    assert quotas.reserve(principal(), 10**9) is None
    assert not quotas.keys


def test_requests_flow_back_evenly() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    who = principal(requests=60)
    for _ in range(60):
        quotas.reserve(who, 5)
    with pytest.raises(LimitExceeded, match="60 requests a minute") as raised:
        quotas.reserve(who, 5)
    assert raised.value.wait == pytest.approx(1.0)
    clock.now += 1.0
    quotas.reserve(who, 5)
    with pytest.raises(LimitExceeded):
        quotas.reserve(who, 5)


def test_a_refused_request_takes_nothing() -> None:
    quotas = Quotas(Clock())
    who = principal(requests=10, tokens=100)
    quotas.reserve(who, 50)
    quotas.reserve(who, 50)
    with pytest.raises(LimitExceeded):
        quotas.reserve(who, 50)
    buckets = quotas.buckets(who)
    assert buckets is not None
    assert buckets.requests[0].level == 8
    assert buckets.tokens[0].level == 0


def test_what_was_not_needed_is_given_back_and_what_was_too_much_is_owed() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    who = principal(tokens=600)
    cheap = quotas.reserve(who, 400)
    assert cheap is not None
    quotas.settle(cheap, 100)
    dear = quotas.reserve(who, 500)
    assert dear is not None
    quotas.settle(dear, 1100)
    with pytest.raises(LimitExceeded) as raised:
        quotas.reserve(who, 10)
    assert raised.value.wait == pytest.approx(61.0)  # 600 owed, 10 wanted, 10 a second
    clock.now += 61.0
    quotas.reserve(who, 10)


def test_more_than_the_whole_limit_needs_a_full_bucket() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    who = principal(tokens=100)
    quotas.reserve(who, 1000)
    with pytest.raises(LimitExceeded) as raised:
        quotas.reserve(who, 1000)
    assert raised.value.wait == pytest.approx(600.0)


def test_a_request_under_way_can_take_more() -> None:
    quotas = Quotas(Clock())
    who = principal(requests=1, tokens=100)
    reservation = quotas.reserve(who, 10)
    assert reservation is not None
    quotas.extend(reservation, 80)
    with pytest.raises(LimitExceeded, match="tokens"):
        quotas.extend(reservation, 20)
    quotas.settle(reservation, 0)
    assert reservation.buckets.tokens[0].level == 100


def test_headers_are_those_of_openai() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    who = principal(requests=60, tokens=6000, day=100_000)
    quotas.reserve(who, 3000)
    buckets = quotas.buckets(who)
    assert buckets is not None
    assert dict(quotas.headers(buckets)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"6000",
        b"x-ratelimit-remaining-tokens": b"3000",
        b"x-ratelimit-reset-tokens": b"30s",
    }


def test_changed_limits_are_new_buckets() -> None:
    quotas = Quotas(Clock())
    quotas.reserve(principal(requests=1), 0)
    with pytest.raises(LimitExceeded):
        quotas.reserve(principal(requests=1), 0)
    for _ in range(5):
        quotas.reserve(principal(requests=5), 0)


def test_over_hours_a_limit_is_held_exactly() -> None:
    clock, rng = Clock(), random.Random(7)
    quotas = Quotas(clock)
    who = principal(requests=30, tokens=5000)
    admitted = tokens = 0
    while clock.now < 3600:
        clock.now += rng.expovariate(2.0)
        wanted = rng.randint(1, 500)
        try:
            reservation = quotas.reserve(who, wanted)
        except LimitExceeded:
            continue
        assert reservation is not None
        used = rng.randint(0, 2 * wanted)
        quotas.settle(reservation, used)
        admitted, tokens = admitted + 1, tokens + used
    assert admitted <= 30 * 61
    assert tokens <= 5000 * 61 + 1000
    assert admitted > 1000
    assert tokens > 0.9 * 5000 * 60


async def test_servers_share_a_limit_through_redis() -> None:
    with Redis() as redis:
        clock = Clock()
        quotas = [Quotas(clock), Quotas(clock)]
        exchanges = [Exchange(each, redis.url) for each in quotas]
        who = principal(requests=100)
        taken = 0
        for _ in range(100):
            for each, exchange in zip(quotas, exchanges, strict=True):
                for _ in range(3):
                    try:
                        each.reserve(who, 0)
                        taken += 1
                    except LimitExceeded:
                        pass
                await exchange.exchange()
        # Between two exchanges the other one's takings are not known: at most 20 % too many.
        assert 100 <= taken <= 120
        for exchange in exchanges:
            assert not exchange.is_away
            await exchange._redis.aclose()


async def test_without_redis_each_counts_for_itself_and_nothing_waits() -> None:
    with Redis() as redis:
        quotas = Quotas()
        exchange = Exchange(quotas, redis.url)
        who = principal(requests=6)
        task = asyncio.create_task(exchange.run())
        quotas.reserve(who, 0)
        await asyncio.sleep(0.3)
        assert not exchange.is_away
        redis.stop()
        quotas.reserve(who, 0)
        await asyncio.sleep(0.5)
        assert exchange.is_away
        loop = asyncio.get_running_loop()
        before = loop.time()
        for _ in range(4):
            quotas.reserve(who, 0)
        with pytest.raises(LimitExceeded):
            quotas.reserve(who, 0)
        assert loop.time() - before < 0.01
        redis.start()
        await asyncio.sleep(1.5)
        assert not exchange.is_away  # and what was taken meanwhile is told
        other = Quotas()
        second = Exchange(other, redis.url)
        other.reserve(who, 0)
        await second.exchange()
        with pytest.raises(LimitExceeded):
            other.reserve(who, 0)
        await second._redis.aclose()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_url_that_is_none() -> None:
    with pytest.raises(InvalidArgumentError, match="redis"):
        Exchange(Quotas(), "http://127.0.0.1")
