"""A life from request to refund, against the same SQL behind bare routes that call Stripe and take its webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.result import Row, row_of_costs
from tests.bench.rounds import interleave
from tests.bench.stage import create_database, open_bare, open_server, open_service, side_of

AIM = 0.25


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare lives with those of a service that checks nothing."""
    async with open_server() as server:
        own, bare = await create_database(server), await create_database(server)
        async with open_service(server, own) as service, open_bare(server, bare, service.facts) as target:
            ours, reference = side_of(service), side_of(target)
            await interleave(ours, reference, rounds, on_round)
            return [
                row_of_costs(
                    "lifecycle_honest", ours.sums, reference.sums, aim=AIM,
                    ours_parts=ours.parts, reference_parts=reference.parts,
                    ours_sql=await ours.count_statements(server),
                    reference_sql=await reference.count_statements(server),
                )
            ]  # fmt: skip
