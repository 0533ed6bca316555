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
        self._last: tuple[float, T] | None = None  # when its look began, and what it saw

    async def read(self, look: Callable[[], Awaitable[T]]) -> T:
        """Return the value, seen at most `seconds` ago."""
        async with self._looking:
            if self._last is None or elapsed_seconds() - self._last[0] >= self.seconds:
                began = elapsed_seconds()
                self._last = began, await look()
            return self._last[1]
