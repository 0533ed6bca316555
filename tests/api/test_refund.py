"""Money by hand: preview, refund, retry, settle outside; standalone refunds, and what finance does about each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect


async def received(shop: ServedShop, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """A return with units received that nobody has paid yet."""
    shop.context.policy = replace(shop.context.policy, refund_on="manual")
    made = await shop.create_approved_return(**more)
    await shop.receive_parcel(made["id"], quantity)
    return made


async def test_the_preview_is_what_the_refund_pays(shop: ServedShop) -> None:
    made = await received(shop)
    preview = expect(await shop.get(f"/v1/returns/{made['id']}/refund_preview"), 200)
    assert (preview["object"], preview["amount"], preview["barred"]) == ("refund_preview", 3333, None)
    answer = await shop.post(f"/v1/returns/{made['id']}/refund")
    refund = expect(answer, 202)
    assert (refund["amount"], refund["breakdown"]) == (preview["amount"], preview["breakdown"])
    assert expect(await shop.get(answer.headers["location"]), 200) == refund
    barred = expect(await shop.get(f"/v1/returns/{made['id']}/refund_preview"), 200)["barred"]
    assert barred["code"] == "refund_in_progress"


async def test_the_preview_before_approval_says_why_nothing_is_paid(shop: ServedShop) -> None:
    made = await shop.create_return()
    preview = expect(await shop.get(f"/v1/returns/{made['id']}/refund_preview"), 200)
    assert (preview["amount"], preview["barred"]["code"]) == (0, "invalid_transition")


async def test_a_second_click_pays_nothing(shop: ServedShop) -> None:
    made = await received(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 202)
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 409, "refund_in_progress")
    await shop.settle()
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 422, "nothing_due")
    assert len(shop.ledger.refunds) == 1


async def test_less_than_due_is_a_reduction_and_more_needs_a_reason(shop: ServedShop) -> None:
    made = await received(shop)
    where = f"/v1/returns/{made['id']}/refund"
    expect(await shop.post(where, {"amount": 4000}), 422, "override_required")
    expect(await shop.post(where, {"amount": 10_001, "override_reason": "x"}), 422, "amount_exceeds_refundable")
    refund = expect(await shop.post(where, {"amount": 3000, "note": "A stain."}), 202)
    assert [(row["kind"], row["amount"]) for row in refund["breakdown"]] == [("line", 3333), ("reduction", -333)]
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_due"] == 0


async def test_adjustments_stand_in_the_breakdown_and_it_sums(shop: ServedShop) -> None:
    made = await received(shop)
    adjustments = [
        {"kind": "goodwill", "amount": 500, "description": "Sorry."},
        {"kind": "deduction", "amount": 100, "description": "Box missing."},
    ]
    body = {"adjustments": adjustments, "override_reason": "Agreed on the phone."}
    refund = expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    assert refund["amount"] == 3733 == sum(row["amount"] for row in refund["breakdown"])


async def test_goodwill_beyond_what_is_due_needs_a_reason_also_where_nothing_is(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    body: dict[str, Any] = {"adjustments": [{"kind": "goodwill", "amount": 500, "description": "Sorry."}]}
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 422, "override_required")
    body["override_reason"] = "Agreed on the phone."
    assert expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)["amount"] == 500


async def test_an_adjustment_of_another_returns_line_is_refused(shop: ServedShop) -> None:
    made = await received(shop)
    adjustment = {"kind": "goodwill", "amount": 1, "description": "x", "line": "rli_x"}
    answer = await shop.post(f"/v1/returns/{made['id']}/refund", {"adjustments": [adjustment]})
    assert expect(answer, 422, "unknown_line")["param"] == "adjustments[0].line"


@pytest.mark.parametrize("path", ["refund", "retry", "settle_outside"])
async def test_money_never_moves_without_an_idempotency_key(shop: ServedShop, path: str) -> None:
    made = await received(shop)
    body = {"method": "cash", "reference": "1"} if path == "settle_outside" else {}
    expect(await shop.post(f"/v1/returns/{made['id']}/{path}", body, key=None), 400, "idempotency_key_required")
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay()}, key=None), 400, "idempotency_key_required")


async def test_what_counts_units_needs_a_key(shop: ServedShop) -> None:
    """A correction or a parcel of nobody that is sent twice would count its units twice, and pay them."""
    made = await shop.create_approved_return()
    receipt = await shop.receive_parcel(made["id"], 3, "missing")
    change = {"line": made["lines"][0]["id"], "from": "missing", "to": "new", "quantity": 1}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    body = {"lines": [change], "reason": "Found."}
    expect(await shop.post(where, body, key=None), 400, "idempotency_key_required")
    for _ in range(2):
        expect(await shop.post(where, body, key="correct-1"), 200)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 3333
    parcel = {"items": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]}
    expect(await shop.post("/v1/receipts", parcel, key=None), 400, "idempotency_key_required")


async def test_an_inspection_of_some_units_needs_a_key_and_one_of_all_is_done_once(shop: ServedShop) -> None:
    """Sent again because its answer was lost, an inspection of one unit decided a second one, and paid it."""
    made = await shop.create_approved_return()
    receipt = await shop.receive_parcel(made["id"], 3, "opened", disposition="inspect")
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/inspect"
    good = {"line": made["lines"][0]["id"], "condition": "new", "disposition": "restock"}
    one = {"lines": [good | {"quantity": 1}]}
    expect(await shop.post(where, one, key=None), 400, "idempotency_key_required")
    for _ in range(2):
        expect(await shop.post(where, one, key="inspect-1"), 200)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 3333
    expect(await shop.post(where, {"lines": [good]}, key=None), 200)
    expect(await shop.post(where, {"lines": [good]}, key=None), 409, "nothing_to_inspect")
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 10_000


async def test_an_empty_value_keeps_no_key_of_a_refunds_metadata(shop: ServedShop) -> None:
    body = {"payment_intent": shop.pay(), "amount": 5, "metadata": {"ticket": "T-1", "desk": ""}}
    assert expect(await shop.post("/v1/refunds", body), 202)["metadata"] == {"ticket": "T-1"}


async def test_what_is_due_can_be_settled_outside(shop: ServedShop) -> None:
    made = await received(shop, 3)
    body = {"method": "bank_transfer", "reference": "t-1"}
    expect(
        await shop.post(f"/v1/returns/{made['id']}/settle_outside", {**body, "amount": 10_001}),
        422,
        "amount_exceeds_due",
    )
    done = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", body), 200)
    assert (done["state"], done["amount_settled_outside"], done["amount_due"]) == ("refunded", 10_000, 0)
    await shop.settle()
    assert len(shop.ledger.refunds) == 0


async def test_a_standalone_refund_of_all_that_is_left(shop: ServedShop) -> None:
    payment = shop.pay(8000)
    part = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 3000}), 202)
    assert (part["status"], part["source"], part["return"], part["amount"]) == ("queued", "standalone", None, 3000)
    expect(
        await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 5001}), 422, "amount_exceeds_refundable"
    )
    rest = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "metadata": {"case": "7"}}), 202)
    assert rest["amount"] == 5000
    expect(await shop.post("/v1/refunds", {"payment_intent": payment}), 409, "charge_already_refunded")
    await shop.settle()
    read = expect(await shop.get(f"/v1/payments/{payment}"), 200)
    assert (read["captured"], read["refunded"], read["reserved"], read["refundable"]) == (8000, 8000, 0, 0)
    at_stripe = sorted((r["amount"], r["metadata"].get("case")) for r in shop.ledger.refunds)
    assert at_stripe == [(3000, None), (5000, "7")]


async def test_intents_queue_while_stripe_is_down(shop: ServedShop) -> None:
    payment = shop.pay(8000)
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 1}), 202)
    shop.wire.down = True
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 2}), 202)
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 2}), 503, "stripe_unavailable")
    expect(await shop.post("/v1/refunds", {"charge": "ch_nobody"}), 503, "stripe_unavailable")
    shop.wire.down = False
    expect(await shop.post("/v1/refunds", {"charge": "ch_nobody"}), 404, "payment_missing")


async def test_a_refund_made_in_the_dashboard_shows_as_external(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    shop.dashboard.refund(made["payment_intent"], 2500)
    await shop.deliver()
    listed = expect(await shop.get("/v1/refunds", params={"payment_intent": made["payment_intent"]}), 200)["data"]
    assert [(r["source"], r["amount"], r["status"]) for r in listed] == [("external", 2500, "succeeded")]
    assert expect(await shop.get(f"/v1/payments/{made['payment']}"), 200)["refundable"] == 7500


async def test_the_banks_reference_is_among_what_changed_since(shop: ServedShop) -> None:
    """It comes days after the money, and no status changes with it: whoever asked for changes was never told."""
    made = await received(shop, 3)
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 202)
    await shop.settle()
    (paid,) = (await shop.read_return(made["id"]))["refunds"]
    shop.advance(86_400)
    since = shop.time.isoformat()
    assert expect(await shop.get("/v1/refunds", params={"updated[gte]": since}), 200)["data"] == []
    shop.dashboard.set_arn(paid["stripe_refund"], "74537604221431000000001")
    await shop.deliver()
    (told,) = expect(await shop.get("/v1/refunds", params={"updated[gte]": since}), 200)["data"]
    assert (told["id"], told["arrival"]["reference"]) == (paid["id"], "74537604221431000000001")


async def test_check_asks_stripe_now(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1, card="pm_card_pendingRefund")
    await shop.receive_parcel(made["id"])
    await shop.work()
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    assert refund["status"] == "pending"
    shop.advance(5)
    shop.ledger.make_due_moves()
    where = f"/v1/refunds/{refund['id']}/check"
    assert expect(await shop.post(where), 200)["status"] == "succeeded"
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    shop.wire.down = True
    expect(await shop.post(where), 503, "stripe_unavailable")


async def test_an_unsent_refund_is_canceled_and_a_sent_one_is_not(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    assert expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)["status"] == "withdrawn"
    assert (await shop.read_return(made["id"]))["state"] == "failed"
    again = expect(await shop.post(f"/v1/refunds/{refund['id']}/retry"), 202)
    await shop.settle()
    expect(await shop.post(f"/v1/refunds/{again['id']}/cancel"), 409, "refund_not_cancelable")
    assert (await shop.read_return(made["id"]))["state"] == "refunded"


async def test_a_refund_that_waits_for_the_customer_is_canceled_at_stripe(shop: ServedShop) -> None:
    where, _ = await waits_for_its_customer(shop)
    waiting = expect(await shop.get(where), 200)
    assert waiting["status"] == "requires_action"
    assert "customer" in waiting["waits_for"]
    shop.wire.down = True
    expect(await shop.post(f"{where}/cancel"), 503, "stripe_unavailable")
    shop.wire.down = False
    assert expect(await shop.post(f"{where}/cancel"), 200)["status"] == "canceled"
    assert (await shop.read_return(waiting["return"]))["state"] == "failed"


async def waits_for_its_customer(shop: ServedShop) -> tuple[str, Any]:
    """A refund that requires action: where it is, and its row at Stripe."""
    made = await shop.create_approved_return(quantity=1, card="pm_card_pendingRefund")
    await shop.receive_parcel(made["id"])
    await shop.work()
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.require_action(refund["stripe_refund"])
    await shop.deliver()
    await shop.work()
    return f"/v1/refunds/{refund['id']}", shop.ledger.refunds[refund["stripe_refund"]]


async def test_a_cancellation_that_came_too_late_can_be_asked_for_again(shop: ServedShop) -> None:
    where, at_stripe = await waits_for_its_customer(shop)
    at_stripe["status"] = "pending"  # the customer has acted, and we don't know it yet
    expect(await shop.post(f"{where}/cancel"), 409, "refund_not_cancelable")
    at_stripe["status"] = "requires_action"  # their bank sent it back
    assert expect(await shop.post(f"{where}/cancel"), 200)["status"] == "canceled"


async def test_a_cancellation_whose_answer_was_lost_is_found_done(shop: ServedShop) -> None:
    where, _ = await waits_for_its_customer(shop)
    shop.faults.arm("drop_after")
    expect(await shop.post(f"{where}/cancel"), 503, "stripe_unavailable")
    shop.faults.disarm()
    assert expect(await shop.post(f"{where}/cancel"), 200)["status"] == "canceled"


async def test_a_disputed_payment_is_not_refunded(shop: ServedShop) -> None:
    made = await received(shop)
    shop.dashboard.open_dispute(made["charge"])
    await shop.deliver()
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 409, "payment_disputed")
    expect(await shop.post("/v1/refunds", {"charge": made["charge"]}), 409, "payment_disputed")
    assert expect(await shop.get(f"/v1/payments/{made['payment']}"), 200)["disputed"] is True


async def test_more_than_a_failed_standalone_refund_needs_a_reason(shop: ServedShop) -> None:
    payment = shop.pay(4000, card="pm_card_refundFail")
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 1000}), 202)
    await shop.settle()
    where = f"/v1/refunds/{refund['id']}/retry"
    assert expect(await shop.post(where, {"amount": 1001}), 422, "override_required")["failed_amount"] == 1000
    again = expect(await shop.post(where, {"amount": 1001, "override_reason": "Agreed."}), 202)
    assert (again["amount"], again["note"]) == (1001, "Agreed.")


async def test_a_failed_standalone_refund_is_retried_then_settled_outside(shop: ServedShop) -> None:
    payment = shop.pay(4000, card="pm_card_refundFail")
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment}), 202)
    where = f"/v1/refunds/{refund['id']}"
    expect(await shop.post(f"{where}/retry"), 409, "refund_not_failed")
    await shop.settle()
    failed = expect(await shop.get(where), 200)
    assert failed["status"] == "failed"
    assert failed["failure"]["message"]
    expect(
        await shop.post(f"{where}/retry", {"amount": 4001, "override_reason": "x"}), 422, "amount_exceeds_refundable"
    )
    again = expect(await shop.post(f"{where}/retry"), 202)
    expect(await shop.post(f"{where}/retry"), 409, "refund_superseded")
    await shop.settle()
    body = {"method": "cash", "reference": "till 4"}
    done = expect(await shop.post(f"/v1/refunds/{again['id']}/settle_outside", body), 200)
    assert (done["status"], done["method"], done["amount"]) == ("settled_outside", "cash", 4000)
    assert expect(await shop.get(f"/v1/refunds/{again['id']}"), 200)["superseded_by"] == done["id"]


async def test_send_again_waits_looks_and_only_then_sends(shop: ServedShop) -> None:
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(4000)}), 202)
    where = f"/v1/refunds/{refund['id']}/send_again"
    why = {"reason": "Stripe support says it never came."}
    expect(await shop.post(where, why), 409, "refund_not_unknown")
    shop.faults.arm("drop_after")
    await shop.work()
    shop.faults.disarm()
    early = expect(await shop.post(where, why), 409, "too_early")
    assert early["possible_at"]
    shop.advance(16 * 60)
    found = expect(await shop.post(where, why), 409, "refund_found")
    assert found["stripe_refund"].startswith("re_")
    assert expect(await shop.get(f"/v1/refunds/{refund['id']}"), 200)["status"] == "succeeded"


async def test_send_again_uses_a_new_key_when_stripe_has_nothing(shop: ServedShop) -> None:
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(4000)}), 202)
    where = f"/v1/refunds/{refund['id']}/send_again"
    shop.faults.arm("drop_before")
    await shop.work()
    shop.faults.disarm()
    shop.advance(16 * 60)
    sent = expect(await shop.post(where, {"reason": "Never arrived."}), 202)
    assert (sent["status"], sent["generation"]) == ("queued", 2)
    await shop.work()
    assert len(shop.ledger.refunds) == 0, "whoever may still ask under the key before has a minute to be late"
    shop.advance(61)
    await shop.settle()
    assert expect(await shop.get(f"/v1/refunds/{refund['id']}"), 200)["status"] == "succeeded"
    assert len(shop.ledger.refunds) == 1


@pytest.mark.parametrize("by", ["payment_intent", "charge"])
async def test_a_payment_never_seen_is_asked_for_at_stripe_once(shop: ServedShop, by: str) -> None:
    """B8: what is refundable is known before a return exists."""
    intent = shop.pay()
    shop.dashboard.refund(intent, 2500)
    name = intent if by == "payment_intent" else shop.ledger.payment_intents[intent]["latest_charge"]
    read = expect(await shop.get(f"/v1/payments/{name}"), 200)
    assert (read["payment_intent"], read["captured"], read["refunded"], read["refundable"]) == (
        intent,
        10_000,
        2500,
        7500,
    )
    assert [refund["source"] for refund in read["refunds"]] == ["external"]
    asked_before = len(shop.wire.requests)
    assert expect(await shop.get(f"/v1/payments/{name}"), 200) == read
    assert expect(await shop.get(f"/v1/payments/{read['id']}"), 200) == read
    assert len(shop.wire.requests) == asked_before
    assert (await shop.count_rows())["Payment"] == 1


async def test_a_payment_that_was_seen_before_it_was_paid_is_asked_for_again(shop: ServedShop) -> None:
    """What was read once stood for good: no webhook that we need tells that a PaymentIntent succeeded."""
    intent = shop.start_payment()
    waits = expect(await shop.get(f"/v1/payments/{intent}"), 200)
    assert (waits["status"], waits["captured"]) == ("requires_payment_method", 0)
    expect(await shop.post("/v1/refunds", {"payment_intent": intent, "amount": 500}), 422, "payment_not_succeeded")
    shop.confirm_payment(intent)
    shop.lose_webhooks()
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": intent, "amount": 500}), 202)
    assert refund["payment"] == waits["id"]
    other = shop.start_payment()
    waits = expect(await shop.get(f"/v1/payments/{other}"), 200)
    shop.confirm_payment(other)
    shop.lose_webhooks()
    for name in (other, waits["id"]):
        paid = expect(await shop.get(f"/v1/payments/{name}"), 200)
        assert (paid["status"], paid["refundable"]) == ("succeeded", 10_000), name


async def test_a_payment_that_nobody_knows_or_stripe_cannot_tell(shop: ServedShop) -> None:
    """B8: only Stripe's names are asked for, and nothing is kept of what isn't there."""
    expect(await shop.get("/v1/payments/pi_nobody"), 404, "payment_missing")
    asked_before = len(shop.wire.requests)
    for name in ("pay_nobody", "ret_nobody", "x"):
        expect(await shop.get(f"/v1/payments/{name}"), 404, "not_found")
    expect(
        await shop.get(f"/v1/payments/{shop.pay()}", headers={"Authorization": "Bearer nobody"}), 401, "unauthorized"
    )
    assert len(shop.wire.requests) == asked_before
    intent = shop.pay()
    shop.wire.down = True
    expect(await shop.get(f"/v1/payments/{intent}"), 503, "stripe_unavailable")
    assert (await shop.count_rows())["Payment"] == 0
    shop.wire.down = False
    assert expect(await shop.get(f"/v1/payments/{intent}"), 200)["refundable"] == 10_000
