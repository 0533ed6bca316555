"""A life from request to refund, against the least SQL that keeps the same facts: asyncpg on eight connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.bench.costs import Meter, resident_mb
from tests.bench.facts import Life, Statement
from tests.bench.result import Row, row_of_costs
from tests.bench.rounds import Side, interleave
from tests.bench.stage import Service, create_database, driver_url, open_pool, open_server, open_service, side_of

AIM = 0.10
UNITS, CONNECTIONS = 200, 8  # of the reference: lives a round
Transactions = list[list[Statement]]


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare lives with their SQL alone."""
    async with open_server() as server:
        own, bare = await create_database(server), await create_database(server)
        async with (
            open_service(server, own) as service,
            open_pool(driver_url(server, bare), CONNECTIONS) as pool,
        ):
            ours = side_of(service)
            meter = Meter({"driver": os.getpid()}, server, bare)
            reference = sql_side(pool, Life(service.facts), meter)
            await ours.warm_up()
            before = memory_of(service)
            await interleave(ours, reference, rounds, on_round)
            after = memory_of(service)
            return [
                row_of_costs(
                    "lifecycle", ours.sums, reference.sums, aim=AIM,
                    ours_parts=ours.parts, reference_parts=reference.parts,
                    ours_sql=await ours.count_statements(server),
                    reference_sql=await reference.count_statements(server),
                    memory_mb=after, memory_grown={part: round(after[part] / before[part], 3) for part in after},
                )
            ]  # fmt: skip


def sql_side(pool: Any, life: Life, meter: Meter) -> Side:
    """Return the least SQL on a pool: the statements are put together beforehand."""

    async def prepare(units: int) -> list[Transactions]:
        return [life.transactions() for _ in range(units)]

    async def work(prepared: list[Transactions]) -> None:
        lives = iter(prepared)
        await asyncio.gather(*(_send(pool, lives) for _ in range(CONNECTIONS)))

    return Side(prepare, work, meter, UNITS)


async def _send(pool: Any, lives: Iterator[Transactions]) -> None:
    for transactions in lives:
        for statements in transactions:
            async with pool.acquire() as connection, connection.transaction():
                for sql, values in statements:
                    await connection.fetch(sql, *values)


def memory_of(service: Service) -> dict[str, float]:
    """Return the resident megabytes of the service's processes."""
    return {part: round(resident_mb(pid), 1) for part, pid in service.meter.processes.items()}
