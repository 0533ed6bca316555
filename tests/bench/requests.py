"""One kind of request, many times, to the service and to the bare routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx

from tests.bench.result import Row, row_of_costs
from tests.bench.rounds import Side, interleave
from tests.bench.stage import SHOPS, Service, Target, create_database, open_bare, open_server, open_service
from tests.harness.postgres import Postgres

LIVES = 25  # that a list finds


@dataclass(frozen=True)
class Call:
    """A request as it is sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


MakeCall = Callable[[Target, int], Call]  # the target, the request's number


@dataclass(frozen=True)
class Both:
    """The service and the bare routes, each with its own life played."""

    server: Postgres
    service: Service
    bare: Target
    bare_returns: Sequence[str]


async def measure_requests(
    name: str,
    aim: float,
    units: tuple[int, int],
    rounds: int,
    on_round: Callable[[], None],
    calls: Callable[[Both], Awaitable[tuple[MakeCall, MakeCall]]],
) -> Sequence[Row]:
    """Compare requests; `calls` makes those of the service and of the reference, `units` are sent a round."""
    async with open_server() as server:
        own, bare = await create_database(server), await create_database(server)
        async with open_service(server, own) as service, open_bare(server, bare, service.facts) as target:
            service.returns += await service.live(await service.pay(LIVES))
            both = Both(server, service, target, await target.live(await target.pay(LIVES)))
            service.end_workers()
            make_ours, make_theirs = await calls(both)
            ours = requests_side(service, make_ours, units[0])
            reference = requests_side(target, make_theirs, units[1])
            await interleave(ours, reference, rounds, on_round)
            return [
                row_of_costs(
                    name, ours.sums, reference.sums, aim=aim,
                    ours_parts=ours.parts, reference_parts=reference.parts,
                    ours_sql=await ours.count_statements(server),
                    reference_sql=await reference.count_statements(server),
                )
            ]  # fmt: skip


def requests_side(target: Target, make: MakeCall, units: int) -> Side:
    """Return a side that sends requests, made beforehand."""
    sent = 0

    async def prepare(number: int) -> list[Call]:
        nonlocal sent
        sent += number
        return [make(target, sent - at) for at in range(number)]

    async def work(calls: list[Call]) -> None:
        left = iter(calls)
        await asyncio.gather(*(send(target.client, target.urls[0], left) for _ in range(SHOPS)))

    return Side(prepare, work, target.meter, units)


async def send(client: httpx.AsyncClient, url: str, calls: Iterator[Call]) -> None:
    """Send requests one after the other. Raises AssertionError for an answer that isn't 200."""
    for call in calls:
        response = await client.request(call.method, url + call.path, headers=call.headers, content=call.body)
        assert response.status_code == 200, response.text
