"""The past's calendar: acts in the order of their times, up to the present."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from returns_service.demo.past import Past

Do = Callable[[], Awaitable[object]]


@dataclass(order=True)
class Act:
    """Something that somebody does at a time."""

    at: datetime
    number: int
    do: Do = field(compare=False)


class Calendar:
    """The acts that are still to happen, the next one first."""

    def __init__(self, past: Past, ends_at: datetime) -> None:
        self.past, self.ends_at = past, ends_at
        self._acts: list[Act] = []
        self._numbers = itertools.count()

    def add(self, at: datetime, do: Do) -> None:
        """Let something happen at a time, unless that is later than the present."""
        if at <= self.ends_at:
            heapq.heappush(self._acts, Act(at, next(self._numbers), do))

    async def play(self, show: Callable[[float], None]) -> None:
        """Let everything happen, and time pass until the present; `show` is told the share that is over."""
        begins_at = self._acts[0].at if self._acts else self.ends_at
        whole = (self.ends_at - begins_at).total_seconds()
        while self._acts:
            act = heapq.heappop(self._acts)
            await self.past.turn(act.at)
            await act.do()
            show((act.at - begins_at).total_seconds() / whole)
        await self.past.turn(self.ends_at)
        await self.past.work()
        await self.past.run(self.past.keep_orders)
        show(1.0)
