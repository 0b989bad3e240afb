"""Limits shared by several servers, through Redis.

Each server decides in memory, at once, by its own copy of every bucket. A task tells Redis ten times a second what was
taken and hears what all servers together have left; so no request ever waits for Redis. Between two exchanges servers
may together let through more than a limit; what was too much is a debt, so over minutes the limit holds. While Redis is
away each server counts for itself alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..errors import InvalidArgumentError
from .quotas import Quotas

logger = logging.getLogger("headrace.quotas")

EXCHANGE_SECONDS = 0.1
_TIMEOUT_SECONDS = 0.2
_RETRY_SECONDS = 0.5
# For each bucket: fills what is stored by Redis' own clock, takes what the server took, and says what is left.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) * 1e-6
local levels = {}
for i, key in ipairs(KEYS) do
  local capacity, period, taken = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local stored = redis.call('HMGET', key, 'level', 'at')
  local level, at = tonumber(stored[1]) or capacity, tonumber(stored[2]) or now
  level = math.min(capacity, level + math.max(0, now - at) * capacity / period)
  level = math.min(capacity, level - taken)
  redis.call('HSET', key, 'level', tostring(level), 'at', tostring(now))
  redis.call('PEXPIRE', key, math.ceil(period * 1000 * math.max(1, 2 - level / capacity)))
  levels[i] = tostring(level)
end
return levels
"""


class Exchange:
    """Keeps a Quotas in step with those of other servers, as a task on the event loop that takes from it.

    Args:
        url: such as redis://127.0.0.1:6379/0.
        prefix: before every name in Redis.
    """

    def __init__(self, quotas: Quotas, url: str, prefix: str = "headrace:quota:") -> None:
        try:
            import redis
            import redis.asyncio
        except ModuleNotFoundError:
            raise InvalidArgumentError(
                "limits in Redis need its client: run: pip install 'headrace[redis]'"
            ) from None
        self._quotas = quotas
        self._prefix = prefix
        self._failures = redis.RedisError, OSError
        try:
            self._redis: Any = redis.asyncio.Redis.from_url(
                url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
            )
        except ValueError as error:
            raise InvalidArgumentError(f"redis: {error}") from None
        self._script: Any = self._redis.register_script(_SCRIPT)
        self.is_away = False

    async def run(self) -> None:
        """Exchanges until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(_RETRY_SECONDS if self.is_away else EXCHANGE_SECONDS)
                await self.exchange()
        finally:
            await self._redis.aclose()

    async def exchange(self) -> None:
        """One round, of the buckets that are not full."""
        rows = [
            (f"{self._prefix}{identity}:{bucket.kind}:{int(bucket.period)}", bucket, bucket.taken)
            for identity, buckets in self._quotas.keys.items()
            for bucket in buckets.all()
            if bucket.taken or bucket.level < bucket.capacity
        ]
        if not rows:
            return
        arguments = [value for _, bucket, taken in rows for value in (bucket.capacity, bucket.period, taken)]
        try:
            levels = await self._script(keys=[name for name, _, _ in rows], args=arguments)
        except self._failures as error:
            if not self.is_away:
                logger.warning("Redis is away, each server counts limits for itself: %s", error)
            self.is_away = True
            return
        if self.is_away:
            logger.warning("Redis is back: limits are shared again")
        self.is_away = False
        for (_, bucket, taken), level in zip(rows, levels, strict=True):
            bucket.adopt(taken, float(level))
