"""One look for all who ask within a moment: figures that each page shows, or that are asked for without a key."""

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
        self._last: tuple[float, int, T] | None = None  # when its look began, at which version, and what it saw

    async def read(self, look: Callable[[], Awaitable[T]], *, version: int = 0, anew: bool = False) -> T:
        """Return the value, seen at most `seconds` ago and at this `version` of what is looked at; `anew`: just now."""
        async with self._looking:
            last = self._last
            if last is None or anew or last[1] != version or elapsed_seconds() - last[0] >= self.seconds:
                began = elapsed_seconds()
                last = self._last = began, version, await look()
            return last[2]
