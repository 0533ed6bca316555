"""A1, A2, A3, A5 over the API: money that others moved, as the return and the payment tell it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import Actor
from returns_service.stripe_simulator import Request, answer
from returns_service.worker import maintenance
from returns_service.worker.reconcile import reconcile
from tests.harness.served_shop import ServedShop, expect, return_body
from tests.harness.shop import KEY

LEGACY = "2025-02-24.acacia"
WORKER = Actor("worker")
MULTICAPTURE = {"payment_method_options[card][request_multicapture]": "if_available"}


def authorized(shop: ServedShop, **more: str) -> str:
    """Return a PaymentIntent over 10000 that waits for its capture."""
    form = {"amount": "10000", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
    body = str(httpx.QueryParams(form | {"capture_method": "manual"} | more)).encode()
    headers = {"authorization": f"Bearer {KEY}"}
    return str(answer(shop.ledger, Request("POST", "/v1/payment_intents", "", headers, body)).json()["id"])


async def reread(shop: ServedShop) -> None:
    """Let the worker read what is due to be read, and bring what Stripe tells."""
    for _ in range(20):
        shop.advance(61)
        db, gateway = shop.db, shop.context.gateway
        if not await maintenance.reread_payment(db, gateway, WORKER, DEFAULT) and not await shop.deliver():
            return


async def payment_of(shop: ServedShop, intent: str) -> dict[str, Any]:
    return expect(await shop.get(f"/v1/payments/{intent}"), 200)


@pytest.mark.parametrize("captured", [6000, 4000])
async def test_all_that_was_captured_is_refundable(shop: ServedShop, captured: int) -> None:
    """A1: no external refund, neither from the read nor from webhooks nor from the comparison."""
    payment = authorized(shop)
    shop.dashboard.capture(payment, captured, api_version=LEGACY)
    await shop.create_return(captured, payment=payment)
    await reread(shop)
    report = await reconcile(shop.db, shop.context.gateway, datetime(2020, 1, 1, tzinfo=UTC), fix=True)
    assert not report.differs
    shown = await payment_of(shop, payment)
    assert (shown["captured"], shown["released"]) == (captured, 10_000 - captured)
    assert (shown["refundable"], shown["refunded"], shown["refunds"]) == (captured, 0, [])


async def test_a_refund_as_large_as_the_release_is_a_refund(shop: ServedShop) -> None:
    """A1: the balance tells a Dashboard refund of 40.00 from the release of 40.00; assigned, it counts once."""
    payment = authorized(shop)
    shop.dashboard.capture(payment, 6000, api_version=LEGACY)
    made = await shop.create_approved_return(6000, 1, payment=payment)
    shop.dashboard.refund(payment, 4000)
    await shop.deliver()
    await reread(shop)
    shown = await payment_of(shop, payment)
    assert (shown["released"], shown["refunded"], shown["refundable"]) == (4000, 4000, 2000)
    (refund,) = shown["refunds"]
    expect(await shop.post(f"/v1/refunds/{refund['id']}/assign", {"return": made["id"]}), 200)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 6000)


async def test_the_news_of_a_capture_after_the_return_makes_no_refund_of_the_release(shop: ServedShop) -> None:
    """A1: the webhook of a refund that nobody knows asks for a read where it may be a release."""
    payment = authorized(shop, **MULTICAPTURE)
    shop.dashboard.capture(payment, 3000, final=False)
    await shop.create_return(3000, payment=payment)
    shop.dashboard.capture(payment, 3000, api_version=LEGACY)
    await shop.deliver()
    assert (await payment_of(shop, payment))["refunds"] == []
    await reread(shop)
    shown = await payment_of(shop, payment)
    assert (shown["status"], shown["captured"], shown["released"], shown["refunds"]) == ("succeeded", 6000, 4000, [])
    shop.dashboard.refund(payment, 1000)
    await shop.deliver()
    await reread(shop)
    shown = await payment_of(shop, payment)
    assert ([r["amount"] for r in shown["refunds"]], shown["refundable"]) == ([1000], 5000)


async def test_a_canceled_authorization_is_said_to_be_canceled(shop: ServedShop) -> None:
    """A2: 422 and no 503; its events trouble nobody."""
    payment = authorized(shop)
    shop.dashboard.cancel_payment(payment, api_version=LEGACY)
    problem = expect(await shop.post("/v1/returns", return_body(payment)), 422, "payment_not_succeeded")
    assert (problem["payment_status"], "canceled" in problem["detail"]) == ("canceled", True)
    await shop.deliver()
    desk = expect(await shop.get("/v1/desk"), 200)
    assert desk["data"] == []


@pytest.mark.parametrize("method,words", [("pm_sepa_debit", "still processing"), ("pm_us_bank_account", "days")])
async def test_a_processing_payment_is_said_to_be_processing(shop: ServedShop, method: str, words: str) -> None:
    """A3: no advice to capture it."""
    currency = {"pm_sepa_debit": "eur"}.get(method, "usd")
    payment = shop.pay(currency=currency, card=method)
    problem = expect(
        await shop.post("/v1/returns", return_body(payment, currency=currency)), 422, "payment_not_succeeded"
    )
    assert words in problem["detail"]
    shop.dashboard.settle_payment(payment)
    expect(await shop.post("/v1/returns", return_body(payment, currency=currency)), 201)


@pytest.mark.parametrize("road", ["retry", "settle_outside"])
async def test_what_a_lost_dispute_settled_is_open_again_once_it_is_won(shop: ServedShop, road: str) -> None:
    """A5: the bank took the money back from the customer: a person pays it again, once."""
    payment = shop.pay(9000)
    made = await shop.create_approved_return(9000, payment=payment)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    dispute = shop.dashboard.open_dispute(payment)["id"]
    await shop.deliver()
    await shop.receive_parcel(made["id"], 2)
    shop.dashboard.lose(dispute)
    await shop.settle()
    body = {"method": "dispute", "reference": dispute}
    settled = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", body), 200)
    assert (settled["state"], settled["amount_settled_outside"]) == ("refunded", 6000)
    shop.dashboard.overturn(dispute)
    await shop.deliver()
    await reread(shop)
    turned = await shop.read_return(made["id"])
    assert (turned["state"], turned["amount_due"], turned["failure"]["code"]) == ("failed", 6000, "dispute_won")
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("refund_failed", 6000, ["retry", "settle_outside"])
    again = {} if road == "retry" else {"method": "cash", "reference": "till 3"}
    expect(await shop.post(f"/v1/returns/{made['id']}/{road}", again), 202 if road == "retry" else 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_due"]) == ("refunded", 0)
    assert shop.at_stripe(payment) == (9000 if road == "retry" else 3000)


async def test_what_is_captured_so_far_can_be_refunded(shop: ServedShop) -> None:
    """A3: 3000 of 10000 in a multicapture; the rest as soon as it is captured."""
    payment = authorized(shop, **MULTICAPTURE)
    problem = expect(await shop.post("/v1/returns", return_body(payment, 3000)), 422, "payment_not_succeeded")
    assert "capture it" in problem["detail"]
    shop.dashboard.capture(payment, 3000, final=False)
    expect(await shop.post("/v1/returns", return_body(payment, 3001)), 422, "amount_exceeds_payment")
    made = await shop.create_approved_return(3000, payment=payment)
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 1}), 409, "charge_already_refunded")
    shop.dashboard.capture(payment, 2000, final=False)
    await shop.deliver()
    await reread(shop)
    assert (await payment_of(shop, payment))["refundable"] == 2000
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 2000}), 202)


@pytest.mark.parametrize("first,disputed_then", [("lose", False), ("win", True)])
async def test_a_dispute_that_turns_is_read_afresh(shop: ServedShop, first: str, disputed_then: bool) -> None:
    """A5: lost, then won after all, and the other way round."""
    payment = shop.pay()
    await shop.create_return(payment=payment)
    dispute = shop.dashboard.open_dispute(payment)["id"]
    await shop.deliver()
    getattr(shop.dashboard, first)(dispute)
    await shop.deliver()
    await reread(shop)
    assert (await payment_of(shop, payment))["disputed"] is not disputed_then
    shop.dashboard.overturn(dispute)
    await shop.deliver()
    await reread(shop)
    shown = await payment_of(shop, payment)
    assert (shown["disputed"], shown["dispute"]["status"]) == (disputed_then, "lost" if disputed_then else "won")
