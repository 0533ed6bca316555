"""Money in odd states: what was decided is what moves, and what became of it is told."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.commands.refund_actions import apply_payment_read
from returns_service.domain.stripe_objects import PaymentSnapshot
from returns_service.store.tables import Payment
from returns_service.stripe_simulator import Request, answer
from tests.api.test_partial_captures import MULTICAPTURE, authorized, payment_of, reread
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import BY, KEY


async def test_a_decided_amount_is_all_that_is_paid_where_deductions_eat_up_what_is_due(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(refund_on="manual")
    made = await shop.create_approved_return(payment=shop.pay(50_000))
    await shop.receive_parcel(made["id"], 3)
    deduction = {"kind": "deduction", "amount": 10_000, "description": "Worn."}
    body = {"amount": 3000, "adjustments": [deduction], "note": "Agreed on the phone."}
    refund = expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    rows = [("line", 10_000), ("deduction", -10_000), ("goodwill", 3000)]
    assert [(row["kind"], row["amount"]) for row in refund["breakdown"]] == rows
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["amount_due"]) == ("refunded", 3000, 0)


async def test_each_amount_that_a_person_decides_is_one_that_stripe_can_move(
    shop: ServedShop, with_policy: Any
) -> None:
    """Two of 0.005 KWD make a whole together, but what fails may be paid in parts."""
    with_policy(refund_on="manual")
    payment = shop.pay(10_000, currency="kwd")
    made = await shop.create_approved_return(9000, payment=payment, currency="kwd")
    await shop.receive_parcel(made["id"], 3)
    both = [{"kind": kind, "amount": 5, "description": "Worn."} for kind in ("goodwill", "deduction")]
    answer = await shop.post(f"/v1/returns/{made['id']}/refund", {"adjustments": both})
    assert expect(answer, 422, "amount_not_a_step")["param"] == "adjustments[0].amount"


@pytest.mark.parametrize("kind", ["dispute", "inquiry"])
async def test_what_was_settled_while_a_dispute_was_open_is_due_again_once_it_is_won(
    shop: ServedShop, with_policy: Any, kind: str
) -> None:
    """The bank gave the customer nothing: else the return would say `refunded` for ever."""
    with_policy(refund_on="manual")
    payment = shop.pay(9000)
    made = await shop.create_approved_return(9000, payment=payment)
    dispute = getattr(shop.dashboard, f"open_{kind}")(payment)["id"]
    await shop.deliver()
    await shop.receive_parcel(made["id"], 3)
    body = {"method": "dispute", "reference": dispute}
    assert expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", body), 200)["state"] == "refunded"
    shop.dashboard.win(dispute)
    await shop.deliver()
    turned = await shop.read_return(made["id"])
    assert (turned["state"], turned["amount_due"], turned["failure"]["code"]) == ("failed", 9000, "dispute_won")
    expect(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)
    await shop.settle()
    assert ((await shop.read_return(made["id"]))["state"], shop.at_stripe(payment)) == ("refunded", 9000)


async def test_a_refund_of_no_return_that_a_won_dispute_had_settled_waits_on_the_desk(shop: ServedShop) -> None:
    payment = shop.pay(9000, card="pm_card_refundFail")
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 4000}), 202)
    await shop.settle()
    dispute = shop.dashboard.open_dispute(payment)["id"]
    shop.dashboard.lose(dispute)
    await shop.deliver()
    body = {"method": "dispute", "reference": dispute}
    settled = expect(await shop.post(f"/v1/refunds/{refund['id']}/settle_outside", body), 200)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []
    shop.dashboard.overturn(dispute)
    await shop.deliver()
    await reread(shop)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["refund"], item["actions"]) == (
        "refund_failed",
        settled["id"],
        ["retry", "settle_outside"],
    )


async def test_a_read_that_began_before_a_capture_takes_nothing_of_it_back(shop: ServedShop) -> None:
    payment = authorized(shop, **MULTICAPTURE)
    shop.dashboard.capture(payment, 3000, final=False)
    known = await payment_of(shop, payment)
    async with shop.db.reading() as tx:
        observations = (await tx.get_one(Payment, known["id"])).observations
    early = await shop.gateway.read_payment(payment_intent=payment)
    assert isinstance(early, PaymentSnapshot)
    shop.dashboard.capture(payment, 2000, final=False)
    await shop.deliver()
    await reread(shop)
    assert (await payment_of(shop, payment))["captured"] == 5000
    await shop.db.run(lambda tx: apply_payment_read(tx, BY, shop.policy, known["id"], early, observations))
    async with shop.db.reading() as tx:
        assert (await tx.get_one(Payment, known["id"])).captured == 5000


async def test_a_payment_that_was_declined_first_is_known_by_the_charge_that_paid(shop: ServedShop) -> None:
    payment = shop.pay(card="pm_card_visa_chargeDeclined")
    declined = (await payment_of(shop, payment))["charge"]
    headers, body = {"authorization": f"Bearer {KEY}"}, b"payment_method=pm_card_visa"
    path = f"/v1/payment_intents/{payment}/confirm"
    charge = answer(shop.ledger, Request("POST", path, "", headers, body)).json()["latest_charge"]
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    assert charge != declined
    assert (await shop.read_return(made["id"]))["charge"] == charge
    assert len(expect(await shop.get(f"/v1/refunds?charge={charge}"), 200)["data"]) == 1


@pytest.mark.parametrize("was_sent", [False, True])
async def test_what_a_person_took_off_is_not_paid_after_a_correction(shop: ServedShop, was_sent: bool) -> None:
    """70.00 of 100.00 were agreed; the count behind it is corrected, and 100.00 would be due anew."""
    payment = shop.pay(50_000, card="pm_card_refundFail")
    made = await shop.create_approved_return(payment=payment)
    receipt = await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    part = {"amount": 7000, "waive": True, "reason": "Agreed on the phone."}
    expect(await shop.post(f"/v1/returns/{made['id']}/retry", part), 202)
    if was_sent:
        await shop.settle()
    change = {"line": made["lines"][0]["id"], "from": "new", "to": "opened", "quantity": 1}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [change], "reason": "The box is open."}), 200)
    await shop.settle()
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_open"], shop.at_stripe(payment)) == ("failed", 0, 0)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("refund_failed", 7000, ["retry", "settle_outside"])
    settled = {"method": "cash", "reference": "till 3"}
    done = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", settled), 200)
    assert (done["state"], done["amount_settled_outside"], done["amount_due"]) == ("refunded", 7000, 0)


async def test_what_a_person_gave_is_not_dropped_by_a_correction(shop: ServedShop, with_policy: Any) -> None:
    with_policy(refund_on="manual")
    payment = shop.pay(50_000)
    made = await shop.create_approved_return(payment=payment)
    receipt = await shop.receive_parcel(made["id"], 3)
    goodwill = {"kind": "goodwill", "amount": 500, "description": "Sorry."}
    body = {"adjustments": [goodwill], "override_reason": "Agreed on the phone."}
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    change = {"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 1}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [change], "reason": "One is missing."}), 200)
    assert (await shop.read_return(made["id"]))["state"] == "failed"
    assert expect(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)["amount"] == 7166
    await shop.settle()
    assert ((await shop.read_return(made["id"]))["state"], shop.at_stripe(payment)) == ("refunded", 7166)


@pytest.mark.parametrize("road", ["assign", "settle_outside"])
async def test_a_second_refund_pays_instead_of_the_first_where_that_one_fails(shop: ServedShop, road: str) -> None:
    payment = shop.pay(50_000)
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    (first,) = (await shop.read_return(made["id"]))["refunds"]
    second = shop.dashboard.refund(payment, 10_000, metadata={"refund_id": first["id"]})["id"]
    await shop.deliver()
    found = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]
    where, body = f"/v1/refunds/{found['id']}/assign", {"return": made["id"]}
    expect(await shop.post(where, body), 409, "refund_not_external")
    shop.dashboard.fail(first["stripe_refund"])
    await shop.deliver()
    if road == "settle_outside":
        where = f"/v1/returns/{made['id']}/settle_outside"
        body = {"method": "dashboard_refund", "reference": second}
    expect(await shop.post(where, body), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 10_000, 10_000)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []


async def test_what_was_paid_ahead_for_units_that_do_not_come_is_told(shop: ServedShop, with_policy: Any) -> None:
    with_policy(refund_on="approval")
    made = await shop.create_approved_return(card="pm_card_pendingRefund")
    await shop.work()
    await shop.receive_parcel(made["id"], 1)
    expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "The rest is not coming."}), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["overpaid_amount"]) == ("refunded", 10_000, 6667)
    assert [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]] == ["return_overpaid"]


async def test_another_wish_drops_nothing_that_a_person_decided(shop: ServedShop, with_policy: Any) -> None:
    with_policy(refund_on="manual")
    made = await shop.create_approved_return(payment=shop.pay(50_000))
    await shop.receive_parcel(made["id"], 3)
    goodwill = {"kind": "goodwill", "amount": 500, "description": "Sorry."}
    body = {"adjustments": [goodwill], "override_reason": "Agreed on the phone."}
    refund = expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    where, wish = f"/v1/returns/{made['id']}/resolution", {"resolution": "store_credit"}
    expect(await shop.post(where, wish), 409, "refund_in_progress")
    expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)
    assert expect(await shop.post(where, wish), 409, "failed_refund_open")["refunds"] == [refund["id"]]
    credit = {"method": "store_credit", "reference": "credit 17"}
    done = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", credit), 200)
    assert (done["state"], done["amount_settled_outside"], done["amount_due"]) == ("refunded", 10_500, 0)


@pytest.mark.parametrize("is_named", [False, True])
async def test_a_dashboard_refund_pays_what_was_decided_about_its_units(
    shop: ServedShop, with_policy: Any, is_named: bool
) -> None:
    """70.00 of 100.00 were agreed, and failed; a colleague pays them in the Dashboard."""
    with_policy(refund_on="manual")
    payment = shop.pay()
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    agreed = expect(await shop.post(f"/v1/returns/{made['id']}/refund", {"amount": 7000, "note": "Worn."}), 202)
    await shop.settle()
    shop.dashboard.fail(expect(await shop.get(f"/v1/refunds/{agreed['id']}"), 200)["stripe_refund"])
    outside = await pay_in_dashboard(shop, made, 7000)
    units = {"lines": [{"line": made["lines"][0]["id"], "units": 3}]} if is_named else {}
    expect(await shop.post(f"/v1/refunds/{outside['id']}/assign", {"return": made["id"], **units}), 200)
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["amount_due"]) == ("refunded", 7000, 0)


@pytest.mark.parametrize("road", ["settle_outside", "refund"])
async def test_what_a_person_took_off_is_not_paid_where_another_refund_paid_the_rest(
    shop: ServedShop, road: str
) -> None:
    """70.00 of 100.00 are under way, and a colleague pays them in the Dashboard; then ours fails."""
    payment = shop.pay(50_000, card="pm_card_pendingRefund")
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    await fail_under_way(shop, made)
    part = {"amount": 7000, "waive": True, "reason": "Agreed on the phone."}
    expect(await shop.post(f"/v1/returns/{made['id']}/retry", part), 202)
    await shop.work()
    outside = await pay_in_dashboard(shop, made, 7000)
    expect(await shop.post(f"/v1/refunds/{outside['id']}/assign", {"return": made["id"]}), 200)
    await fail_under_way(shop, made)
    shop.clock.advance(7200)
    await shop.settle()
    waits = await shop.read_return(made["id"])
    assert (waits["state"], waits["amount_due"], shop.at_stripe(payment)) == ("approved", 3000, 7000)
    assert waits["refund_barred"]["code"] == "failed_refund_open"
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("refund_barred", 3000, ["refund", "settle_outside"])
    body = {"method": "waived", "reference": "It stays taken off."} if road == "settle_outside" else {}
    expect(await shop.post(f"/v1/returns/{made['id']}/{road}", body), 200 if body else 202)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    assert shop.at_stripe(payment) == (7000 if body else 10_000)


async def pay_in_dashboard(shop: ServedShop, made: dict[str, Any], amount: int) -> dict[str, Any]:
    """Refund a part of a return's payment in Stripe's Dashboard; return it as it is known here."""
    seen = shop.dashboard.refund(made["charge"], amount)["id"]
    await shop.deliver()
    refunds = expect(await shop.get(f"/v1/refunds?payment_intent={made['payment_intent']}"), 200)["data"]
    return next(refund for refund in refunds if refund["stripe_refund"] == seen)


async def fail_under_way(shop: ServedShop, made: dict[str, Any]) -> None:
    """Let the bank refuse the refund of ours that is under way."""
    await shop.work()
    refunds = (await shop.read_return(made["id"]))["refunds"]
    (pending,) = [one for one in refunds if (one["source"], one["status"]) == ("return", "pending")]
    shop.dashboard.fail(pending["stripe_refund"])
    await shop.deliver()


async def test_a_link_offers_no_amount_that_stripe_cannot_move(shop: ServedShop) -> None:
    """149 krónur were offered, and a customer who sent the item back would have been given 100."""
    line = {"sku": "A", "quantity": 1, "total_amount": 149}
    body = {"order_id": "A-1", "payment_intent": shop.pay(20_000, currency="isk"), "currency": "isk", "lines": [line]}
    for path in ("/v1/portal_sessions", "/v1/returns"):
        problem = expect(await shop.post(path, body), 422, "amount_not_a_step")
        assert (problem["param"], problem["step"]) == ("lines[0].total_amount", 100)
