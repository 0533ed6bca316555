"""What is looked at now and then goes on where it was, whatever the machine's clock did meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlmodel import col

from returns_service.commands.stripe_fold import SECOND_LOOK_SECONDS
from returns_service.domain.policy import DEFAULT
from returns_service.domain.stripe_objects import StripeEventData, TryLater
from returns_service.store.tables import Payment, ReturnAuthorization, StripeEvent
from returns_service.stripe_gateway import StripeSilent
from returns_service.worker import missed_events
from returns_service.worker.maintenance import find_due_chores
from returns_service.worker.missed_events import (
    STRIPE_KEEPS,
    SWEEP_EVERY_SECONDS,
    SWEEP_LEASE_SECONDS,
    is_time_to_pull,
    pull_missed_events,
)
from returns_service.worker.reconcile import reconcile_daily
from tests.harness.shop import BY, Shop


async def pull(shop: Shop, listing: Any = None) -> int | None:
    return await pull_missed_events(shop.db, listing or shop.gateway, BY, DEFAULT, livemode=False)


async def test_a_look_finds_each_chore_that_is_due_and_no_other(shop: Shop) -> None:
    assert await shop.db.read(find_due_chores) == ["pull_event"]
    await pull(shop)
    return_id = await shop.authorize_return(shop.pay(9000))
    assert await shop.db.read(find_due_chores) == [], "the new payment is read again in a minute"
    shop.advance(SECOND_LOOK_SECONDS)
    assert await shop.db.read(find_due_chores) == ["read_payment"]
    await shop.execute(update(Payment).values(read_at=None))
    chosen = update(ReturnAuthorization).where(col(ReturnAuthorization.id) == return_id)
    await shop.execute(chosen.values(follow_up_at=shop.time, slip_code=None))
    event = {"id": "evt_1", "type": "refund.updated", "payload": "{}", "received_at": shop.time, "attempts": 1}
    await shop.execute(insert(StripeEvent).values(**event, next_attempt_at=shop.time))
    assert await shop.db.read(find_due_chores) == ["fold_event", "follow_up", "complete_return"]
    shop.advance(SWEEP_EVERY_SECONDS)
    assert "pull_event" in await shop.db.read(find_due_chores)


async def test_a_clock_that_was_ahead_for_a_while_skips_no_event(shop: Shop) -> None:
    right = shop.time
    shop.clock.time += 2 * STRIPE_KEEPS
    assert await pull(shop) == 0
    shop.clock.time = right
    assert await pull(shop) == 0
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 500)
    shop.lose_webhooks()
    shop.advance(SWEEP_EVERY_SECONDS + 1)
    assert await pull(shop)
    assert [row.amount for row in await shop.refunds()] == [500]


async def test_what_came_in_a_long_outage_is_pulled_though_nothing_had_come_before(shop: Shop) -> None:
    assert await pull(shop) == 0
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 500)
    shop.lose_webhooks()
    shop.advance(5 * 86_400)
    assert await pull(shop)
    assert [row.amount for row in await shop.refunds()] == [500]


class WatchedList:
    """Stripe's list of events: it takes its time, may fall silent, and tells what was in memory and held meanwhile."""

    def __init__(self, shop: Shop, silent_after: int | None = None) -> None:
        self.shop, self.silent_after = shop, silent_after
        self.read = self.most_in_memory = 0
        self.is_held = True

    async def events_since(self, *asked: Any) -> AsyncIterator[StripeEventData]:
        """Yield the events. Raises StripeSilent where Stripe is to fall silent."""
        async for event in self.shop.gateway.events_since(*asked):
            if self.read == self.silent_after:
                raise StripeSilent(TryLater("rate_limit", "Not now."))
            self.read += 1
            self.shop.clock.advance(SWEEP_LEASE_SECONDS / 4)
            self.is_held &= not await self.shop.db.read(is_time_to_pull)
            self.most_in_memory = max(self.most_in_memory, self.read - await inbox_size(self.shop))
            yield event


async def inbox_size(shop: Shop) -> int:
    async with shop.db.reading() as tx:
        return int((await tx.execute(select(func.count()).select_from(StripeEvent))).scalar_one())


async def test_a_long_list_is_taken_in_part_by_part_and_goes_on_after_stripe_fell_silent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_events, "PART_EVENTS", 3)
    assert await pull(shop) == 0
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    for amount in range(1, 8):
        shop.dashboard.refund(intent, amount)
    shop.lose_webhooks()
    shop.advance(SWEEP_EVERY_SECONDS + 1)
    silent = WatchedList(shop, silent_after=7)
    assert await pull(shop, silent) == 6, "two parts were whole"
    shop.advance(SWEEP_EVERY_SECONDS + 1)
    whole = WatchedList(shop)
    assert await pull(shop, whole) == whole.read - 6 > 3
    assert silent.most_in_memory == 3
    assert {silent.is_held, whole.is_held} == {True}, "or another worker would list it all again beside this one"
    assert sorted(row.amount for row in await shop.refunds()) == list(range(1, 8))
    shop.advance(SWEEP_EVERY_SECONDS + 1)
    assert await pull(shop) == 0


async def test_a_clock_that_was_ahead_for_a_while_does_not_put_off_the_daily_comparison(shop: Shop) -> None:
    right = shop.time
    shop.clock.time += timedelta(days=365)
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
    shop.clock.time = right
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is not None
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
