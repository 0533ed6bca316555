"""What stands still as a whole is on the desk: Stripe's silence, news that can't be read, work nobody does."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from returns_service.commands import (
    stripe_inbox,
)
from returns_service.domain.policy import DEFAULT
from returns_service.domain.stripe_objects import StripeEventData
from returns_service.return_case.events import Actor
from returns_service.store.stripe_throttle import BREAK_AFTER
from returns_service.store.tables import Refund, StripeEvent
from returns_service.stripe_gateway import StripeSilent
from returns_service.worker import maintenance
from returns_service.worker.missed_events import SWEEP_EVERY_SECONDS, pull_missed_events
from returns_service.worker.reconcile import reconcile
from tests.harness.shop import Shop, execute_due_refunds
from tests.worker.steps import due, later

HOUR, DAY = 3600, 86_400
REFUNDS = "/v1/refunds"
STRIPE = Actor("stripe")


async def test_an_event_that_nobody_can_fold_waits_from_the_fifth_try_on(shop: Shop) -> None:
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 500)
    mail = shop.ledger.due_webhooks()[-1]
    good = shop.ledger.body_of(mail).decode()
    whole = json.loads(good)
    bad = json.dumps({**whole, "data": {"object": {**whole["data"]["object"], "id": 7}}})
    name, kind, error = mail.event["id"], mail.event["type"], "`id` is no text"
    news = StripeEventData(name, kind, shop.time, False, None, None, bad, unreadable=error)
    await shop.db.run(lambda tx: stripe_inbox.store_and_fold(tx, STRIPE, DEFAULT, news, livemode=False))
    for _ in range(4):
        assert await shop.desk_items() == []
        shop.advance(6 * HOUR)
        assert await maintenance.refold_event(shop.db, STRIPE, DEFAULT, livemode=False)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["stripe_event"], item["attempts"]) == ("stripe_event", news.id, 5)
    assert item["next_attempt_at"] is not None
    assert f"ValueError: {error}" in item["message"]
    await shop.execute(update(StripeEvent).values(payload=good))  # as if a newer release could read it
    shop.advance(6 * HOUR)
    assert await maintenance.refold_event(shop.db, STRIPE, DEFAULT, livemode=False)
    assert await shop.desk_items() == []


async def test_stripes_list_that_cannot_be_read_waits_from_an_hour_on(shop: Shop) -> None:
    async def pulled(seconds: float) -> int | None:
        shop.advance(seconds)
        return await pull_missed_events(shop.db, shop.gateway, STRIPE, DEFAULT, livemode=False)

    assert await pulled(0) == 0
    shop.faults.arm("503_html", method="GET", path="/v1/events")
    for _ in range(11):
        assert await pulled(SWEEP_EVERY_SECONDS) == 0
    assert await shop.desk_items() == []
    await pulled(2 * SWEEP_EVERY_SECONDS)
    assert await shop.desk_items() == [("stripe_silent", "events_not_listed", [])]
    shop.faults.disarm()
    await pulled(SWEEP_EVERY_SECONDS)
    assert await shop.desk_items() == []


async def test_a_comparison_that_never_ends_waits_from_a_day_on(shop: Shop) -> None:
    await shop.complete_refund()
    shop.faults.arm("503_html", method="GET", path="/v1/refunds")
    for hours in (0, 12, 11):
        shop.advance(hours * HOUR)
        with pytest.raises(StripeSilent):
            await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=False)
        assert await shop.desk_items() == []
    shop.advance(2 * HOUR)
    assert await shop.desk_items() == [("stripe_silent", "comparison_unfinished", [])]
    shop.faults.disarm()
    await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=False)
    assert await shop.desk_items() == []


async def test_a_stripe_that_gives_no_answer_waits_once_for_all(shop: Shop) -> None:
    await due(shop)
    shop.faults.arm("drop_before", method="*", path="*")
    for _ in range(BREAK_AFTER):
        shop.advance(300)
        await execute_due_refunds(shop.db, shop.gateway)
    (first, *_) = (await shop.desk())["data"]
    assert (first["kind"], first["code"]) == ("stripe_silent", "calls_pause")
    assert "cut" in first["message"] or "connection" in first["message"].lower()
    shop.faults.disarm()
    await later(shop, 300, times=2)
    assert await shop.desk_items() == []


async def test_refunds_that_wait_for_a_silent_stripe_are_not_laid_on_the_worker(shop: Shop) -> None:
    for number in range(15):  # more than are probed in ten minutes
        await shop.count(await shop.authorize_return(shop.pay(9000), order_id=f"order_{number}"))
    shop.faults.arm("drop_before", method="*", path="*")
    for _ in range(2 * BREAK_AFTER):
        shop.advance(60)
        await execute_due_refunds(shop.db, shop.gateway)
    found = {item["kind"]: item for item in (await shop.desk())["data"]}
    assert found["stripe_silent"]["code"] == "calls_pause"
    assert "nobody has looked" not in found["work_overdue"]["message"]
    assert "Stripe" in found["work_overdue"]["message"]


async def test_refunds_that_nobody_looks_at_wait_once_for_all(shop: Shop) -> None:
    for number in range(3):
        await shop.count(await shop.authorize_return(shop.pay(9000), order_id=f"order_{number}"))
    shop.advance(9 * 60)
    assert await shop.desk_items() == []
    shop.advance(2 * 60)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"]) == ("work_overdue", "refunds_overdue")
    assert item["message"].endswith(" 3 refunds.")
    await shop.work()
    assert await shop.desk_items() == []


async def test_what_a_comparison_found_waits_until_it_is_repaired(shop: Shop) -> None:
    refund = await shop.complete_refund()
    await shop.execute(update(Refund).values(status="pending"))
    since = shop.time - timedelta(days=1)
    await reconcile(shop.db, shop.gateway, since, fix=False)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"], item["refund"]) == ("difference", "other_status", refund.id)
    assert (item["amount"], item["return"]) == (3000, refund.return_id)
    assert "--fix" in item["advice"]
    shop.advance(1)
    await reconcile(shop.db, shop.gateway, since, fix=True)
    assert await shop.desk_items() == []
