"""One look for all who ask within a moment, since what is asked for without a key must cost next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from returns_service.store.clock import elapsed_seconds

T = TypeVar("T")


class Snapshot(Generic[T]):
    """The last value of a look that takes long; one look at a time, and a new one only once it is `seconds` old."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._looking = asyncio.Lock()
        self._last: tuple[float, float, T] | None = None  # when its look began and ended, and what it saw

    async def read(self, look: Callable[[], Awaitable[T]]) -> T:
        """Return the value, seen at most `seconds` ago, or by a look that was under way at the call.

        A look may take longer than `seconds`, and those who wait for it would else take their turns at looking.
        """
        asked_at = elapsed_seconds()
        async with self._looking:
            now = elapsed_seconds()
            if self._last is None or (self._last[1] < asked_at and now - self._last[0] >= self.seconds):
                seen = await look()
                self._last = now, elapsed_seconds(), seen
            return self._last[2]
