"""What Stripe charged is counted once, whatever is counted twice; a day above the limit is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, func, select

from returns_service.commands.charge_totals import (
    AGAIN_AFTER,
    EVERY_SECONDS,
    claim_window,
    counted_span,
    next_window,
    record_totals,
)
from returns_service.domain.periods import day_at
from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.stripe_objects import ListedCharge
from returns_service.store.tables import ChargeTotal, Event
from returns_service.stripe_simulator import Request, answer
from returns_service.worker.charges import count_charges, sum_charges
from tests.harness.shop import BY, KEY, Shop

DAY_SECONDS = 86_400


async def count(shop: Shop, policy: Policy = DEFAULT, *, looks: int = 1) -> int:
    return sum([await count_charges(shop.db, shop.gateway, BY, policy) for _ in range(looks)])


async def sums(shop: Shop) -> dict[str, tuple[int, int]]:
    """Return how many charges are known and what they captured, by currency."""
    chosen = select(ChargeTotal.currency, func.sum(ChargeTotal.number), func.sum(ChargeTotal.amount))
    async with shop.db.reading() as tx:
        found = (await tx.exec(chosen.group_by(col(ChargeTotal.currency)))).all()
    return {currency: (int(number), int(amount)) for currency, number, amount in found}


async def told(shop: Shop) -> list[dict[str, Any]]:
    """Return what was told of days above the limit."""
    chosen = select(Event).where(col(Event.type) == "refund_rate.exceeded").order_by(col(Event.id))
    async with shop.db.reading() as tx:
        return [event.data for event in (await tx.exec(chosen)).all()]


def ask(shop: Shop, path: str, **form: Any) -> dict[str, Any]:
    """Ask the simulated Stripe."""
    request = Request("POST", path, "", {"authorization": f"Bearer {KEY}"}, urlencode(form).encode())
    return dict(answer(shop.ledger, request).json())


async def refund(shop: Shop, intent: str, amount: int) -> None:
    """Return part of a payment's money through a return of its own."""
    return_id = await shop.authorize_return(intent, units=1, amount=amount, order_id=f"order_{shop.clock.unix()}")
    await shop.count(return_id)
    await shop.work()
    await shop.deliver()


async def test_sums_are_what_stripe_captured_counted_once(shop: Shop) -> None:
    shop.pay(10_000)
    shop.pay(5000, currency="eur")
    shop.pay(700, "pm_card_chargeDeclined")
    shop.advance(60)
    assert await count(shop) == 2
    assert await sums(shop) == {"usd": (1, 10_000), "eur": (1, 5000)}
    shop.pay(300)
    shop.advance(EVERY_SECONDS)
    assert await count(shop, looks=3)
    assert await sums(shop) == {"usd": (2, 10_300), "eur": (1, 5000)}


async def test_the_past_is_counted_back_to_the_begin_of_the_longest_period(shop: Shop) -> None:
    shop.pay(10_000)
    shop.advance(2.5 * DAY_SECONDS)
    await count(shop)
    assert await sums(shop) == {}
    await count(shop, looks=2)
    assert await sums(shop) == {"usd": (1, 10_000)}
    async with shop.db.reading() as tx:
        span = await counted_span(tx)
    assert span is not None
    assert span.end == shop.time
    assert timedelta(days=3) <= shop.time - span.begin < timedelta(days=3, minutes=15)
    assert next_window("charges_past", (shop.time - timedelta(days=182)).isoformat(), shop.time) is None


async def test_what_is_captured_late_counts_for_the_day_it_was_authorized_on(shop: Shop) -> None:
    await count(shop)
    shop.advance(3600)
    held = ask(shop, "/v1/payment_intents", amount=10_000, currency="usd", payment_method="pm_card_visa",
               confirm="true", capture_method="manual")  # fmt: skip
    shop.advance(600)
    await count(shop)
    assert await sums(shop) == {}
    shop.advance(2 * DAY_SECONDS)
    await count(shop, looks=3)
    ask(shop, f"/v1/payment_intents/{held['id']}/capture")
    shop.advance(EVERY_SECONDS)
    await count(shop)
    assert await sums(shop) == {}, "its quarter of an hour was counted before"
    shop.advance(AGAIN_AFTER.total_seconds())
    await count(shop, looks=12)
    assert await sums(shop) == {"usd": (1, 10_000)}


async def test_a_worker_that_was_overtaken_writes_nothing(shop: Shop) -> None:
    shop.advance(60)
    late = await shop.db.run(lambda tx: claim_window(tx, "charges"))
    assert late is not None
    assert await shop.db.run(lambda tx: claim_window(tx, "charges")) is None, "somebody is at it"
    stale = await sum_charges(shop.gateway, late)
    shop.pay(10_000)
    shop.advance(700)
    await count(shop)
    assert not await shop.db.run(lambda tx: record_totals(tx, late, stale))
    assert await sums(shop) == {"usd": (1, 10_000)}


async def test_where_stripe_is_silent_nothing_is_lost(shop: Shop) -> None:
    shop.pay(10_000)
    shop.advance(60)
    shop.wire.down = True
    assert await count(shop) == 0
    shop.wire.down = False
    assert await count(shop) == 0, "not at once again"
    shop.advance(60)
    assert await count(shop)
    assert await sums(shop) == {"usd": (1, 10_000)}


async def test_a_worker_that_is_stopped_gives_its_window_back(shop: Shop) -> None:
    class Stopped:
        async def charges_between(self, since: datetime, before: datetime) -> AsyncIterator[ListedCharge]:
            yield ListedCharge(since, "usd", 100)
            raise asyncio.CancelledError

    shop.pay(10_000)
    shop.advance(60)
    stopped: Any = Stopped()
    with pytest.raises(asyncio.CancelledError):
        await count_charges(shop.db, stopped, BY, DEFAULT)
    assert await sums(shop) == {}
    shop.advance(60)
    assert await count(shop)
    assert await sums(shop) == {"usd": (1, 10_000)}


async def test_a_clock_that_was_ahead_for_a_while_leaves_no_gap(shop: Shop) -> None:
    right = shop.time
    shop.clock.time += timedelta(days=3)
    await count(shop)
    shop.clock.time = right + timedelta(hours=2)
    shop.pay(10_000)
    shop.advance(EVERY_SECONDS)
    assert await count(shop)
    assert await sums(shop) == {"usd": (1, 10_000)}


async def test_a_day_above_the_limit_is_told_once_and_stands_on_the_desk(shop: Shop) -> None:
    intent = shop.pay(10_000)
    shop.advance(DAY_SECONDS)
    await refund(shop, intent, 2000)
    await count(shop, looks=3)
    (said,) = await told(shop)
    assert said == {
        "day": "2026-11-25", "time_zone": "UTC", "so_far": True, "currency": "usd", "amount_refunded": 2000,
        "amount_charged": 0, "refund_rate": None, "refund_rate_alert": 0.1,
    }  # fmt: skip
    (item,) = (await shop.desk("refund_rate"))["data"]
    assert (item["code"], item["amount"], item["currency"]) == ("refund_rate_exceeded", 2000, "usd")
    await refund(shop, intent, 3000)
    shop.advance(EVERY_SECONDS)
    await count(shop, looks=2)
    assert len(await told(shop)) == 1, "a day is told once"
    shop.advance(8 * DAY_SECONDS)
    assert (await shop.desk("refund_rate"))["data"] == []


async def test_the_first_refunds_of_a_morning_are_no_alarm(shop: Shop) -> None:
    intent = shop.pay(10_000)
    for _ in range(9):
        shop.pay(10_000)
    shop.advance(DAY_SECONDS)
    await refund(shop, intent, 9000)
    await count(shop, looks=3)
    assert await told(shop) == []
    shop.advance(DAY_SECONDS)
    shop.pay(1000)
    await count(shop, looks=2)
    assert await told(shop) == [], "on the day after nothing was charged on it: it has no rate"


async def test_a_day_that_is_over_is_held_against_what_it_charged_itself(shop: Shop) -> None:
    intent = shop.pay(10_000)
    for _ in range(9):
        shop.pay(10_000)
    shop.advance(DAY_SECONDS)
    shop.pay(20_000)
    await refund(shop, intent, 9000)
    await count(shop, looks=3)
    assert await told(shop) == []
    shop.advance(DAY_SECONDS)
    await count(shop, looks=2)
    (said,) = await told(shop)
    assert (said["day"], said["so_far"], said["refund_rate"]) == ("2026-11-25", False, 0.45)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
async def test_the_day_is_the_policys(shop: Shop, zone: str) -> None:
    policy = replace(DEFAULT, time_zone=zone)
    intent = shop.pay(10_000)
    await refund(shop, intent, 5000)
    shop.advance(60)
    await count(shop, policy, looks=3)
    (said,) = await told(shop)
    assert (said["day"], said["time_zone"]) == (day_at(shop.time, ZoneInfo(zone)).isoformat(), zone)
    assert said["refund_rate"] == 0.5


async def test_a_refund_that_failed_since_counts_for_nothing(shop: Shop) -> None:
    intent = shop.pay(10_000, "pm_card_refundFail")
    await refund(shop, intent, 5000)
    shop.advance(60)
    await shop.deliver()
    await count(shop, looks=3)
    assert await told(shop) == []
