"""Faults by name: whom they strike, and what the caller gets."""

from __future__ import annotations

from random import Random

import pytest

from returns_service.stripe_simulator import CALL_FAULTS, Fault, Faults, Response, answer_with_fault, draw_webhook_fault
from tests.simulator.shop import SECRET, Shop


def ask(shop: Shop, name: str | None, key: str = "k1") -> Response | None:
    """Ask for a refund of 100 of the shop's only payment, under the fault `name`."""
    (intent,) = shop.ledger.payment_intents
    request = shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 100}, key)
    return answer_with_fault(shop.ledger, request, None if name is None else Fault(name))


@pytest.mark.parametrize(
    "name, status, done, kept",
    [
        ("drop_before", None, False, False),
        ("drop_after", None, True, True),
        ("stored_500", 500, False, True),
        ("stored_500_done", 500, True, True),
        ("500", 500, False, False),
        ("429_rate_limit", 429, False, False),
        ("429_lock_timeout", 429, False, False),
        ("409_key_in_use", 409, False, False),
        ("401", 401, False, False),
        ("403", 403, False, False),
        ("503_html", 503, False, False),
        ("503_html_done", 503, True, True),
        ("unreadable_200", 200, True, True),
        ("latency", 200, True, True),
    ],
)
def test_each_fault_does_what_its_name_says(shop: Shop, name: str, status: int | None, done: bool, kept: bool) -> None:
    assert name in CALL_FAULTS
    shop.pay()
    response = ask(shop, name)
    assert (None if response is None else response.status) == status
    assert len(shop.ledger.refunds) == int(done)
    again = ask(shop, None)
    assert again is not None
    assert ("Idempotent-Replayed" in again.headers) == kept
    assert len(shop.ledger.refunds) == (0 if name == "stored_500" else 1)


def test_an_unreadable_answer_is_no_json_and_a_refusal_stays_readable(shop: Shop) -> None:
    shop.pay(50)
    response = ask(shop, "unreadable_200")
    assert response is not None
    assert response.json()["error"]["param"] == "amount"
    shop.dashboard.refund(next(iter(shop.ledger.payment_intents))["id"])
    page = ask(shop, "503_html", "k2")
    assert page is not None
    assert page.headers["Content-Type"] == "text/html"


def test_a_fault_strikes_the_next_calls_that_match() -> None:
    faults = Faults(Random(1))
    faults.arm("drop_after", count=2, method="POST", path="/v1/refunds")
    assert faults.draw_fault("GET", "/v1/refunds") is None
    assert faults.draw_fault("POST", "/v1/payment_intents") is None
    assert [faults.draw_fault("POST", "/v1/refunds") for _ in range(3)] == [
        Fault("drop_after"),
        Fault("drop_after"),
        None,
    ]


def test_a_share_is_drawn_from_its_own_seed() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults(Random(1))
        faults.arm("500", share=0.1, seed=seed)
        return [faults.draw_fault("GET", "/v1/refunds") is not None for _ in range(1000)]

    assert drawn(7) == drawn(7) != drawn(8)
    assert 70 < sum(drawn(7)) < 130


def test_latency_adds_to_another_fault_and_the_first_armed_strikes() -> None:
    faults = Faults(Random(1))
    faults.arm("latency", seconds=2)
    faults.arm("drop_before", path="/v1/refunds*")
    faults.arm("500")
    assert faults.draw_fault("GET", "/v1/refunds/re_0") == Fault("drop_before", 2)
    assert faults.draw_fault("GET", "/v1/events") == Fault("500", 2)
    faults.disarm("500")
    assert faults.draw_fault("GET", "/v1/events") == Fault("latency", 2)
    faults.disarm()
    assert faults.draw_fault("GET", "/v1/events") is None


def test_nonsense_cannot_be_armed() -> None:
    faults = Faults(Random(1))
    for name, more in [("rain", {}), ("500", {"share": 2}), ("500", {"count": 0}), ("latency", {"seconds": -1})]:
        with pytest.raises(ValueError, match=r"rain|share|count|seconds"):
            faults.arm(name, **more)  # type: ignore[arg-type]


def webhook_types(shop: Shop) -> list[str]:
    return [webhook.event["type"] for webhook in shop.ledger.due_webhooks()]


def test_webhook_faults_lose_delay_reorder_and_double(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://shop.test/", SECRET, ["refund.created", "charge.refunded", "charge.succeeded"])
    faults = Faults(Random(1))
    faults.arm("lose", event_type="charge.succeeded")
    faults.arm("delay", event_type="refund.created", seconds=60)
    faults.arm("double", event_type="charge.refunded")
    shop.refund(shop.pay(), 100)
    times = {
        webhook.event["type"]: draw_webhook_fault(shop.ledger, faults, webhook)
        for webhook in shop.ledger.due_webhooks()
    }
    assert times == {"charge.succeeded": 0, "refund.created": 0, "charge.refunded": 2}
    assert webhook_types(shop) == ["charge.refunded"]
    shop.wait(60)
    assert webhook_types(shop) == ["charge.refunded", "refund.created"]
    assert [draw_webhook_fault(shop.ledger, faults, webhook) for webhook in shop.ledger.due_webhooks()] == [1, 1]
    faults.disarm()
    faults.arm("reorder", seconds=10)
    shop.pay()
    (webhook,) = (webhook for webhook in shop.ledger.outbox if not webhook.fault_drawn)
    assert draw_webhook_fault(shop.ledger, faults, webhook) == 0
    assert shop.at < webhook.next_attempt_at < shop.at + 10


def test_a_doubled_event_is_doubled_once(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://shop.test/", SECRET, ["refund.created"])
    faults = Faults(Random(1))
    faults.arm("double_event")
    shop.refund(shop.pay(), 100)
    for _ in range(3):
        for webhook in shop.ledger.due_webhooks():
            assert draw_webhook_fault(shop.ledger, faults, webhook) == 1
    first, second = (webhook.event for webhook in shop.ledger.outbox)
    assert first["id"] != second["id"]
    assert first["data"] == second["data"]
