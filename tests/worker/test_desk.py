"""The desk: each kind of thing comes there by what really happens, says what can be done, and goes once it is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select

from returns_service.commands import (
    counting,
    external_refunds,
    receipts,
    refund_actions,
    refunds,
    returns,
)
from returns_service.commands.failed_refunds import Part
from returns_service.commands.refunds import RefundRequest
from returns_service.commands.settlements import Outside, settle_outside
from returns_service.domain.policy import DEFAULT
from returns_service.domain.refund_attempt import STUCK_AFTER
from returns_service.domain.vocabulary import Condition, Disposition, SettlementMethod
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import find_payment_id, lock_payment
from returns_service.store.tables import Event, ReceiptLine, Refund
from tests.harness.shop import BY, Shop
from tests.worker.steps import due, later, the_refund

HOUR, DAY = 3600, 86_400
REFUNDS = "/v1/refunds"
STRIPE = Actor("stripe")


async def settle(shop: Shop, return_id: str, method: SettlementMethod = "bank_transfer") -> None:
    asked = Outside(method=method, reference="transfer 1")
    await shop.db.run(lambda tx: settle_outside(tx, BY, DEFAULT, return_id, asked))


async def test_a_shop_where_all_goes_well_has_an_empty_desk(shop: Shop) -> None:
    assert await shop.desk_items() == []
    await shop.complete_refund()
    page = await shop.desk()
    assert page["data"] == []
    assert set(page["totals"].values()) == {0}


async def test_a_failed_refund_waits_until_it_is_settled_outside(shop: Shop) -> None:
    _, return_id = await due(shop, card="pm_card_refundFail")
    await shop.work()
    shop.advance(1)
    await shop.deliver()
    (item,) = (await shop.desk())["data"]
    row = await the_refund(shop)
    assert (item["kind"], item["return"], item["refund"]) == ("refund_failed", return_id, row.id)
    assert (item["amount"], item["currency"], item["order_id"]) == (3000, "usd", "order_1")
    assert "card is expired or canceled" in item["message"]
    assert item["actions"] == ["retry", "settle_outside"]
    await settle(shop, return_id)
    assert await shop.desk_items() == []


async def test_a_failed_refund_waits_until_it_is_retried(shop: Shop) -> None:
    refund = await shop.complete_refund()
    shop.dashboard.fail(str(refund.stripe_refund), "declined")
    await shop.deliver()
    assert await shop.desk_items() == [("refund_failed", "refund_failed", ["retry", "settle_outside"])]
    await shop.db.run(
        lambda tx: refund_actions.retry_refund(tx, BY, DEFAULT, refund.id, part=Part(), override_reason=None)
    )
    assert await shop.desk_items() == []


async def test_a_failed_refund_that_no_longer_fits_can_only_be_settled_outside(shop: Shop) -> None:
    shop.policy = replace(DEFAULT, external_refunds="ignore")
    refund = await shop.complete_refund()
    shop.dashboard.fail(str(refund.stripe_refund))
    await shop.deliver()
    shop.dashboard.refund(next(iter(shop.ledger.payment_intents))["id"])
    await shop.deliver()
    assert await shop.desk_items() == [("refund_failed", "refund_failed", ["settle_outside"])]


async def test_a_refund_nobody_knows_the_outcome_of_waits_from_the_sixth_try_on(shop: Shop) -> None:
    await due(shop)
    shop.faults.arm("drop_before", method="POST", path=REFUNDS)
    for _ in range(STUCK_AFTER - 1):
        await later(shop, 300)
        assert await shop.desk_items() == []
    await later(shop, 300)
    assert await shop.desk_items() == [("refund_unknown", "no_answer", ["check"])]
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(Event).where(col(Event.type) == "refund.stuck"))).all()
    shop.advance(15 * 60)
    (item,) = (await shop.desk("refund_unknown"))["data"]
    assert item["actions"] == ["check", "send_again"]
    assert "nobody knows" in item["message"]
    shop.faults.disarm()
    await later(shop, 300)
    assert await shop.desk_items() == []


async def test_a_stored_error_waits_at_once_and_until_stripe_repairs_it(shop: Shop) -> None:
    intent, _ = await due(shop)
    shop.faults.arm("stored_500", count=1, method="POST", path=REFUNDS)
    await shop.work()
    assert await shop.desk_items() == []
    await later(shop, 300)
    assert await shop.desk_items() == [("refund_unknown", "stored_error", ["check"])]
    shop.dashboard.repair(f"{(await the_refund(shop)).id}:1")
    await shop.deliver()
    await shop.work()
    assert await shop.desk_items() == []
    assert shop.at_stripe(intent) == 3000


async def test_money_that_moved_twice_waits_until_somebody_says_what_was_agreed(shop: Shop) -> None:
    intent, return_id = await due(shop)
    shop.faults.arm("stored_500", count=1, method="POST", path=REFUNDS)
    await shop.work()
    await later(shop, 300)
    await later(shop, HOUR, times=25)  # past the key's life: nothing was found, so a new key is sent
    first = await the_refund(shop)
    assert (first.status, first.generation) == ("succeeded", 2)
    shop.dashboard.repair(f"{first.id}:1")
    assert shop.at_stripe(intent) == 6000
    await shop.deliver()
    (item,) = (await shop.desk())["data"]
    second = next(row for row in await shop.refunds() if row.duplicate_of == first.id)
    assert (item["kind"], item["refund"], item["amount"]) == ("payment_overpaid", second.id, 3000)
    assert first.id in item["message"]
    assert item["actions"] == ["acknowledge"]
    await shop.db.run(lambda tx: external_refunds.acknowledge(tx, BY, DEFAULT, second.id, "The customer sent it back."))
    assert await shop.desk_items() == []
    async with shop.db.reading() as tx:
        chosen = select(Event).where(col(Event.refund_id) == second.id, col(Event.type) == "payment.updated")
        told = (await tx.exec(chosen)).one()
    assert (told.data["acknowledged"], told.data["reason"]) == (second.id, "The customer sent it back.")
    payment = told.data["object"]
    assert (payment["refunded"], payment["refundable"]) == (6000, 3000), "what moved stays counted"
    assert (await shop.show_return(return_id))["amount_refunded"] == 3000


async def test_a_refund_held_by_a_dispute_waits_for_its_end(shop: Shop) -> None:
    intent, return_id = await due(shop)
    dispute = shop.dashboard.open_dispute(intent)
    await shop.deliver()
    await later(shop, HOUR)
    assert await shop.desk_items() == [("refund_held", "payment_disputed", ["cancel"])]
    (item,) = (await shop.desk())["data"]
    until = datetime.fromtimestamp(dispute["evidence_details"]["due_by"], UTC)
    assert datetime.fromisoformat(item["answer_by"]) == until
    assert f"before {until:%Y-%m-%d, %H:%M} UTC" in item["advice"]
    shop.dashboard.respond(dispute["id"])
    await shop.deliver()
    (item,) = (await shop.desk())["data"]
    assert (item["answer_by"], "The bank decides" in item["advice"]) == (None, True)
    shop.dashboard.win(dispute["id"])
    await shop.deliver()
    await shop.work()
    assert await shop.desk_items() == []
    assert (await shop.show_return(return_id))["amount_refunded"] == 3000


async def test_a_lost_dispute_waits_until_it_is_settled_as_one(shop: Shop) -> None:
    intent, return_id = await due(shop)
    dispute = shop.dashboard.open_dispute(intent)
    shop.dashboard.lose(dispute["id"])
    await shop.deliver()
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("dispute_lost", 3000, ["settle_outside"])
    assert "`dispute`" in item["advice"]
    await settle(shop, return_id, "dispute")
    assert await shop.desk_items() == []


async def test_a_parcel_that_comes_after_a_dispute_is_barred_and_then_lost(shop: Shop) -> None:
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    dispute = shop.dashboard.open_dispute(intent)
    await shop.deliver()
    await shop.count(return_id, 2)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"], item["amount"]) == ("refund_barred", "payment_disputed", 6000)
    assert (item["refund"], item["actions"]) == (None, ["settle_outside"])
    assert item["answer_by"] is not None
    shop.dashboard.lose(dispute["id"])
    await shop.deliver()
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("dispute_lost", 6000, ["settle_outside"])
    await settle(shop, return_id, "dispute")
    assert await shop.desk_items() == []


async def test_a_return_that_was_canceled_waits_for_no_refund(shop: Shop) -> None:
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    shop.dashboard.open_dispute(shop.ledger.charges_of[intent][0])
    await shop.deliver()
    await shop.count(return_id)
    assert [kind for kind, _, _ in await shop.desk_items()] == ["refund_barred"]
    await shop.db.run(lambda tx: returns.cancel(tx, BY, DEFAULT, return_id, "Agreed.", "The customer keeps it."))
    assert await shop.desk_items() == []
    assert (await shop.show_return(return_id))["refund_barred"] is None


async def test_a_refund_that_the_payment_has_too_little_for_is_barred(shop: Shop) -> None:
    shop.policy = replace(DEFAULT, external_refunds="ignore")
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    shop.dashboard.refund(intent, 8000)
    await shop.deliver()
    await shop.count(return_id, 3)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"], item["amount"]) == ("refund_barred", "amount_exceeds_refundable", 9000)
    assert item["actions"] == ["refund", "settle_outside"]
    await shop.db.run(
        lambda tx: refunds.refund(tx, BY, DEFAULT, return_id, RefundRequest(amount=1000, note="All that is left."))
    )
    assert await shop.desk_items() == []


async def test_a_refund_the_balance_is_too_low_for_waits_at_once(shop: Shop) -> None:
    shop.ledger.settings.balance = "short_refuses"
    await due(shop)
    await shop.work()
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"], item["actions"]) == ("refund_unsent", "not_taken", ["cancel"])
    assert "Top up the Stripe balance" in item["message"]
    shop.dashboard.fill_balance()
    await later(shop, HOUR + 1)
    assert await shop.desk_items() == []


async def test_a_pending_refund_the_balance_is_too_low_for_waits_at_once(shop: Shop) -> None:
    shop.ledger.settings.balance = "short_waits"
    await due(shop)
    await shop.work()
    assert await shop.desk_items() == [("refund_pending", "balance_too_low", ["check"])]
    shop.dashboard.fill_balance()
    await later(shop, 60, times=3)
    assert await shop.desk_items() == []


async def test_a_refund_that_stripe_no_longer_knows_waits(shop: Shop) -> None:
    shop.ledger.settings.settle_seconds = 100 * DAY
    await due(shop, card="pm_card_pendingRefund")
    await shop.work()
    stripe_refund = (await the_refund(shop)).stripe_refund
    await shop.execute(update(Refund).values(stripe_refund="re_ofanotheraccount"))
    await later(shop, 61)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["actions"]) == ("refund_missing", [])
    assert "re_ofanotheraccount" in item["message"]
    await shop.execute(update(Refund).values(stripe_refund=stripe_refund))
    await later(shop, HOUR)
    assert await shop.desk_items() == []


async def test_what_a_policy_leaves_to_people_waits_for_them(shop: Shop) -> None:
    shop.policy = replace(DEFAULT, refund_on="manual")
    return_id = await shop.authorize_return(shop.pay(9000))
    assert await shop.desk_items() == [], "a parcel that is on its way needs nobody"
    await shop.count(return_id)
    (item,) = (await shop.desk())["data"]
    assert (item["kind"], item["code"], item["amount"]) == ("return_to_decide", "refund_on_manual", 3000)
    assert (item["return"], item["actions"]) == (return_id, ["refund", "settle_outside"])
    shop.advance(60)
    await shop.db.run(lambda tx: refunds.refund(tx, BY, DEFAULT, return_id, RefundRequest(amount=1000, note="Worn.")))
    await shop.work()
    await shop.deliver()
    assert await shop.desk_items() == [], "less was decided, so nothing is due"
    shop.advance(60)
    await shop.count(return_id, 2)
    assert await shop.desk_items() == [("return_to_decide", "refund_on_manual", ["refund", "settle_outside"])]
    await settle(shop, return_id)
    assert await shop.desk_items() == []


async def test_nobody_is_told_to_close_what_is_still_on_its_way(shop: Shop) -> None:
    manual = replace(DEFAULT, refund_on="manual", label_cost={"usd": 3500})
    shop.policy = manual
    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.count(return_id)  # worth less than its label
    (item,) = (await shop.desk())["data"]
    assert (item["code"], item["actions"]) == ("nothing_due_so_far", ["close"])
    assert "nothing more will happen" not in item["message"]
    await shop.count(return_id, 2)
    assert await shop.desk_items() == [("return_to_decide", "refund_on_manual", ["refund", "settle_outside"])]


async def test_a_return_that_is_worth_nothing_waits_to_be_closed(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))

    async def wrong_items(units: int, condition: Condition, disposition: Disposition | None = None) -> None:
        counts = [counting.Count(units, condition, sku="SHIRT", disposition=disposition)]
        await shop.db.run(lambda tx: receipts.receive(tx, BY, DEFAULT, return_id, counts, [], None))

    await wrong_items(2, "wrong_item")
    assert await shop.desk_items() == [], "one is still expected"
    await wrong_items(1, "opened", "inspect")
    assert await shop.desk_items() == [], "the dock's turn"
    async with shop.db.reading() as tx:
        waiting = (await tx.exec(select(ReceiptLine).where(col(ReceiptLine.accepted).is_(None)))).one()
    found = [receipts.InspectionFinding(waiting.line_id, "wrong_item", "return_to_customer")]
    await shop.db.run(lambda tx: receipts.inspect(tx, BY, DEFAULT, return_id, waiting.receipt_id, found))
    assert await shop.desk_items() == [("return_to_decide", "nothing_due", ["close"])]
    await shop.db.run(lambda tx: returns.close(tx, BY, DEFAULT, return_id, "Told the customer."))
    assert await shop.desk_items() == []


async def test_the_most_urgent_comes_first_and_then_the_oldest(shop: Shop) -> None:
    old, young = await shop.complete_refund(), await shop.complete_refund()
    for refund in (young, old):
        shop.advance(1)
        shop.dashboard.fail(str(refund.stripe_refund))
        await shop.deliver()
    shop.ledger.settings.balance = "short_refuses"
    await due(shop)
    await shop.work()
    shown = (await shop.desk())["data"]
    assert [item["kind"] for item in shown] == ["refund_failed", "refund_failed", "refund_unsent"]
    assert [item["refund"] for item in shown[:2]] == [young.id, old.id]


async def standalone(shop: Shop, intent: str) -> str:
    """Return the id of a new refund of no return."""

    async def work(tx: Any) -> str:
        payment_id = await find_payment_id(tx, payment_intent=intent, charge=None)
        payment = await lock_payment(tx, str(payment_id))
        return (await refunds.refund_payment(payment, BY, DEFAULT, amount=100, reason=None, metadata={})).id

    return await shop.db.run(work)


async def test_a_refund_of_no_return_is_offered_only_what_its_payment_allows(shop: Shop) -> None:
    intent = shop.pay(9000)
    await shop.authorize_return(intent)
    row = await standalone(shop, intent)
    await shop.work()
    shop.dashboard.fail(str((await the_refund(shop)).stripe_refund))
    await shop.deliver()
    assert await shop.desk_items() == [("refund_failed", "refund_failed", ["retry", "settle_outside"])]
    shop.dashboard.open_dispute(intent)
    await shop.deliver()
    assert await shop.desk_items() == [("refund_failed", "refund_failed", ["settle_outside"])]
    asked = Outside("bank_transfer", "transfer 2", refund=row)
    await shop.db.run(lambda tx: refund_actions.settle_refund_outside(tx, BY, DEFAULT, row, asked))
    assert await shop.desk_items() == []


async def test_what_a_person_took_back_before_it_was_sent_is_decided(shop: Shop) -> None:
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    row = await standalone(shop, intent)
    await shop.db.run(lambda tx: refund_actions.cancel_unsent(tx, BY, DEFAULT, row))
    assert await shop.desk_items() == []
    await shop.count(return_id)
    ours = await the_refund(shop)
    await shop.db.run(lambda tx: refund_actions.cancel_unsent(tx, BY, DEFAULT, ours.id))
    assert await shop.desk_items() == [("refund_failed", "withdrawn", ["retry", "settle_outside"])], "the return is due"
