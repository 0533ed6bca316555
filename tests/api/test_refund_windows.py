"""A9: the payment's method can't be refunded, or not any more: said when the return is asked for, not afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.harness.served_shop import ServedShop, expect, return_body

DAY = 86_400


@pytest.mark.parametrize("method,days", [("pm_fpx", 60), ("pm_sepa_debit", 180), ("pm_card_visa", None)])
async def test_return_and_preview_tell_until_when(shop: ServedShop, method: str, days: int | None) -> None:
    """A9."""
    currency = {"pm_fpx": "myr", "pm_sepa_debit": "eur"}.get(method, "usd")
    payment = shop.pay(currency=currency, card=method)
    if method == "pm_sepa_debit":
        shop.dashboard.settle_payment(payment)
    made = await shop.create_return(payment=payment, currency=currency)
    preview = expect(await shop.get(f"/v1/returns/{made['id']}/refund_preview"), 200)
    for shown in (made, preview):
        assert shown["refund_warning"] is None
        if days is None:
            assert shown["refund_deadline"] is None
        else:
            left = datetime.fromisoformat(shown["refund_deadline"]) - shop.clock()
            assert days - 1 <= left.days <= days


async def test_what_can_never_be_refunded_is_said_at_once_and_settled_outside(shop: ServedShop) -> None:
    """A9: no auto-approval, the approver is warned, and the desk proposes the way that is left."""
    shop.context.policy = replace(shop.context.policy, auto_approve_below={"mxn": 50_000})
    bought = datetime.fromtimestamp(shop.clock.unix(), UTC).isoformat()
    payment = shop.pay(currency="mxn", card="pm_oxxo")
    made = await shop.create_return(payment=payment, currency="mxn", purchased_at=bought)
    assert (made["state"], made["refund_warning"]["code"]) == ("requested", "method_not_refundable")
    approved = expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    assert approved["approvals"][0]["warning"] == "method_not_refundable"
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    desk = expect(await shop.get("/v1/desk"), 200)
    (item,) = [item for item in desk["data"] if item["return"] == made["id"]]
    assert (item["kind"], item["code"], item["actions"]) == (
        "refund_failed", "method_not_refundable", ["settle_outside"],
    )  # fmt: skip
    settled = {"method": "bank_transfer", "reference": "SPEI 1"}
    expect(await shop.post(f"/v1/refunds/{item['refund']}/settle_outside", settled), 200)
    assert (await shop.read_return(made["id"]))["refund_warning"] is None


async def test_a_window_that_ends_while_the_parcel_travels_is_warned_of(shop: ServedShop) -> None:
    """A9: before its end, and after."""
    payment = shop.pay(currency="myr", card="pm_fpx")
    made = await shop.create_return(payment=payment, currency="myr")
    shop.advance(50 * DAY)
    assert (await shop.read_return(made["id"]))["refund_warning"]["code"] == "refund_window_ends_soon"
    shop.advance(11 * DAY)
    assert (await shop.read_return(made["id"]))["refund_warning"]["code"] == "refund_window_over"
    late = expect(await shop.post("/v1/returns", return_body(payment, 1, 1, currency="myr")), 201)
    assert late["refund_warning"]["code"] == "refund_window_over"


async def test_a_customer_whom_stripe_has_to_ask_is_asked(shop: ServedShop) -> None:
    """A9: `instructions_email` goes along; what Stripe waits for, and until when, is told without the address."""
    payment = shop.pay(currency="jpy", card="pm_konbini")
    made = await shop.create_approved_return(payment=payment, currency="jpy", customer_email="customer@example.com")
    await shop.receive_parcel(made["id"], 3)
    await shop.work()
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    assert (refund["status"], refund["waiting_code"]) == ("requires_action", "customer_action")
    at_stripe = shop.ledger.refunds[refund["stripe_refund"]]
    sent = at_stripe["next_action"]["display_details"]
    assert sent["email_sent"]["email_sent_to"] == "customer@example.com"
    told = refund["next_action"]
    assert datetime.fromisoformat(told["expires_at"]).timestamp() == sent["expires_at"]
    assert "customer@example.com" not in str(told)
    shop.advance(8 * DAY)
    desk = expect(await shop.get("/v1/desk?kind=refund_requires_action"), 200)
    assert told["expires_at"][:10] in desk["data"][0]["advice"]
