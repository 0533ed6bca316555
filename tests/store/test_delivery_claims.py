"""Leases of deliveries: one owner each, no later one of a stream beside an earlier, whoever claims at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from returns_service.commands.webhook_deliveries import fan_out, record_delivery
from returns_service.domain.webhook_signature import Attempt
from returns_service.return_case import event_feed
from returns_service.store.database import Database
from returns_service.store.delivery_claims import DELIVERY_LEASE_SECONDS, DeliveryClaim, claim_deliveries, waiting
from returns_service.store.tables import Delivery, WebhookEndpoint
from tests.harness.clock import Clock
from tests.harness.patience import complete
from tests.harness.webhook_receivers import WebhookReceivers


async def told(database: Database, streams: int, each: int) -> str:
    """Return an endpoint with so many deliveries due."""
    receivers = WebhookReceivers(database)
    endpoint_id, _ = await receivers.create_endpoint()
    returns = [await receivers.create_return() for _ in range(streams)]
    for _ in range(each):
        for return_id in returns:
            await receivers.record_events(return_id)
    await event_feed.bring_up_to_date(database)
    await database.run(fan_out)
    return endpoint_id


async def claim(database: Database, endpoint_id: str, limit: int = 100) -> list[DeliveryClaim]:
    return await database.run(lambda tx: claim_deliveries(tx, {endpoint_id: limit}))


async def test_only_the_first_of_each_stream_is_claimed(database: Database) -> None:
    endpoint_id = await told(database, streams=4, each=3)
    first = await claim(database, endpoint_id)
    assert len(first) == 4
    assert [c.event.sequence for c in first] == [1] * 4
    assert await claim(database, endpoint_id) == []
    for one in first:
        await database.run(lambda tx, one=one: record_delivery(tx, one, Attempt(200, None)))  # type: ignore[misc]
    assert [c.event.sequence for c in await claim(database, endpoint_id)] == [2] * 4


async def test_a_claim_takes_no_more_than_its_limit_and_the_oldest_first(database: Database) -> None:
    endpoint_id = await told(database, streams=5, each=1)
    first, second = await claim(database, endpoint_id, 2), await claim(database, endpoint_id, 9)
    assert (len(first), len(second)) == (2, 3)
    places = [c.event.position for c in first + second]
    assert places == sorted(places, key=lambda place: place or 0)


async def test_a_lease_that_ended_is_anothers_under_a_new_token(database: Database, clock: Clock) -> None:
    endpoint_id = await told(database, streams=1, each=2)
    (lost,) = await claim(database, endpoint_id)
    clock.advance(DELIVERY_LEASE_SECONDS)
    (taken,) = await claim(database, endpoint_id)
    assert (taken.delivery_id, taken.token) == (lost.delivery_id, lost.token + 1)


async def test_what_an_endpoint_waits_for_is_told(database: Database, clock: Clock) -> None:
    endpoint_id = await told(database, streams=1, each=1)
    async with database.reading() as tx:
        (before,) = await waiting(tx)
    assert (before.endpoint_id, before.enabled, before.due_at) == (endpoint_id, True, clock.time)
    (one,) = await claim(database, endpoint_id)
    await database.run(lambda tx: record_delivery(tx, one, Attempt(200, None)))
    async with database.reading() as tx:
        assert [endpoint.due_at for endpoint in await waiting(tx)] == [None]


async def test_a_fan_out_done_twice_tells_nothing_twice(database: Database) -> None:
    await told(database, streams=2, each=2)
    assert await database.run(fan_out) == []
    async with database.transaction() as tx:
        await tx.execute(update(WebhookEndpoint).values(position=0))
    await database.run(fan_out)
    async with database.reading() as tx:
        events = (await tx.exec(select(Delivery.event_id))).all()
    assert len(events) == len(set(events)) == 4


@pytest.mark.parametrize("workers", [2, 12])
async def test_many_workers_at_once_keep_one_owner_and_the_order(postgresql: Database, workers: int) -> None:
    endpoint_id = await told(postgresql, streams=10, each=6)
    under_way: set[str] = set()
    done: dict[str | None, list[int | None]] = defaultdict(list)

    async def work() -> None:
        while sum(map(len, done.values())) < 60:
            claims = await claim(postgresql, endpoint_id, 3)
            for one in claims:
                assert one.event.return_id not in under_way
                under_way.add(str(one.event.return_id))
            await asyncio.sleep(0)
            for one in claims:
                done[one.event.return_id].append(one.event.sequence)
                under_way.discard(str(one.event.return_id))
                await postgresql.run(lambda tx, one=one: record_delivery(tx, one, Attempt(200, None)))  # type: ignore[misc]

    working = asyncio.gather(*(work() for _ in range(workers)))
    await complete(working, "60 deliveries", progress=lambda: sum(map(len, done.values())))
    assert list(done.values()) == [[1, 2, 3, 4, 5, 6]] * 10


async def test_fan_outs_at_once_tell_everybody_once(postgresql: Database) -> None:
    receivers = WebhookReceivers(postgresql)
    for number in range(4):
        await receivers.create_endpoint(f"{number}.test")
    return_id = await receivers.create_return()

    async def tell() -> None:
        for _ in range(5):
            await event_feed.bring_up_to_date(postgresql)
            await postgresql.run(fan_out)
            await asyncio.sleep(0.01)

    async def happen() -> None:
        for _ in range(10):
            await receivers.record_events(return_id)

    await asyncio.gather(happen(), *(tell() for _ in range(6)))
    await tell()
    async with postgresql.reading() as tx:
        rows: Any = (await tx.execute(select(col(Delivery.endpoint_id), col(Delivery.event_id)))).all()
    assert len(rows) == len({tuple(row) for row in rows}) == 40
