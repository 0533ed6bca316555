"""Refunds at Stripe that are not what their metadata says, and what moves while two ledgers are compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from returns_service.store.tables import Refund
from returns_service.worker.reconcile import Report, reconcile
from tests.harness.shop import Shop
from tests.worker.steps import forget_row

LOST = "rfd_01kbmxv1ateg6vd2a5t8mh6r4z"  # of ours, and in no table


async def compare(shop: Shop, *, fix: bool = False) -> Report:
    return await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=fix)


async def test_two_refunds_for_one_lost_intent_get_two_rows(shop: Shop) -> None:
    intent = shop.pay(9000)
    for _ in range(2):
        shop.dashboard.refund(intent, 700, metadata={"refund_id": LOST})
        shop.advance(1)
    shop.lose_webhooks()
    assert not (await compare(shop, fix=True)).differs
    first, second = sorted(await shop.refunds(), key=lambda row: row.id != LOST)
    assert (first.id, first.source, first.duplicate_of) == (LOST, "standalone", None)
    assert (second.source, second.duplicate_of, second.amount) == ("external", LOST, 700)


async def test_b4_a_callers_return_id_gives_a_lost_refund_to_no_return(shop: Shop) -> None:
    """B4: it was adopted there after a restore, and the dock's unit was never paid."""
    intent = shop.pay(20_000)
    return_id = await shop.authorize_return(intent, units=1, amount=5000)
    shop.dashboard.refund(intent, 5000, metadata={"refund_id": LOST, "return_id": return_id, "order_id": "order_1"})
    shop.lose_webhooks()
    assert not (await compare(shop, fix=True)).differs
    (row,) = await shop.refunds()
    assert (row.id, row.source, row.return_id) == (LOST, "standalone", None)
    shown = await shop.count(return_id)
    assert (shown["state"], shown["amount_open"]) == ("refunding", 5000)


@pytest.mark.parametrize("theirs", [{}, {"return_id": "RMA-7", "order_id": "web-7"}])
async def test_b4_a_callers_metadata_stays_theirs_and_the_return_is_found_again(
    shop: Shop, theirs: dict[str, str]
) -> None:
    return_id = await shop.authorize_return(shop.pay(5000), units=1, amount=5000, metadata=theirs)
    await shop.count(return_id)
    await shop.work()
    (row,) = await shop.refunds()
    kept = dict(shop.ledger.refunds[str(row.stripe_refund)]["metadata"])
    ours = {"return_id": return_id, "order_id": "order_1", "refund_id": row.id, "lines": kept["lines"]}
    assert kept == {**ours, **theirs}
    await forget_row(shop, row)
    shop.lose_webhooks()
    assert not (await compare(shop, fix=True)).differs
    (again,) = await shop.refunds()
    assert (again.id, again.return_id, again.source, again.breakdown) == (row.id, return_id, "return", row.breakdown)
    assert (await shop.show_return(return_id))["amount_due"] == 0


async def test_a_refund_of_no_payment_is_only_counted(shop: Shop) -> None:
    """A customer's cash balance is refunded without a payment: https://docs.stripe.com/api/refunds/create."""
    made = shop.dashboard.refund(shop.pay(9000), 700, metadata={"refund_id": LOST})
    shop.ledger.refunds[made["id"]].update(payment_intent=None, charge=None)
    report = await compare(shop, fix=True)
    assert not report.differs
    assert report.run.counts["unknown_payment"] == 1


@pytest.mark.parametrize("fix", [False, True])
async def test_an_answer_that_came_after_the_read_is_no_difference(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fix: bool
) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.count(return_id)
    shop.faults.arm("drop_before", count=1, path="/v1/refunds")
    await shop.work()
    assert [r.status for r in await shop.refunds()] == ["unknown"]
    read = shop.gateway.read_payment

    async def then_the_worker_asks_again(**named: Any) -> Any:
        seen = await read(**named)
        monkeypatch.undo()
        shop.advance(60)
        await shop.work()
        return seen

    monkeypatch.setattr(shop.gateway, "read_payment", then_the_worker_asks_again)
    report = await compare(shop, fix=fix)
    assert [r.status for r in await shop.refunds()] == ["succeeded"]
    assert await shop.outcomes(report) == []
    assert not report.differs


async def test_the_name_of_another_payments_refund_is_no_restored_backup(shop: Shop) -> None:
    row = await shop.complete_refund()
    shop.dashboard.refund(shop.pay(9000), 700, metadata={"refund_id": row.id})
    (found,) = await shop.differences(await compare(shop))
    assert (found.code, found.outcome) == ("two_for_one_intent", "found")
    assert "another payment" in found.cause
    assert await shop.outcomes(await compare(shop, fix=True)) == [("two_for_one_intent", "fixed")]
    assert [r.duplicate_of for r in await shop.refunds() if r.id != row.id] == [row.id]
    assert not (await compare(shop)).differs


async def test_the_name_of_what_another_payments_worker_asks_for_hides_nothing(shop: Shop) -> None:
    row = await shop.complete_refund()
    asking = {"status": "submitted", "stripe_refund": None, "lease_until": shop.time + timedelta(seconds=30)}
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(**asking))
    shop.dashboard.refund(shop.pay(9000), 700, metadata={"refund_id": row.id})
    report = await compare(shop)
    assert await shop.outcomes(report) == [("two_for_one_intent", "found")]
    assert report.run.counts["under_way"] == 1


@pytest.mark.parametrize("year", [1, 110, 1969])
async def test_since_ever_means_all_refunds(shop: Shop, year: int) -> None:
    await shop.complete_refund()
    for _ in range(2):
        report = await reconcile(shop.db, shop.gateway, datetime(year, 1, 1, tzinfo=UTC), fix=False)
        assert report.run.counts["at_stripe"] == 1


async def test_a_short_look_back_takes_nothing_older_off_the_desk(shop: Shop) -> None:
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 500)
    shop.lose_webhooks()
    shop.advance(3 * 86_400)
    assert (await compare(shop)).differs
    waiting = await shop.desk_items()
    assert [kind for kind, _, _ in waiting] == ["difference"]
    assert not (await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=1), fix=True)).differs
    assert await shop.desk_items() == waiting
    await compare(shop, fix=True)
    assert [kind for kind, _, _ in await shop.desk_items()] == ["external_refund"], "adopted, and nobody knows what for"
