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
