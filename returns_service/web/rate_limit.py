"""How fast one caller may ask: a token bucket each, in this process's memory.

Why in memory: it protects a process from one runaway client. A shared count would cost a write per request.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from returns_service.store.clock import elapsed_seconds

BURST = 3  # seconds' worth of requests that may come at once
REFUSALS_PER_SECOND = 20  # that one address may collect before it is refused unheard
MOST_CALLERS = 10_000  # remembered at once; who was forgotten starts with a full bucket


STANDING = "rate_limit_standing"  # in a connection's state, for the answer's headers


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller's bucket: `quota` requests within `window_seconds`, `left` now, and all again in `full_in_seconds`."""

    quota: int
    window_seconds: int
    left: int
    full_in_seconds: int


class Limiter:
    """Buckets that fill by `per_second`."""

    def __init__(self, per_second: float, now: Callable[[], float] = elapsed_seconds) -> None:
        self._rate, self._burst, self._now = per_second, per_second * BURST, now
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_seconds(self, caller: str) -> float:
        """Take one token; return 0 if there was one, else the seconds until there is."""
        now = self._now()
        left, since = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1:
            self._buckets[caller] = left, now
            return (1 - left) / self._rate
        if caller not in self._buckets and len(self._buckets) >= MOST_CALLERS:
            self._forget(now)
        self._buckets[caller] = left - 1, now
        return 0.0

    def is_exhausted(self, caller: str) -> bool:
        """Return whether there is no token left; none is taken."""
        left, since = self._buckets.get(caller, (self._burst, self._now()))
        return left + (self._now() - since) * self._rate < 1

    def standing(self, caller: str) -> Standing:
        """Return how a caller's bucket is now."""
        now = self._now()
        left, since = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        full_in_seconds = math.ceil((self._burst - left) / self._rate)
        return Standing(int(self._burst), BURST, int(left), full_in_seconds)

    def _forget(self, now: float) -> None:
        full = [c for c, (left, since) in self._buckets.items() if left + (now - since) * self._rate >= self._burst]
        for caller in full or list(self._buckets)[: MOST_CALLERS // 2]:
            del self._buckets[caller]


class RecentKeys:
    """Keys that were good a moment ago, by their hashes: a flood of bad ones from their address doesn't stop them."""

    GOOD_FOR_SECONDS = 60.0

    def __init__(self, now: Callable[[], float] = elapsed_seconds) -> None:
        self._now = now
        self._good_at: dict[str, float] = {}

    def add(self, key_hash: str) -> None:
        """Remember a key that was let in."""
        if len(self._good_at) >= MOST_CALLERS:
            self._good_at = {known: at for known, at in self._good_at.items() if self._is_recent(at)}
        self._good_at[key_hash] = self._now()

    def __contains__(self, key_hash: str) -> bool:
        return self._is_recent(self._good_at.get(key_hash, -self.GOOD_FOR_SECONDS))

    def _is_recent(self, at: float) -> bool:
        return self._now() - at < self.GOOD_FOR_SECONDS
