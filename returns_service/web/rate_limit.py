"""How fast one caller may ask: a token bucket each, in this process's memory.

Why in memory: it protects a process from one runaway client. A shared count would cost a write per request.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from returns_service.store.clock import elapsed

BURST = 3  # seconds' worth of requests that may come at once
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

    def __init__(self, per_second: float, now: Callable[[], float] = elapsed) -> None:
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
