"""API versions, the webhook endpoints pinned to one, and the clock in the answers."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from returns_service.stripe_simulator import Fault, answer_with_fault
from tests.simulator.shop import SECRET, Shop


def deliver(shop: Shop) -> list[dict[str, Any]]:
    """Return the bodies of all due webhooks, delivered."""
    bodies = []
    for webhook in shop.ledger.due_webhooks():
        bodies.append(json.loads(shop.ledger.body_of(webhook)))
        shop.ledger.mark_delivered(webhook)
    return bodies


def test_a_pinned_endpoint_gets_the_old_shape(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://new.test/", SECRET, ["charge.refunded"])
    shop.ledger.add_endpoint("http://old.test/", SECRET, ["charge.refunded"], api_version="2020-08-27")
    refund = shop.refund(shop.pay(), 100)
    new, old = deliver(shop)
    assert (new["id"], new["api_version"], old["api_version"]) == (old["id"], "2026-10-28.endive", "2020-08-27")
    assert "refunds" not in new["data"]["object"]
    refunds = old["data"]["object"]["refunds"]
    assert ([row["id"] for row in refunds["data"]], refunds["total_count"]) == ([refund["id"]], 1)
    assert old["request"]["id"] == new["request"]["id"] is not None
    assert old["pending_webhooks"] == 1
    assert shop.last_event("charge.refunded")["api_version"] == "2026-10-28.endive"


def test_a_very_old_endpoint_gets_the_request_as_an_id(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://old.test/", SECRET, ["charge.refunded"], api_version="2015-10-16")
    refund = shop.refund(shop.pay(), 100)
    (body,) = deliver(shop)
    assert body["request"] == shop.last_event("refund.created")["request"]["id"]
    shop.dashboard.refund(refund["payment_intent"], 100)
    (by_hand,) = deliver(shop)
    assert by_hand["request"] is None
    assert [row["amount"] for row in by_hand["data"]["object"]["refunds"]["data"]] == [100, 100]


def test_an_old_payment_event_holds_its_charges(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://old.test/", SECRET, ["payment_intent.succeeded"], api_version="2020-08-27")
    intent = shop.pay()
    (body,) = deliver(shop)
    row = body["data"]["object"]
    assert [charge["id"] for charge in row["charges"]["data"]] == [intent["latest_charge"]]
    assert "latest_charge" not in row
    assert row["charges"]["data"][0]["refunds"]["data"] == []


def test_a_call_in_an_old_version_gets_the_old_shape(shop: Shop) -> None:
    intent = shop.pay()
    refund = shop.refund(intent, 100)
    old = shop.get(f"/v1/charges/{intent['latest_charge']}", version="2020-08-27")
    assert [row["id"] for row in old["refunds"]["data"]] == [refund["id"]]
    listed = shop.get("/v1/payment_intents", version="2020-08-27")["data"][0]
    assert listed["charges"]["data"][0]["refunds"]["total_count"] == 1
    response = shop.call("GET", "/v1/charges", version="2020-08-27")
    assert response.headers["Stripe-Version"] == "2020-08-27"


@pytest.mark.parametrize("version", ["latest", "2020", "2020-08-27;", "20-08-27.acacia"])
def test_a_version_that_is_none_is_refused(shop: Shop, version: str) -> None:
    response = shop.call("GET", "/v1/charges", version=version)
    assert (response.status, version in response.json()["error"]["message"]) == (400, True)


def test_webhook_endpoints_are_pinned_changed_disabled_and_deleted(shop: Shop) -> None:
    form = {"url": "https://shop.example/hook", "enabled_events[]": "refund.created", "api_version": "2024-06-20"}
    made = shop.post("/v1/webhook_endpoints", form)
    assert (made["api_version"], made["status"]) == ("2024-06-20", "enabled")
    path = f"/v1/webhook_endpoints/{made['id']}"
    changed = shop.post(path, {"disabled": "true", "enabled_events[]": "*", "metadata[a]": "1"})
    assert (changed["status"], changed["enabled_events"], changed["metadata"]) == ("disabled", ["*"], {"a": "1"})
    shop.pay()
    assert shop.ledger.outbox == []
    shop.post(path, {"disabled": "false", "url": "https://shop.example/other"})
    shop.pay()
    assert shop.ledger.outbox != []
    assert shop.get(path)["url"] == "https://shop.example/other"
    deleted = shop.call("DELETE", path)
    assert (deleted.status, deleted.json()["deleted"]) == (200, True)
    assert shop.ledger.outbox == []
    shop.refused(path, method="GET", status=404)
    shop.refused(path, {"url": "shop.example"})
    shop.refused("/v1/webhook_endpoints", {**form, "api_version": "newest"})


def test_every_answer_has_the_date_of_the_simulators_clock(shop: Shop) -> None:
    def read_skew(response: Any) -> float:
        return parsedate_to_datetime(response.headers["Date"]).timestamp() - int(shop.at)

    assert read_skew(shop.call("GET", "/v1/account")) == 0
    assert read_skew(shop.call("GET", "/v1/nothing")) == 0
    request = shop.request("GET", "/v1/account")
    for name in ("500", "429_rate_limit", "503_html", "503_html_done", "401", "403"):
        assert read_skew(answer_with_fault(shop.ledger, request, Fault(name))) == 0
    for skew in (3600, -7200):
        shop.ledger.settings.clock_skew_seconds = skew
        assert read_skew(shop.call("GET", "/v1/account")) == skew
    assert shop.pay()["created"] == int(shop.at)
