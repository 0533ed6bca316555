"""Events: their content, their lists and their delivery."""

from __future__ import annotations

import json

from returns_service.stripe_simulator import signature_of
from tests.simulator.shop import DAY, SECRET, START, Shop


def test_an_event_holds_the_object_as_it_was(shop: Shop) -> None:
    intent = shop.pay()
    refund = shop.refund(intent, 100, "k1")
    event = shop.last_event("refund.created")
    assert event["data"] == {"object": refund}
    assert (event["api_version"], event["livemode"], event["object"]) == ("2026-10-28.endive", False, "event")
    assert event["created"] == int(START)
    assert event["request"]["idempotency_key"] == "k1"
    shop.dashboard.fail(refund["id"])
    assert shop.last_event("refund.created")["data"]["object"]["status"] == "succeeded"
    assert shop.last_event("refund.failed")["request"] == {"id": None, "idempotency_key": None}
    assert shop.again(event) == event


def test_an_update_says_what_was_before(shop: Shop) -> None:
    refund = shop.refund(shop.pay(card="pm_card_pendingRefund"), 100)
    shop.wait()
    previous = shop.last_event("refund.updated")["data"]["previous_attributes"]
    assert (previous["status"], previous["pending_reason"]) == ("pending", "processing")
    assert shop.last_event("charge.refund.updated")["data"]["object"]["id"] == refund["id"]


def test_charge_refunded_carries_the_charge_without_its_refunds(shop: Shop) -> None:
    shop.refund(shop.pay(5000), 1200)
    told = shop.last_event("charge.refunded")["data"]
    assert (told["object"]["object"], told["object"]["amount_refunded"]) == ("charge", 1200)
    assert "refunds" not in told["object"]
    assert told["previous_attributes"] == {"amount_refunded": 0}


def test_events_are_listed_by_type_wildcard_time_and_page(shop: Shop) -> None:
    intent = shop.pay()
    shop.wait(100)
    shop.refund(intent, 10)
    shop.refund(intent, 20)

    def types(**form: object) -> list[str]:
        return [event["type"] for event in shop.get("/v1/events", form)["data"]]

    assert types(type="refund.*") == ["refund.created", "refund.created"]
    assert types(type="charge.refunded", limit=1) == ["charge.refunded"]
    assert (
        types(**{"types[0]": "charge.refunded", "types[1]": "payment_intent.created"})[-1] == "payment_intent.created"
    )
    assert types(**{"created[gt]": int(START)}) == ["charge.refunded", "refund.created"] * 2
    assert types(**{"created[lte]": int(START)})[0] == "payment_intent.succeeded"
    newest = shop.get("/v1/events", {"limit": 1})["data"][0]["id"]
    assert len(types(starting_after=newest)) == 6
    shop.refused("/v1/events", {"type": "refund.*", "types[]": "refund.created"}, method="GET")
    shop.refused("/v1/events", "&".join(["types[]=refund.created"] * 21), method="GET")


def test_events_are_listed_for_thirty_days(shop: Shop) -> None:
    shop.pay()
    shop.wait(30 * DAY)
    assert len(shop.get("/v1/events")["data"]) == 3
    shop.wait(1)
    assert shop.get("/v1/events")["data"] == []


def test_a_clock_that_jumps_back_hides_nothing(shop: Shop) -> None:
    shop.pay()
    shop.at -= 1000
    shop.pay()
    assert len(shop.get("/v1/events", {"created[gte]": int(START)})["data"]) == 3
    assert len(shop.get("/v1/events", {"created[lt]": int(START)})["data"]) == 3


def test_delivery_success_tells_delivered_events_from_pending_and_lost_ones(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://shop.test/", SECRET, ["refund.created", "charge.refunded"])
    shop.refund(shop.pay(), 100)
    webhook = shop.ledger.due_webhooks()
    assert [one.event["type"] for one in webhook] == ["refund.created", "charge.refunded"]

    def undelivered() -> list[str]:
        return [event["type"] for event in shop.get("/v1/events", {"delivery_success": "false"})["data"]]

    assert undelivered() == ["charge.refunded", "refund.created"]
    shop.ledger.mark_delivered(webhook[0])
    shop.ledger.lose(webhook[1])
    assert undelivered() == ["charge.refunded"]
    assert shop.ledger.outbox == []
    assert len(shop.get("/v1/events", {"delivery_success": "true"})["data"]) == 4


def test_a_delivery_is_tried_again_after_a_second_then_two_then_four(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://shop.test/", SECRET, ["refund.created"])
    shop.refund(shop.pay(), 100)
    (webhook,) = shop.ledger.due_webhooks()
    for wait in (1, 2, 4, 8):
        shop.ledger.mark_failed(webhook)
        assert webhook.next_attempt_at == shop.at + wait
        assert shop.ledger.due_webhooks() == []
        shop.at += wait
        assert shop.ledger.due_webhooks() == [webhook]


def test_a_delivery_is_given_up_after_three_days(shop: Shop) -> None:
    shop.ledger.add_endpoint("http://shop.test/", SECRET, ["refund.created"])
    shop.refund(shop.pay(), 100)
    while shop.ledger.outbox:
        (webhook,) = shop.ledger.outbox
        shop.at = webhook.next_attempt_at
        shop.ledger.mark_failed(webhook)
    assert 2.9 * DAY < shop.at - START <= 3 * DAY
    assert shop.get("/v1/events", {"delivery_success": "false"})["data"][0]["type"] == "refund.created"


def test_each_endpoint_gets_each_event_it_wants(shop: Shop) -> None:
    everything = shop.ledger.add_endpoint("http://a.test/", SECRET)
    some = shop.ledger.add_endpoint("http://b.test/", SECRET, ["refund.created"])
    shop.refund(shop.pay(), 100)
    to = [webhook.endpoint for webhook in shop.ledger.outbox]
    assert (to.count(everything), to.count(some)) == (5, 1)
    event = shop.last_event("refund.created")
    assert event["pending_webhooks"] == 2
    webhook = shop.ledger.outbox[0]
    assert json.loads(shop.ledger.body_of(webhook)) == webhook.event


def test_without_an_endpoint_the_mail_waits_for_whoever_takes_it(shop: Shop) -> None:
    shop.pay()
    assert [webhook.endpoint for webhook in shop.ledger.due_webhooks()] == [None] * 3
    shop.ledger.mark_delivered(shop.ledger.due_webhooks()[0])
    assert shop.last_event("payment_intent.created")["pending_webhooks"] == 0
    shop.ledger.drop_unaddressed()
    assert shop.ledger.outbox == []


def test_one_change_can_be_told_by_two_events(shop: Shop) -> None:
    shop.refund(shop.pay(), 100)
    first = shop.last_event("refund.created")
    second = shop.dashboard.emit_again(first["id"])
    assert second["id"] != first["id"]
    assert (second["type"], second["data"]) == (first["type"], first["data"])


def test_a_signature_covers_time_and_body() -> None:
    header = signature_of(b"{}", SECRET, START + 0.9)
    assert header.startswith(f"t={int(START)},v1=")
    assert len({header, signature_of(b"{ }", SECRET, START), signature_of(b"{}", SECRET, START + 1)}) == 3


def test_endpoints_can_be_registered_and_read(shop: Shop) -> None:
    form = "url=https://shop.example/hook&enabled_events[]=refund.created&enabled_events[]=refund.failed"
    made = shop.post("/v1/webhook_endpoints", form)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert shop.get("/v1/webhook_endpoints")["data"] == [made]
    assert shop.get(f"/v1/webhook_endpoints/{made['id']}")["enabled_events"] == ["refund.created", "refund.failed"]
    shop.refused("/v1/webhook_endpoints", {"url": "https://shop.example/"})
    shop.refused("/v1/webhook_endpoints", {"url": "shop.example", "enabled_events[]": "*"})
    shop.refused("/v1/webhook_endpoints/we_0", method="GET", status=404)
