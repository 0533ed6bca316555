"""More processes on one database: refunds a second of more workers, CPU a life with another web."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.result import Row, row_of_costs
from tests.bench.rounds import interleave
from tests.bench.send import measure_sending
from tests.bench.stage import create_database, open_server, open_service, side_of

AIM = 0.9
BUDGET, REFUNDS = 500, 1500
WORKERS = (2, 4)


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare more processes with one."""
    return [*await _workers(on_round), await _webs(rounds, on_round)]


async def _workers(on_round: Callable[[], None]) -> list[Row]:
    """Compare CPU a refund: how many refunds a second there are is up to the machine's cores."""
    alone = await measure_sending(1, REFUNDS, BUDGET, latency_seconds=0.3)
    on_round()
    rows = []
    for workers in WORKERS:
        sent = await measure_sending(workers, REFUNDS, BUDGET, latency_seconds=0.3)
        on_round()
        mine, theirs = sum(sent.cpu_ms.values()), sum(alone.cpu_ms.values())
        rows.append(
            Row(
                "scaleout", "CPU ms", theirs / mine, mine, theirs, theirs / mine, theirs / mine, 1,
                f"{workers} workers", AIM,
                {"refunds_a_second": sent.a_second, "refunds_a_second_of_one": alone.a_second,
                 "sent_twice": sent.sent_twice, "cpu_ms_a_refund": sent.cpu_ms},
            )
        )  # fmt: skip
    return rows


async def _webs(rounds: int, on_round: Callable[[], None]) -> Row:
    async with open_server() as server:
        both, alone = await create_database(server), await create_database(server)
        async with open_service(server, both, webs=2) as two, open_service(server, alone) as one:
            ours, reference = side_of(two), side_of(one)
            await interleave(ours, reference, rounds, on_round)
            return row_of_costs(
                "scaleout", ours.sums, reference.sums, variant="2 webs", aim=AIM,
                ours_parts=ours.parts, reference_parts=reference.parts,
            )  # fmt: skip
