"""Each way in which two ledgers can come to differ, what the report says of it, and what may be repaired."""

from __future__ import annotations

import gc
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from returns_service.commands import failed_refunds, refund_actions, refunds
from returns_service.commands.failed_refunds import Part
from returns_service.domain.policy import DEFAULT
from returns_service.domain.problems import Problem
from returns_service.domain.refund_mark import write_mark
from returns_service.domain.stripe_objects import RefundSnapshot
from returns_service.return_case.locked_payment import find_payment_id, lock_payment
from returns_service.store.database import Tx
from returns_service.store.tables import Event, Payment, Refund
from returns_service.stripe_gateway import client as stripe_client
from returns_service.worker import reconcile as reconciling
from returns_service.worker.reconcile import reconcile
from tests.harness.shop import BY, Shop
from tests.worker.steps import compare, forget_row


async def test_equal_ledgers_differ_in_nothing(shop: Shop) -> None:
    await shop.complete_refund()
    await shop.complete_refund()
    report = await compare(shop)
    assert not report.differs
    assert await shop.outcomes(report) == []
    assert report.run.counts["at_stripe"] == 2
    assert report.run.finished_at is not None


async def test_a_refund_that_is_missing_here_is_adopted_under_its_return(shop: Shop) -> None:
    lost = await shop.complete_refund()
    await forget_row(shop, lost)
    report = await compare(shop)
    assert report.differs
    assert await shop.outcomes(report) == [("missing_here", "found")]
    assert await shop.refunds() == []
    fixed = await compare(shop, fix=True)
    assert not fixed.differs
    assert [told for told in await shop.outcomes(fixed) if told[0] != "not_rebuilt"] == [("missing_here", "fixed")]
    (row,) = await shop.refunds()
    assert (row.id, row.status, row.return_id, row.amount) == (lost.id, "succeeded", lost.return_id, 3000)
    assert row.breakdown == lost.breakdown
    assert not (await compare(shop)).differs


async def test_a_dashboard_refund_whose_news_was_lost_is_missing_here_then_external(shop: Shop) -> None:
    known = await shop.complete_refund(amount=3000)
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 500)
    shop.lose_webhooks()
    report = await compare(shop)
    assert await shop.outcomes(report) == [("missing_here", "found")]
    (row,) = await shop.differences(report)
    assert "outside" in row.cause
    assert (row.amount_at_stripe, row.amount_here, row.payment_intent) == (500, None, intent)
    assert await shop.outcomes(await compare(shop, fix=True)) == [("missing_here", "fixed")]
    after = await compare(shop)
    assert not after.differs
    assert await shop.outcomes(after) == [("external", "information")]
    assert {r.source for r in await shop.refunds() if r.id != known.id} == {"external"}


async def test_a_dispute_that_opens_during_the_read_is_not_undone_by_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (await shop.complete_refund(amount=3000)).payment_id
    name = shop.pay(9000)
    await shop.authorize_return(name)
    shop.dashboard.refund(name, 500)
    shop.lose_webhooks()
    read = shop.gateway.read_payment

    async def then_disputed(**named: str | None) -> object:
        seen = await read(**named)
        if named["payment_intent"] == name:
            shop.dashboard.open_dispute(name)
            await shop.deliver()
        return seen

    monkeypatch.setattr(shop.gateway, "read_payment", then_disputed)
    assert await shop.outcomes(await compare(shop, fix=True)) == [("missing_here", "fixed")]
    async with shop.db.reading() as tx:
        disputed = (await tx.exec(select(Payment.disputed).where(col(Payment.id) != other))).one()
    assert disputed


async def test_refunds_of_strangers_payments_are_only_counted(shop: Shop) -> None:
    shop.dashboard.refund(shop.pay(9000), 500)
    report = await compare(shop, fix=True)
    assert not report.differs
    assert await shop.outcomes(report) == []
    assert report.run.counts["unknown_payment"] == 1
    assert await shop.refunds() == []


async def test_a_status_whose_news_was_lost_is_another_status(shop: Shop) -> None:
    row = await shop.complete_refund()
    assert row.stripe_refund
    shop.advance(86_400)
    shop.dashboard.fail(row.stripe_refund, "expired_or_canceled_card")
    shop.lose_webhooks()
    report = await compare(shop)
    assert await shop.outcomes(report) == [("other_status", "found")]
    (found,) = await shop.differences(report)
    assert (found.status_here, found.status_at_stripe) == ("succeeded", "failed")
    assert await shop.outcomes(await compare(shop, fix=True)) == [("other_status", "fixed")]
    assert row.return_id
    assert (await shop.show_return(row.return_id))["state"] == "failed"
    assert not (await compare(shop)).differs


async def test_a_status_that_went_back_is_taken_from_the_fresh_read(shop: Shop) -> None:
    row = await shop.complete_refund()
    assert row.stripe_refund
    shop.dashboard.require_action(row.stripe_refund)
    shop.lose_webhooks()
    assert await shop.outcomes(await compare(shop, fix=True)) == [("other_status", "fixed")]
    assert [r.status for r in await shop.refunds()] == ["requires_action"]


async def test_what_ended_for_good_here_is_left_to_people(shop: Shop) -> None:
    row = await shop.complete_refund()
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(status="failed"))
    report = await compare(shop, fix=True)
    assert report.differs
    assert await shop.outcomes(report) == [("other_status", "left")]
    (found,) = await shop.differences(report)
    assert found.advice


async def test_an_unknown_that_stripe_made_is_another_status(shop: Shop) -> None:
    row = await shop.complete_refund()
    undone = {"status": "unknown", "stripe_refund": None, "stripe_created_at": None, "ever_unknown": True}
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(**undone))
    assert await shop.outcomes(await compare(shop)) == [("other_status", "found")]
    assert await shop.outcomes(await compare(shop, fix=True)) == [("other_status", "fixed")]
    assert [r.status for r in await shop.refunds()] == ["succeeded"]


async def test_an_unknown_with_nothing_at_stripe_is_open_and_no_difference(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.count(return_id)
    shop.faults.arm("drop_before", count=1, path="/v1/refunds")
    await shop.work()
    assert [r.status for r in await shop.refunds()] == ["unknown"]
    report = await compare(shop, fix=True)
    assert not report.differs
    assert await shop.outcomes(report) == [("open", "information")]


async def test_a_refund_on_its_way_is_neither_missing_nor_different(shop: Shop) -> None:
    row = await shop.complete_refund()
    asking = {
        "status": "submitted",
        "stripe_refund": None,
        "stripe_created_at": None,
        "lease_until": shop.time + timedelta(seconds=30),
    }
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(**asking))
    report = await compare(shop)
    assert not report.differs
    assert report.run.counts["under_way"] == 1


async def test_another_amount_is_never_repaired(shop: Shop) -> None:
    row = await shop.complete_refund()
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(amount=2999))
    report = await compare(shop, fix=True)
    assert report.differs
    assert await shop.outcomes(report) == [("other_amount", "left")]
    (found,) = await shop.differences(report)
    assert (found.amount_here, found.amount_at_stripe) == (2999, 3000)


async def test_a_refund_that_stripe_does_not_know_is_left_as_it_is(shop: Shop) -> None:
    row = await shop.complete_refund()
    await shop.execute(update(Refund).where(col(Refund.id) == row.id).values(stripe_refund="re_nobody"))
    report = await compare(shop, fix=True)
    assert report.differs
    assert ("missing_at_stripe", "left") in await shop.outcomes(report)
    missing = next(found for found in await shop.differences(report) if found.code == "missing_at_stripe")
    assert missing.stripe_refund == "re_nobody"


async def test_a_payment_of_another_account_makes_its_refunds_missing_at_stripe(shop: Shop) -> None:
    await shop.complete_refund()
    shop.ledger.refunds = type(shop.ledger.refunds)("refund")
    shop.ledger.payment_intents = type(shop.ledger.payment_intents)("payment_intent")
    report = await compare(shop, fix=True)
    assert report.differs
    assert await shop.outcomes(report) == [("missing_at_stripe", "left")]


async def test_two_refunds_for_one_intent_are_told_and_get_two_rows(shop: Shop) -> None:
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    await shop.count(return_id)
    await shop.work()
    await shop.deliver()
    (row,) = await shop.refunds()
    shop.dashboard.refund(intent, row.amount, metadata={"refund_id": row.id})
    shop.lose_webhooks()
    assert await shop.outcomes(await compare(shop)) == [("two_for_one_intent", "found")]
    assert await shop.outcomes(await compare(shop, fix=True)) == [("two_for_one_intent", "fixed")]
    second = next(r for r in await shop.refunds() if r.id != row.id)
    assert second.duplicate_of == row.id
    after = await compare(shop)
    assert not after.differs
    assert await shop.outcomes(after) == [("two_for_one_intent", "information")]


async def test_a_refund_older_than_the_window_is_not_looked_at(shop: Shop) -> None:
    row = await shop.complete_refund()
    shop.advance(3 * 86_400)
    await forget_row(shop, row)
    assert not (await compare(shop, days=2)).differs
    assert (await compare(shop, days=4)).differs


async def test_nothing_is_written_without_fix(shop: Shop) -> None:
    lost, kept = await shop.complete_refund(), await shop.complete_refund()
    await forget_row(shop, lost)
    async with shop.db.reading() as tx:
        before = len((await tx.exec(select(Event))).all())
    await compare(shop)
    async with shop.db.reading() as tx:
        assert len((await tx.exec(select(Event))).all()) == before
    assert [r.id for r in await shop.refunds()] == [kept.id]


async def test_a_long_list_is_held_a_page_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    page, many = 5, 300
    for module in (reconciling, stripe_client):
        monkeypatch.setattr(module, "PAGE", page)
    intents = [shop.pay(100_000) for _ in range(3)]
    for intent in intents[:1]:
        await shop.authorize_return(intent, units=1, amount=100)
    for number in range(many):
        shop.advance(1)
        shop.dashboard.refund(intents[number % 3], 1)
    shop.lose_webhooks()
    peaks: list[int] = []
    shares: list[float] = []

    def watch(share: float, _: int) -> None:
        shares.append(share)
        peaks.append(sum(type(thing) is RefundSnapshot for thing in gc.get_objects()))

    await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=1), fix=True)  # adopts a third of them
    gc.collect()
    gc.freeze()  # what is there already needn't be looked at each time
    report = await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=1), fix=False, progress=watch)
    assert not report.differs
    assert report.run.counts["at_stripe"] == many
    assert report.run.counts["external"] == many // 3
    assert report.run.counts["unknown_payment"] == many - many // 3
    assert len(peaks) >= many // page
    assert 0 < max(peaks) <= 3 * page
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(await shop.differences(report)) == many // 3


async def test_a_refund_without_its_payment_here_brings_the_payment_back(shop: Shop) -> None:
    intent = shop.pay(9000)
    lost = "rfd_01kbmxv1ateg6vd2a5t8mh6r4z"
    shop.dashboard.refund(intent, 700, metadata={"refund_id": lost, "lines": write_mark(lost, "ret_gone", "")})
    report = await compare(shop, fix=True)
    assert not report.differs
    assert await shop.outcomes(report) == [("missing_here", "fixed"), ("not_rebuilt", "information")]
    (row,) = await shop.refunds()
    assert (row.id, row.source, row.amount) == (lost, "standalone", 700)


async def test_standalone_refunds_are_found_again_too(shop: Shop) -> None:
    intent = shop.pay(9000)
    await shop.authorize_return(intent)

    async def decide(tx: Tx) -> Refund:
        payment = await lock_payment(tx, await find_payment_id(tx, payment_intent=intent, charge=None) or "")
        return await refunds.refund_payment(payment, BY, DEFAULT, amount=400, reason=None, metadata={"why": "late"})

    lost = await shop.db.run(decide)
    await shop.work()
    shop.lose_webhooks()
    await forget_row(shop, lost)
    assert await shop.outcomes(await compare(shop, fix=True)) == [("missing_here", "fixed")]
    (row,) = await shop.refunds()
    assert (row.id, row.source, row.status) == (lost.id, "standalone", "succeeded")


async def test_a_lost_retry_leaves_nothing_to_try_again(shop: Shop) -> None:
    """The restored row failed and its retry paid: once that is found, nothing of the failed one is due any more."""
    failed = await shop.complete_refund()
    assert failed.return_id
    assert failed.stripe_refund
    return_id = failed.return_id
    shop.dashboard.fail(failed.stripe_refund, "declined")
    await shop.deliver()
    retry, _ = await shop.db.run(
        lambda tx: failed_refunds.retry(tx, BY, DEFAULT, return_id, refund_id=None, part=Part(), override_reason=None)
    )
    await shop.work()
    await shop.deliver()
    as_it_was = {"superseded_at": None, "superseded_by": None, "amount_open": None}
    await shop.execute(update(Refund).where(col(Refund.id) == failed.id).values(**as_it_was))
    await forget_row(shop, retry)
    report = await compare(shop, fix=True)
    assert "not_rebuilt" in [row.code for row in await shop.differences(report)]
    (again,) = [row for row in await shop.refunds() if row.id == failed.id]
    assert (again.amount_open, again.superseded_at is None) == (0, False)
    with pytest.raises(Problem) as raised:
        await shop.db.run(
            lambda tx: refund_actions.retry_refund(tx, BY, DEFAULT, failed.id, part=Part(), override_reason=None)
        )
    assert raised.value.code == "invalid_transition"
