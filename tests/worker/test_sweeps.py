"""What is looked at now and then goes on where it was, whatever the machine's clock did meanwhile."""

from __future__ import annotations

from datetime import timedelta

from returns_service.domain.policy import DEFAULT
from returns_service.worker.missed_events import STRIPE_KEEPS, SWEEP_EVERY_SECONDS, pull_missed_events
from returns_service.worker.reconcile import reconcile_daily
from tests.harness.shop import BY, Shop


async def pull(shop: Shop) -> int | None:
    return await pull_missed_events(shop.db, shop.gateway, BY, DEFAULT, livemode=False)


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


async def test_a_clock_that_was_ahead_for_a_while_does_not_put_off_the_daily_comparison(shop: Shop) -> None:
    right = shop.time
    shop.clock.time += timedelta(days=365)
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
    shop.clock.time = right
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is not None
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
