"""A feed that nobody reads is placed all the same, part by part: its first reader waits for no year's events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlmodel import col, select

from returns_service.domain.policy import DEFAULT
from returns_service.return_case import event_feed
from returns_service.store.database import Database
from returns_service.store.tables import Event
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.loop import Worker
from returns_service.worker.refunds import RefundExecutor
from tests.factories import create_event, create_return
from tests.harness.patience import wait_for
from tests.harness.served_shop import ServedShop, expect

NAMES = "abcde"


async def write_events(database: Database) -> None:
    """Write a return's events by clocks that differ, `d` and `e` before `a`, and two of nothing in particular."""
    async with database.transaction() as tx:
        row = await create_return(tx)
        sequences = {"a": 3, "d": 1, "e": 2}
        for name in NAMES:
            of = {"return_id": row.id, "sequence": sequences[name]} if name in sequences else {}
            await create_event(tx, id=f"evt_{name}", **of)


async def places(database: Database) -> Sequence[tuple[int | None, str]]:
    """Return the feed."""
    async with database.reading() as tx:
        chosen = select(Event.position, Event.id).order_by(col(Event.position))
        return [(position, name.removeprefix("evt_")) for position, name in (await tx.exec(chosen)).all()]


@pytest.mark.parametrize("at_once", [1, 2, 5000])
async def test_parts_keep_each_returns_order(shop: ServedShop, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(event_feed, "PLACED_AT_ONCE", at_once)
    await write_events(shop.db)
    await event_feed.bring_up_to_date(shop.db)
    feed = await places(shop.db)
    assert [position for position, _ in feed] == [1, 2, 3, 4, 5]
    assert [name for _, name in feed if name in "ade"] == ["d", "e", "a"]
    assert sorted(name for _, name in feed) == list(NAMES)


async def test_a_new_listener_is_told_nothing_of_what_was_before(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "PLACED_AT_ONCE", 2)
    await write_events(shop.db)
    expect(await shop.post("/v1/webhook_endpoints", {"url": "https://shop.test/hook", "events": ["*"]}), 201)
    assert await WebhookDispatcher(shop.db, shop.context.line).claim() == []


async def test_a_worker_places_events_that_nobody_asks_for(shop: ServedShop) -> None:
    await write_events(shop.db)
    executor = RefundExecutor(shop.db, shop.gateway)
    worker = Worker(executor, WebhookDispatcher(shop.db, shop.context.line), DEFAULT, livemode=False)
    stop = asyncio.Event()
    work = asyncio.create_task(worker.run(stop))
    try:
        await wait_for(lambda: places(shop.db), "places", until=lambda feed: feed[-1][0] == 5, progress=work.done)
    finally:
        stop.set()
        await work
