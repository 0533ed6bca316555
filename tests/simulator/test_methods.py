"""Payment methods: declines, authentication, bank debits, vouchers, and their refunds."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.stripe_simulator import WrongMove
from tests.simulator.shop import DAY, Shop

WINDOWS = {  # days in which a refund is possible
    "oxxo": 0, "boleto": 0, "fpx": 60, "upi": 60, "alipay": 90, "amazon_pay": 90, "grabpay": 90, "paynow": 90,
    "affirm": 120, "afterpay_clearpay": 120, "sepa_debit": 180, "us_bank_account": 180, "ideal": 180,
    "bancontact": 180, "paypal": 180, "wechat_pay": 180, "p24": 180, "eps": 180, "zip": 180,
}  # fmt: skip


@pytest.mark.parametrize(
    "card, decline_code",
    [("pm_card_chargeDeclined", "generic_decline"), ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds")],
)
def test_a_declined_card_says_why(shop: Shop, card: str, decline_code: str) -> None:
    form = {"amount": 900, "currency": "usd", "payment_method": card, "confirm": "true"}
    error = shop.refused("/v1/payment_intents", form, status=402)
    assert (error["code"], error["decline_code"]) == ("card_declined", decline_code)


def test_a_card_that_needs_authentication_waits_for_the_customer(shop: Shop) -> None:
    intent = shop.pay(900, "pm_card_threeDSecure2Required")
    assert (intent["status"], intent["next_action"]["type"]) == ("requires_action", "redirect_to_url")
    assert intent["latest_charge"] is None
    shop.refused("/v1/refunds", {"payment_intent": intent["id"]})
    shop.dashboard.authenticate(intent["id"])
    paid = shop.again(intent)
    assert (paid["status"], paid["next_action"], paid["amount_received"]) == ("succeeded", None, 900)
    with pytest.raises(WrongMove):
        shop.dashboard.authenticate(intent["id"])


def test_a_failed_authentication_leaves_the_payment_open(shop: Shop) -> None:
    intent = shop.pay(900, "pm_card_threeDSecure2Required")
    shop.dashboard.fail_authentication(intent["id"])
    failed = shop.again(intent)
    assert failed["status"] == "requires_payment_method"
    assert failed["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert shop.event_types()[-2:] == ["payment_intent.requires_action", "payment_intent.payment_failed"]


@pytest.mark.parametrize("kind", sorted(WINDOWS))
def test_a_refund_is_possible_as_long_as_the_method_allows(shop: Shop, kind: str) -> None:
    intent = shop.pay(5000, f"pm_{kind}", currency="eur")
    shop.wait()
    charge = shop.charge(intent)
    assert shop.again(intent)["status"] == charge["status"] == "succeeded"
    assert (charge["payment_method_details"]["type"], intent["payment_method_types"]) == (kind, [kind])
    days = WINDOWS[kind]
    if days:
        shop.wait(days * DAY - 1)
        assert shop.refund(intent, 100)["status"] == "pending"
        shop.wait()
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 100})
    assert (error["code"], error["charge"]) == ("charge_not_refundable", charge["id"])


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_klarna", "pm_cashapp", "pm_link"])
def test_other_methods_have_no_window(shop: Shop, method: str) -> None:
    intent = shop.pay(5000, method)
    shop.wait(1000 * DAY)
    assert shop.refund(intent)["amount"] == 5000


def test_a_bank_refund_settles_later_and_says_where_the_money_goes(shop: Shop) -> None:
    refund = shop.refund(shop.pay(5000, "pm_ideal", currency="eur"), 100)
    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")
    assert refund["destination_details"]["type"] == "eu_bank_transfer"
    shop.wait()
    assert shop.again(refund)["status"] == "succeeded"
    shop.dashboard.set_arn(refund["id"], "REF1")
    assert shop.again(refund)["destination_details"]["eu_bank_transfer"]["reference"] == "REF1"
    line = shop.get(f"/v1/balance_transactions/{refund['balance_transaction']}")
    assert (line["type"], line["reporting_category"]) == ("payment_refund", "refund")
    with pytest.raises(WrongMove):
        shop.dashboard.set_arn(shop.refund(shop.pay(5000, "pm_zip"), 100)["id"])


@pytest.mark.parametrize("kind", ["sepa_debit", "us_bank_account"])
def test_a_bank_debit_is_processing_for_a_while(shop: Shop, kind: str) -> None:
    intent = shop.pay(5000, f"pm_{kind}")
    assert (intent["status"], intent["amount_received"]) == ("processing", 0)
    assert (shop.charge(intent)["status"], shop.charge(intent)["paid"]) == ("pending", False)
    assert shop.event_types() == ["payment_intent.created", "charge.pending", "payment_intent.processing"]
    assert shop.get("/v1/balance_transactions")["data"] == []
    shop.wait()
    assert (shop.again(intent)["status"], shop.again(intent)["amount_received"]) == ("succeeded", 5000)
    assert shop.event_types()[3:] == ["charge.succeeded", "payment_intent.succeeded"]
    with pytest.raises(WrongMove):
        shop.dashboard.fail_payment(intent["id"])


def test_a_bank_debit_can_fail(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_sepa_debit")
    shop.refused("/v1/refunds", {"payment_intent": intent["id"]})
    shop.dashboard.fail_payment(intent["id"])
    failed = shop.again(intent)
    assert (failed["status"], failed["last_payment_error"]["charge"]) == (
        "requires_payment_method",
        failed["latest_charge"],
    )
    assert shop.charge(failed)["status"] == "failed"
    shop.wait()
    assert shop.again(intent)["status"] == "requires_payment_method"


def test_a_refund_of_an_ach_debit_waits_for_its_payment(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_us_bank_account")
    refund = shop.refund(intent, 100)
    assert (refund["status"], refund["pending_reason"]) == ("pending", "charge_pending")
    assert refund["balance_transaction"] is None
    shop.dashboard.settle_payment(intent["id"])
    waiting = shop.again(refund)
    assert (waiting["status"], waiting["pending_reason"]) == ("pending", "processing")
    assert waiting["balance_transaction"] is not None
    shop.wait()
    assert shop.again(refund)["status"] == "succeeded"
    other = shop.pay(5000, "pm_us_bank_account")
    second = shop.refund(other, 100)
    shop.dashboard.fail_payment(other["id"])
    assert shop.again(second)["status"] == "canceled"
    assert "failure_balance_transaction" not in shop.again(second)


def test_a_konbini_refund_needs_an_address_and_the_customer(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_konbini", currency="jpy")
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"]})
    assert (error["param"], error["code"]) == ("instructions_email", "parameter_missing")
    refund = shop.refund(intent, 100, instructions_email="kim@shop.example")
    assert (refund["status"], refund["instructions_email"]) == ("requires_action", "kim@shop.example")
    sent = refund["next_action"]["display_details"]["email_sent"]
    assert sent == {"email_sent_at": int(shop.at), "email_sent_to": "kim@shop.example"}
    shop.dashboard.pend(refund["id"])
    shop.dashboard.settle(refund["id"])
    assert "next_action" not in shop.again(refund)
    by_receipt = shop.pay(5000, "pm_konbini", currency="jpy", receipt_email="lee@shop.example")
    details = shop.refund(by_receipt, 100)["next_action"]["display_details"]
    assert details["email_sent"]["email_sent_to"] == "lee@shop.example"


def test_a_method_may_be_given_by_its_type(shop: Shop) -> None:
    form: dict[str, Any] = {"amount": 900, "currency": "eur", "confirm": "true"}
    paid = shop.post("/v1/payment_intents", {**form, "payment_method_data[type]": "ideal"})
    assert (paid["status"], paid["payment_method_types"]) == ("succeeded", ["ideal"])
    card = shop.post("/v1/payment_intents", {**form, "payment_method_data[type]": "card"})
    assert shop.charge(card)["payment_method_details"]["card"]["last4"] == "4242"
    for more in (
        {"payment_method_data[type]": "shells"},
        {"payment_method_data": "ideal"},
        {"payment_method_data[type]": "ideal", "payment_method": "pm_card_visa"},
        {"payment_method_data[type]": "ideal", "capture_method": "manual"},
    ):
        shop.refused("/v1/payment_intents", {**form, **more})


def test_customers_and_payment_methods_are_read(shop: Shop) -> None:
    form = {"email": "kim@shop.example", "name": "Kim", "metadata[a]": "1"}
    customer = shop.post("/v1/customers", form)
    assert customer["id"].startswith("cus_")
    assert shop.get(f"/v1/customers/{customer['id']}") == customer
    shop.post("/v1/customers", {})
    assert shop.get("/v1/customers", {"email": "kim@shop.example"})["data"] == [customer]
    intent = shop.pay(900, customer=customer["id"])
    form = {"expand[0]": "customer", "expand[1]": "payment_method"}
    seen = shop.get(f"/v1/payment_intents/{intent['id']}", form)
    assert (seen["customer"]["email"], seen["payment_method"]["card"]["last4"]) == ("kim@shop.example", "4242")
    assert shop.get(f"/v1/payment_methods/{intent['payment_method']}") == seen["payment_method"]
    assert shop.get("/v1/payment_methods/pm_sepa_debit")["type"] == "sepa_debit"
    shop.refused("/v1/payment_methods/pm_0", method="GET", status=404)
    other = {"amount": 900, "currency": "usd", "customer": "cus_0"}
    assert shop.refused("/v1/payment_intents", other, status=404)["param"] == "customer"


def test_a_dispute_of_another_method_names_no_card(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_paypal")
    shop.wait()
    inquiry = shop.dashboard.open_inquiry(intent["id"])
    assert "payment_method_details" not in inquiry
    shop.dashboard.escalate(inquiry["id"])
    assert shop.again(inquiry)["status"] == "needs_response"
