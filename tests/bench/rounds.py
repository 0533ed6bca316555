"""Rounds of two sides in turn, so that what the machine does beside them hits both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.costs import Meter, count_statements
from tests.harness.postgres import Postgres

COUNTED = 10  # units whose statements are counted


@dataclass
class Side:
    """One of the two things compared: `prepare` makes what so many units need, `work` does them and is measured."""

    prepare: Callable[[int], Awaitable[Any]]
    work: Callable[[Any], Awaitable[object]]
    meter: Meter
    units: int  # a round
    costs: list[dict[str, float]] = field(default_factory=list)  # a round, CPU ms a unit by part

    async def warm_up(self) -> None:
        """Do a round that isn't counted.

        A connection's statements are planned anew five times each before PostgreSQL keeps a plan: a process lives on
        connections that have all of them behind it.
        """
        await self.work(await self.prepare(self.units))

    async def play(self) -> None:
        """Do one round, and keep what it cost."""
        prepared = await self.prepare(self.units)
        self.costs.append(await self.meter.measure(lambda: self.work(prepared), self.units))

    async def count_statements(self, server: Postgres) -> dict[str, float]:
        """Return the statements, transactions and commits a unit."""
        prepared = await self.prepare(COUNTED)
        return await count_statements(server, self.meter.database, lambda: self.work(prepared), COUNTED)

    @property
    def sums(self) -> list[float]:
        """CPU ms a unit of all parts, by round."""
        return [sum(parts.values()) for parts in self.costs]

    @property
    def parts(self) -> dict[str, float]:
        """The median CPU ms a unit of each part."""
        return {part: round(median(costs.get(part, 0.0) for costs in self.costs), 3) for part in self.costs[0]}


async def interleave(ours: Side, reference: Side, rounds: int, on_round: Callable[[], None]) -> None:
    """Play the sides in turn, after a warm-up."""
    await ours.warm_up()
    await reference.warm_up()
    for _ in range(rounds):
        await ours.play()
        await reference.play()
        on_round()
