"""Currencies: which Stripe takes, from which amount on, in which steps."""

from __future__ import annotations

import pytest

from tests.simulator.shop import Shop


@pytest.mark.parametrize("currency", ["xyz", "btc", "dollars", "US$"])
def test_an_unknown_currency_is_refused(shop: Shop, currency: str) -> None:
    assert shop.refused("/v1/payment_intents", {"amount": 5000, "currency": currency})["param"] == "currency"


@pytest.mark.parametrize(
    "currency, minimum, words",
    [("usd", 50, "$0.50 usd"), ("gbp", 30, "£0.30 gbp"), ("jpy", 50, "¥50 jpy"), ("huf", 17500, "HUF 175.00 huf")],
)
def test_a_payment_has_at_least_its_currencys_minimum(shop: Shop, currency: str, minimum: int, words: str) -> None:
    error = shop.refused("/v1/payment_intents", {"amount": minimum - 1, "currency": currency})
    assert (error["code"], error["param"]) == ("amount_too_small", "amount")
    assert error["message"] == f"Amount must be at least {words}"
    intent = shop.pay(minimum, currency=currency)
    assert shop.refund(intent, 1)["amount"] == 1


@pytest.mark.parametrize("currency, step", [("isk", 100), ("ugx", 100), ("kwd", 10), ("bhd", 10)])
def test_amounts_keep_their_currencys_step(shop: Shop, currency: str, step: int) -> None:
    error = shop.refused("/v1/payment_intents", {"amount": 100 * step + 1, "currency": currency})
    assert (error["code"], error["param"]) == ("invalid_charge_amount", "amount")
    intent = shop.pay(100 * step, currency=currency)
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 1})["param"] == "amount"
    assert shop.refund(intent, step)["amount"] == step
