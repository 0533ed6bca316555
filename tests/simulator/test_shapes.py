"""Objects and events, held against the types of Stripe's own SDK."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.stripe_simulator.methods import TEST_METHODS
from tests.simulator.sdk_types import find_errors
from tests.simulator.shop import Shop


@pytest.fixture(scope="module")
def busy() -> Shop:
    """A shop in which everything has happened that can."""
    shop = Shop()
    for method in TEST_METHODS:
        form = {"amount": 5000, "currency": "usd", "payment_method": method, "confirm": "true", "metadata[order]": "1"}
        response = shop.call("POST", "/v1/payment_intents", form | {"receipt_email": "kim@shop.example"})
        assert response.status in (200, 402), response.body
    authenticated = next(row for row in shop.ledger.payment_intents if row["status"] == "requires_action")
    shop.dashboard.authenticate(authenticated["id"])
    shop.wait()
    for intent in list(shop.ledger.payment_intents):
        form = {"payment_intent": intent["id"], "amount": 100, "reason": "duplicate", "metadata[a]": "b"}
        refund = shop.call("POST", "/v1/refunds", form).json()
        if refund.get("status") == "succeeded":
            shop.dashboard.set_arn(refund["id"])
            shop.dashboard.require_action(refund["id"])
    for number, refund in enumerate(list(shop.ledger.refunds)):
        move = ("cancel", "settle", "pend", "fail", "wait")[number % 5]
        if move in shop.dashboard.open_moves(refund):
            shop.dashboard.move(move, refund["id"])
    for number, charge in enumerate(list(shop.ledger.charges)):
        if "open_dispute" in shop.dashboard.open_moves(charge):
            dispute = (shop.dashboard.open_inquiry if number % 3 else shop.dashboard.open_dispute)(charge["id"])
            if number % 2:
                shop.dashboard.respond(dispute["id"])
                shop.dashboard.win(dispute["id"])
    shop.dashboard.capture(shop.authorize(9000)["id"], 4000, api_version="2024-06-20")
    parts = shop.authorize(9000, "multicapture", "incremental_authorization")
    shop.dashboard.capture(parts["id"], 4000, final=False)
    shop.dashboard.cancel_payment(shop.authorize(9000)["id"])
    shop.dashboard.expire_authorization(shop.authorize(9000)["id"])
    failing = shop.pay(5000, "pm_us_bank_account")
    shop.refund(failing, 100)
    shop.dashboard.fail_payment(failing["id"])
    shop.post("/v1/customers", {"email": "kim@shop.example"})
    shop.ledger.settings.balance = "short_waits"
    shop.refund(shop.pay(), 100)
    shop.ledger.add_endpoint("http://shop.test/")
    return shop


def test_every_object_is_as_the_sdk_declares_it(busy: Shop) -> None:
    ledger = busy.ledger
    collections = (
        ledger.payment_intents, ledger.charges, ledger.refunds, ledger.disputes, ledger.balance_transactions,
        ledger.customers, ledger.payment_methods,
    )  # fmt: skip
    statuses: dict[str, set[str]] = {}
    for collection in collections:
        assert len(collection) > 0
        for row in collection:
            assert find_errors(row) == []
            statuses.setdefault(collection.kind, set()).add(row.get("status", ""))
    assert statuses["refund"] == {"pending", "requires_action", "succeeded", "failed", "canceled"}
    assert statuses["payment_intent"] >= {"succeeded", "requires_payment_method", "requires_capture", "canceled"}
    assert statuses["charge"] == {"succeeded", "failed"}
    for endpoint in ledger.endpoints.values():
        assert find_errors(endpoint.row) == []
    assert find_errors(busy.get("/v1/account")) == []


def test_every_event_is_as_the_sdk_declares_it(busy: Shop) -> None:
    for event in busy.ledger.events:
        assert find_errors(event) == []
        assert find_errors(event["data"]["object"]) == []
    assert set(busy.event_types()) >= {
        "refund.created", "refund.updated", "refund.failed", "charge.refunded", "charge.refund.updated",
        "charge.succeeded", "charge.captured", "charge.updated", "charge.pending", "charge.failed", "charge.expired",
        "payment_intent.succeeded", "payment_intent.processing", "payment_intent.canceled",
        "payment_intent.requires_action", "payment_intent.amount_capturable_updated", "charge.dispute.created",
        "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated", "radar.early_fraud_warning.created", "customer.created",
    }  # fmt: skip


def test_expanded_objects_are_as_the_sdk_declares_them(busy: Shop) -> None:
    for path, expand in [
        ("/v1/charges", "data.refunds.data.balance_transaction"),
        ("/v1/refunds", "data.balance_transaction"),
        ("/v1/refunds", "data.charge.payment_intent"),
        ("/v1/payment_intents", "data.latest_charge.balance_transaction"),
        ("/v1/balance_transactions", "data.source"),
    ]:
        for row in busy.get(path, {"limit": 100, "expand[]": expand})["data"]:
            assert find_errors(row) == []


def test_the_comparison_finds_what_is_wrong(busy: Shop) -> None:
    row = next(iter(busy.ledger.refunds))
    changes: list[tuple[dict[str, Any], str]] = [
        ({"colour": "red"}, "colour: unknown"),
        ({"amount": "5"}, "amount: '5' is no int"),
        ({"amount": True}, "amount: True is no int"),
        ({"metadata": []}, "metadata"),
        ({"destination_details": {"type": "card", "card": {"shade": 1}}}, "shade"),
    ]
    for change, words in changes:
        assert any(words in line for line in find_errors({**row, **change})), change
    assert find_errors({name: value for name, value in row.items() if name != "currency"}) == [
        "refund.currency: missing"
    ]


def test_an_error_has_the_fields_of_stripes(shop: Shop) -> None:
    form = {"amount": 5000, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    declined = shop.refused("/v1/payment_intents", form, status=402)
    missing = shop.refused("/v1/refunds", {"payment_intent": "pi_0"}, status=404)
    assert set(declined) == {
        "charge", "code", "decline_code", "doc_url", "message", "payment_intent", "request_log_url", "type",
    }  # fmt: skip
    assert set(missing) == {"code", "doc_url", "message", "param", "request_log_url", "type"}
