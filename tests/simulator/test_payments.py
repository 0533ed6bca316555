"""PaymentIntents, charges and test cards."""

from __future__ import annotations

import pytest

from tests.simulator.shop import DAY, Shop


def test_a_confirmed_payment_succeeds_and_is_told_in_order(shop: Shop) -> None:
    intent = shop.pay(5000, **{"metadata[order]": "1001"})
    charge = shop.charge(intent)
    assert (intent["status"], intent["amount_received"], intent["currency"]) == ("succeeded", 5000, "usd")
    assert intent["metadata"] == charge["metadata"] == {"order": "1001"}
    assert (charge["amount_captured"], charge["captured"], charge["paid"], charge["refunded"]) == (
        5000,
        True,
        True,
        False,
    )
    assert shop.event_types() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


def test_ids_look_like_stripes_and_repeat_with_the_seed() -> None:
    first, second = Shop().pay(), Shop().pay()
    assert first == second
    assert first["id"].startswith("pi_3")
    assert first["latest_charge"].startswith("ch_3")
    assert first["payment_method"].startswith("pm_1")


def test_a_declined_card_answers_402_and_leaves_the_payment_open(shop: Shop) -> None:
    form = {"amount": 900, "currency": "eur", "payment_method": "pm_card_visa_chargeDeclined", "confirm": "true"}
    error = shop.refused("/v1/payment_intents", form, status=402)
    assert (error["type"], error["code"], error["decline_code"]) == ("card_error", "card_declined", "generic_decline")
    intent = shop.again(error["payment_intent"])
    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["charge"] == error["charge"] == intent["latest_charge"]
    assert shop.charge(intent)["status"] == "failed"
    paid = shop.post(f"/v1/payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_mastercard"})
    assert (paid["status"], paid["last_payment_error"]) == ("succeeded", None)


def test_an_unconfirmed_payment_waits_and_a_paid_one_is_not_confirmed_again(shop: Shop) -> None:
    intent = shop.post("/v1/payment_intents", {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa"})
    assert intent["status"] == "requires_confirmation"
    assert shop.post(f"/v1/payment_intents/{intent['id']}/confirm")["status"] == "succeeded"
    error = shop.refused(f"/v1/payment_intents/{intent['id']}/confirm")
    assert error["code"] == "payment_intent_unexpected_state"


def test_a_manual_payment_is_refundable_up_to_what_was_captured(shop: Shop) -> None:
    intent = shop.pay(5000, capture_method="manual")
    assert (intent["status"], intent["amount_capturable"]) == ("requires_capture", 5000)
    shop.refused("/v1/refunds", {"payment_intent": intent["id"]})
    shop.refused("/v1/refunds", {"charge": intent["latest_charge"]})
    captured = shop.post(f"/v1/payment_intents/{intent['id']}/capture", {"amount_to_capture": 3000})
    assert (captured["status"], captured["amount_received"], captured["amount_capturable"]) == ("succeeded", 3000, 0)
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 3001})["param"] == "amount"
    assert shop.refund(intent)["amount"] == 3000
    assert shop.refused(f"/v1/payment_intents/{intent['id']}/capture")["code"] == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    "form, param, code",
    [
        ({"currency": "usd"}, "amount", "parameter_missing"),
        ({"amount": 100}, "currency", "parameter_missing"),
        ({"amount": "1.5", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "true", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": 0, "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": 10**8, "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "", "currency": "usd"}, "amount", "parameter_invalid_empty"),
        ({"amount": 100, "currency": "dollars"}, "currency", None),
        ({"amount": 100, "currency": "usd", "confirm": "yes"}, "confirm", None),
        ({"amount": 100, "currency": "usd", "colour": "red"}, "colour", "parameter_unknown"),
        ({"amount": 100, "currency": "usd", "capture_method": "later"}, "capture_method", None),
    ],
)
def test_bad_parameters_are_named(shop: Shop, form: dict[str, object], param: str, code: str | None) -> None:
    error = shop.refused("/v1/payment_intents", form)
    assert (error["param"], error.get("code"), error["type"]) == (param, code, "invalid_request_error")
    assert len(shop.ledger.payment_intents) == 0


def test_an_unknown_payment_method_is_missing(shop: Shop) -> None:
    form = {"amount": 100, "currency": "usd", "payment_method": "pm_card_nobody", "confirm": "true"}
    assert shop.refused("/v1/payment_intents", form, status=404)["code"] == "resource_missing"


def test_what_is_not_there_is_a_404(shop: Shop) -> None:
    for path in ("payment_intents/pi_0", "charges/ch_0", "refunds/re_0", "disputes/du_0", "events/evt_0"):
        error = shop.refused(f"/v1/{path}", method="GET", status=404)
        assert (error["code"], error["param"]) == ("resource_missing", "id")
        assert path.rpartition("/")[2] in error["message"]
    shop.refused("/v1/nothing", method="GET", status=404)


def test_expansion_goes_as_deep_as_asked(shop: Shop) -> None:
    intent = shop.pay()
    refund = shop.refund(intent, 100)
    seen = shop.get(f"/v1/payment_intents/{intent['id']}", "expand[]=latest_charge.refunds.data.balance_transaction")
    rows = seen["latest_charge"]["refunds"]
    assert [row["id"] for row in rows["data"]] == [refund["id"]]
    assert rows["data"][0]["balance_transaction"]["amount"] == -100
    assert "refunds" not in shop.charge(intent)
    listed = shop.get("/v1/refunds", {"expand[0]": "data.charge", "expand[1]": "data.payment_intent"})
    assert listed["data"][0]["charge"]["id"] == intent["latest_charge"]
    assert listed["data"][0]["payment_intent"]["id"] == intent["id"]
    for path in ("colour", "latest_charge.colour", "data.latest_charge"):
        error = shop.refused(f"/v1/payment_intents/{intent['id']}", {"expand[]": path}, method="GET")
        assert error["param"] == "expand[0]"


def test_the_balance_is_the_sum_of_what_moved(shop: Shop) -> None:
    shop.refund(shop.pay(5000, "pm_card_bypassPending"), 1200)
    shop.pay(700)
    balance = shop.get("/v1/balance")
    assert balance["available"] == [{"amount": 3800, "currency": "usd", "source_types": {"card": 3800}}]
    assert balance["pending"][0]["amount"] == 700
    shop.wait(2 * DAY)
    assert shop.get("/v1/balance")["available"][0]["amount"] == 4500
    assert shop.get("/v1/account")["charges_enabled"] is True
