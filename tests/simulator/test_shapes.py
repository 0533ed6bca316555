"""Objects, errors, lists and events against Stripe's published schemas, where these are at hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.shop import Shop

CHECKER = Path(__file__).resolve().parents[2].parent / "shared" / "stripe" / "check.py"

pytestmark = pytest.mark.skipif(not CHECKER.exists(), reason="Stripe's schemas are not beside this checkout")

Errors = Callable[[dict[str, Any], str], list[str]]


@pytest.fixture(scope="module")
def errors() -> Errors:
    """Return what is wrong with an object of a kind: unknown, missing or wrong fields."""
    spec = importlib.util.spec_from_file_location("check", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    bundle = check.load(strict=True)
    validators = {name: check.validator(name, bundle) for name in bundle["x-roots"]}

    def found(row: dict[str, Any], kind: str) -> list[str]:
        return list(check.errors(row, kind, validators[kind]))

    return found


def lived() -> Shop:
    """Return a shop in which everything has happened that can."""
    shop = Shop()
    for card in ("visa", "pendingRefund", "refundFail", "createDisputeInquiry", "createIssuerFraudRecord", "amex"):
        intent = shop.pay(5000, f"pm_card_{card}", **{"metadata[order]": "1"})
        shop.refund(intent, 100, reason="duplicate", **{"metadata[a]": "b"})
        waiting = shop.refund(intent, 50)
        shop.dashboard.require_action(waiting["id"])
        if card == "amex":
            shop.dashboard.cancel(waiting["id"])
            shop.dashboard.open_dispute(intent["id"])
    form = {"amount": 5000, "currency": "usd", "payment_method": "pm_card_visa_chargeDeclined", "confirm": "true"}
    shop.refused("/v1/payment_intents", form, status=402)
    shop.pay(700, capture_method="manual")
    shop.wait()
    for row in list(shop.ledger.disputes):
        shop.dashboard.respond(row["id"])
        shop.dashboard.win(row["id"])
    shop.dashboard.set_arn(next(iter(shop.ledger.refunds))["id"])
    shop.ledger.settings.balance = "short_waits"
    shop.refund(shop.pay(), 100)
    shop.ledger.add_endpoint("http://shop.test/")
    return shop


def closed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a dispute with its balance lines cut to what their schema, a stub, knows."""
    lines = [{"id": line["id"], "object": line["object"]} for line in row.get("balance_transactions", [])]
    return {**row, "balance_transactions": lines} if row["object"] == "dispute" else row


def test_every_object_is_as_published(errors: Errors) -> None:
    shop = lived()
    shelves = (shop.ledger.payment_intents, shop.ledger.charges, shop.ledger.refunds, shop.ledger.disputes)
    statuses = set()
    for shelf in shelves:
        for row in shelf:
            assert errors(closed(row), shelf.kind) == []
            statuses.add((shelf.kind, row["status"]))
    assert {status for kind, status in statuses if kind == "refund"} == {
        "pending", "requires_action", "succeeded", "failed", "canceled",
    }  # fmt: skip
    for endpoint in shop.ledger.endpoints.values():
        assert errors(endpoint.row, "webhook_endpoint") == []


def test_every_event_is_as_published(errors: Errors) -> None:
    shop = lived()
    for event in shop.ledger.events:
        row = closed(event["data"]["object"])
        assert errors({**event, "data": {**event["data"], "object": row}}, "event") == []
    types = set(shop.event_types())
    assert {
        "refund.created", "refund.updated", "refund.failed", "charge.refunded", "charge.refund.updated",
        "charge.succeeded", "payment_intent.succeeded", "charge.dispute.created", "charge.dispute.updated",
        "charge.dispute.closed", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
    } <= types  # fmt: skip


def test_lists_expansions_and_errors_are_as_published(errors: Errors) -> None:
    shop = lived()
    for kind in ("refund", "charge", "payment_intent", "event"):
        assert errors(shop.get(f"/v1/{kind}s", {"limit": 3}), f"{kind}_list") == []
    row = shop.get("/v1/charges", "expand[]=data.refunds")["data"][0]
    assert errors(row, "charge") == []
    form = {"amount": 5000, "currency": "usd", "payment_method": "pm_card_visa_chargeDeclined", "confirm": "true"}
    assert errors({"error": shop.refused("/v1/payment_intents", form, status=402)}, "error") == []
    assert errors({"error": shop.refused("/v1/refunds", {"payment_intent": "pi_0"}, status=404)}, "error") == []
