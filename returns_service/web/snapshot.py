"""One look for all who ask within a moment: figures that each page shows, or that are asked for without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from returns_service.store.clock import elapsed_seconds

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Look(Generic[T]):
    """What a look saw, and when; monotonic seconds."""

    version: int
    began_at: float
    ended_at: float
    value: T


class Snapshot(Generic[T]):
    """The last value of a look that takes long; one look at a time, and a new one only once it is `seconds` old."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._looking = asyncio.Lock()
        self._last: _Look[T] | None = None

    async def read(self, look: Callable[[], Awaitable[T]], *, version: int = 0, anew: bool = False) -> T:
        """Return the value at this `version` of what is looked at, seen at most `seconds` ago, or by a look that was
        under way at the call; `anew`: by a look that began after it.

        A look may take longer than `seconds`, and those who wait for it would else take their turns at looking.
        """
        asked_at = elapsed_seconds()
        async with self._looking:
            last, now = self._last, elapsed_seconds()
            if last is not None and last.version == version:
                is_shared = last.ended_at >= asked_at or now - last.began_at < self.seconds
                if last.began_at >= asked_at or (is_shared and not anew):
                    return last.value
            value = await look()
            self._last = _Look(version, now, elapsed_seconds(), value)
            return value
