"""Outgoing webhooks: each event at least once, signed, in order per return, on a schedule that ends with a reason."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from returns_service.commands import webhook_deliveries
from returns_service.commands.erasure import forget
from returns_service.commands.webhook_deliveries import retry_delivery, show_delivery
from returns_service.commands.webhook_endpoints import (
    ping_endpoint,
    rotate_secret,
    show_endpoint,
    update_endpoint,
)
from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import to_json_object
from returns_service.return_case.views import show_event
from returns_service.store.tables import Event
from returns_service.timings import DELIVERIES
from returns_service.worker import maintenance
from tests.harness.shop import Shop
from tests.harness.webhook_receivers import BY, WebhookReceivers, deliver_due

DAY = 86_400


async def test_each_event_arrives_once_signed_and_as_the_api_shows_it(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, secret = await receivers.create_endpoint()
    happened = await receivers.record_events(await receivers.create_return(), count=3)
    assert await receivers.work() == 3
    assert receivers.event_ids() == happened
    for call in receivers.calls:
        assert call.verified_with(secret, shop.clock.unix())
        assert not call.verified_with("whsec_" + "A" * 43 + "=", shop.clock.unix())
        assert call.headers["content-type"] == "application/json"
        async with shop.db.reading() as tx:
            assert call.event == to_json_object(show_event(await tx.get_one(Event, call.headers["webhook-id"])))
    assert {row.status for row in await receivers.deliveries(endpoint_id=endpoint_id)} == {"delivered"}
    assert await receivers.work() == 0


async def test_calls_are_timed_by_what_became_of_them(shop: Shop, receivers: WebhookReceivers) -> None:
    def timed() -> dict[str, float]:
        samples = (sample for family in DELIVERIES.collect() for sample in family.samples)
        return {sample.labels["outcome"]: sample.value for sample in samples if sample.name.endswith("_count")}

    before = timed()
    await receivers.create_endpoint()
    await receivers.record_events(count=2)
    receivers.answers["shop.test"] = 500
    assert await receivers.work() == 2
    receivers.answers["shop.test"] = 200
    shop.advance(5)
    assert await receivers.work() == 2
    after = timed()
    assert {name: after[name] - before.get(name, 0) for name in ("arrived", "failed")} == {"arrived": 2, "failed": 2}


async def test_more_events_than_one_look_takes_arrive_in_their_order(
    receivers: WebhookReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_deliveries, "AT_ONCE", 10)
    await receivers.create_endpoint()
    happened = await receivers.record_events(await receivers.create_return(), count=25)
    for _ in range(len(happened) + 2):
        await deliver_due(receivers.dispatcher)
    assert receivers.event_ids() == happened


async def test_an_endpoint_is_told_what_it_asked_for_from_its_creation_on(receivers: WebhookReceivers) -> None:
    await receivers.record_events()
    await receivers.create_endpoint("all.test")
    await receivers.create_endpoint("some.test", "refund.stuck", "payment.updated")
    wanted = await receivers.record_events(kind="refund.stuck")
    other = await receivers.record_events(kind="return.created")
    await receivers.work()
    assert (receivers.event_ids("all.test"), receivers.event_ids("some.test")) == ([*wanted, *other], wanted)


async def test_every_call_of_a_delivery_has_the_same_id_and_body(shop: Shop, receivers: WebhookReceivers) -> None:
    _, secret = await receivers.create_endpoint()
    (event_id,) = await receivers.record_events(await receivers.create_return())
    receivers.answers["shop.test"] = 500
    for seconds in (0, 5, 30):
        shop.advance(seconds)
        assert await receivers.work() == 1
    assert receivers.event_ids() == [event_id] * 3
    assert len({call.body for call in receivers.calls}) == 1
    assert len({call.headers["webhook-timestamp"] for call in receivers.calls}) == 3
    assert receivers.calls[-1].verified_with(secret, shop.clock.unix())


async def test_the_schedule_ends_after_three_days_with_a_disabled_endpoint(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    return_id = await receivers.create_return()
    first, second = await receivers.record_events(return_id, count=2)
    receivers.answers["shop.test"] = 503
    began, calls = shop.time, [0]
    assert await receivers.work() == 1
    while (row := (await receivers.deliveries(event_id=first))[0]).next_attempt_at is not None:
        assert await receivers.work() == 0
        shop.advance((row.next_attempt_at - shop.time).total_seconds())
        assert await receivers.work() == 1
        calls.append(int((shop.time - began).total_seconds()))
    assert calls[:6] == [0, 5, 35, 335, 2135, 9335]
    assert {later - sooner for sooner, later in pairwise(calls[5:])} == {6 * 3600}
    assert calls[-2] < 3 * DAY <= calls[-1]
    shown = show_delivery(row)
    assert [entry.status for entry in shown.attempts] == [503] * len(calls)
    assert shown.status == "dead"
    assert "3 days" in str(shown.reason)
    assert "It answered 503." in str(shown.reason)
    endpoint = show_endpoint(await receivers.read_endpoint(endpoint_id), shop.time)
    assert (endpoint.status, endpoint.disabled_at) == ("disabled", shop.time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert "3 days" in str(endpoint.disabled_reason)
    (waited,) = await receivers.deliveries(event_id=second)
    assert (waited.status, waited.attempts) == ("dead", [])
    assert "disabled" in str(waited.reason)
    shop.advance(30 * DAY)
    assert await receivers.work() == 0


async def test_an_endpoint_enabled_again_is_sent_all_it_missed_in_order(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    return_id = await receivers.create_return()
    before = await receivers.record_events(return_id, count=2)
    receivers.answers["shop.test"] = 410
    await receivers.work()
    receivers.answers.clear()
    receivers.calls.clear()
    meanwhile = await receivers.record_events(return_id, count=2)
    assert await receivers.work() == 0
    enabled = await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "enabled"}))
    assert (enabled.status, enabled.disabled_at, enabled.disabled_reason) == ("enabled", None, None)
    await receivers.work()
    assert receivers.event_ids() == [*before, *meanwhile]


async def test_what_was_missed_three_months_ago_is_not_told_any_more(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    await receivers.record_events()
    shop.advance(91 * DAY)
    late = await receivers.record_events()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "enabled"}))
    await receivers.work()
    assert receivers.event_ids() == late


async def test_gone_disables_the_endpoint_at_once(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    other_id, _ = await receivers.create_endpoint("other.test")
    await receivers.record_events(await receivers.create_return(), count=2)
    receivers.answers["shop.test"] = 410
    await receivers.work()
    assert len(receivers.event_ids("shop.test")) == 1
    assert len(receivers.event_ids("other.test")) == 2
    assert (await receivers.read_endpoint(endpoint_id)).disabled_by == "http_gone"
    assert (await receivers.read_endpoint(other_id)).status == "enabled"
    assert [(row.status, len(row.attempts)) for row in await receivers.deliveries(endpoint_id=endpoint_id)] == [
        ("dead", 1),
        ("dead", 0),
    ]


async def test_a_later_event_of_a_return_waits_and_other_returns_dont(shop: Shop, receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint()
    mine, other = await receivers.create_return(), await receivers.create_return()
    first, second = await receivers.record_events(mine, count=2)
    beside = await receivers.record_events(other, count=2)
    receivers.answers["shop.test"] = lambda event: 500 if event["id"] == first else 200
    await receivers.work()
    assert receivers.event_ids() == [first, *beside] or receivers.event_ids() == [beside[0], first, beside[1]]
    third = (await receivers.record_events(mine))[0]
    await receivers.work()
    assert second not in receivers.event_ids()
    assert third not in receivers.event_ids()
    receivers.answers.clear()
    shop.advance(5)
    await receivers.work()
    assert receivers.event_ids()[-3:] == [first, second, third]


async def test_what_waits_says_until_when_and_goes_as_soon_as_it_may(shop: Shop, receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint()
    first, second, third = await receivers.record_events(await receivers.create_return(), count=3)
    receivers.answers["shop.test"] = 500
    for seconds in (0, 5, 30):
        shop.advance(seconds)
        await receivers.work()
    due = {row.next_attempt_at for row in await receivers.deliveries()}
    assert due == {shop.time + timedelta(minutes=5)}
    receivers.answers.clear()
    receivers.calls.clear()
    (row,) = await receivers.deliveries(event_id=first)
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    await receivers.work()
    assert receivers.event_ids() == [first, second, third]


async def test_one_event_that_nobody_can_take_doesnt_disable_an_endpoint_that_takes_the_rest(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    mine = await receivers.create_return()
    bad, behind = await receivers.record_events(mine, count=2)
    receivers.answers["shop.test"] = lambda event: 500 if event["id"] == bad else 200
    for _ in range(30):
        await receivers.work()
        await receivers.record_events()
        shop.advance(6 * 3600)
    (dead,) = await receivers.deliveries(event_id=bad)
    assert dead.status == "dead"
    assert "while others arrived" in str(dead.reason)
    assert (await receivers.read_endpoint(endpoint_id)).status == "enabled"
    assert receivers.event_ids().count(behind) == 1


async def test_a_delivery_sent_again_by_hand_has_its_old_id(shop: Shop, receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint()
    (event_id,) = await receivers.record_events()
    await receivers.work()
    (row,) = await receivers.deliveries()
    again = await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    assert (again.status, again.ended_at) == ("pending", None)
    await receivers.work()
    assert receivers.event_ids() == [event_id, event_id]
    (row,) = await receivers.deliveries()
    assert (row.status, [entry["status"] for entry in row.attempts]) == ("delivered", [200, 200])


async def test_by_hand_a_disabled_endpoint_is_called_once(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    await receivers.record_events()
    receivers.answers["shop.test"] = 410
    await receivers.work()
    (row,) = await receivers.deliveries()
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    receivers.answers["shop.test"] = 500
    assert await receivers.work() == 1
    (row,) = await receivers.deliveries()
    assert (row.status, len(row.attempts)) == ("dead", 2)
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    receivers.answers.clear()
    assert await receivers.work() == 1
    (row,) = await receivers.deliveries()
    assert (row.status, row.reason, len(row.attempts)) == ("delivered", None, 3)
    assert (await receivers.read_endpoint(endpoint_id)).status == "disabled"


async def test_both_secrets_sign_for_a_day_after_a_rotation(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, oldest = await receivers.create_endpoint()
    _, old = await shop.db.run(lambda tx: rotate_secret(tx, endpoint_id))
    shop.advance(DAY / 2)
    _, new = await shop.db.run(lambda tx: rotate_secret(tx, endpoint_id))

    async def verifying() -> list[bool]:
        await receivers.record_events()
        await receivers.work()
        return [receivers.calls[-1].verified_with(secret, shop.clock.unix()) for secret in (oldest, old, new)]

    assert await verifying() == [True, True, True]
    shop.advance(DAY / 2)
    assert await verifying() == [False, True, True]
    shop.advance(DAY / 2)
    assert await verifying() == [False, False, True]


async def test_a_ping_goes_to_its_endpoint_alone_and_past_what_waits(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, secret = await receivers.create_endpoint("shop.test", "return.created")
    await receivers.create_endpoint("other.test")
    row = await shop.db.run(lambda tx: ping_endpoint(tx, BY, endpoint_id))
    await receivers.work()
    assert receivers.event_ids("shop.test") == [row.event_id]
    assert receivers.event_ids("other.test") == []
    assert receivers.calls[0].event["type"] == "ping"
    assert receivers.calls[0].verified_with(secret, shop.clock.unix())


@pytest.mark.parametrize(
    "answer, status, word",
    [
        (301, 301, "redirects"), (302, 302, "redirects"), (304, 304, "redirects"), (308, 308, "redirects"),
        (400, 400, "400"), (404, 404, "404"), (429, 429, "429"), (500, 500, "500"),
        (httpx.ReadTimeout("x"), None, "10 seconds"), (httpx.ConnectTimeout("x"), None, "10 seconds"),
        (httpx.ConnectError("refused"), None, "No connection"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), None, "certificate"),
        (httpx.ReadError("x"), None, "cut"), (httpx.RemoteProtocolError("garbage"), None, "no HTTP answer"),
    ],
)  # fmt: skip
async def test_all_but_2xx_is_a_failure_in_plain_words(
    receivers: WebhookReceivers, answer: int | Exception, status: int | None, word: str
) -> None:
    await receivers.create_endpoint()
    await receivers.record_events()
    receivers.answers["shop.test"] = answer
    assert await receivers.work() == 1
    (row,) = await receivers.deliveries()
    ((entry),) = row.attempts
    assert (row.status, entry["status"]) == ("pending", status)
    assert word in entry["error"]


@pytest.mark.parametrize("answer", [200, 201, 202, 204, 299])
async def test_2xx_is_success(receivers: WebhookReceivers, answer: int) -> None:
    await receivers.create_endpoint()
    await receivers.record_events()
    receivers.answers["shop.test"] = answer
    await receivers.work()
    assert [(row.status, row.attempts[0]["error"]) for row in await receivers.deliveries()] == [("delivered", None)]


async def test_a_name_that_leads_inside_later_on_is_not_called(receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint()
    await receivers.record_events()
    receivers.addresses = ["169.254.169.254"]
    await receivers.work()
    assert receivers.calls == []
    (row,) = await receivers.deliveries()
    assert "not on the public internet" in row.attempts[0]["error"]


async def test_at_another_url_what_waits_goes_at_once(shop: Shop, receivers: WebhookReceivers) -> None:
    endpoint_id, _ = await receivers.create_endpoint("wrong.test")
    happened = await receivers.record_events(await receivers.create_return(), count=2)
    receivers.answers["wrong.test"] = 404
    await receivers.work()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"url": "https://right.test/hook"}))
    await receivers.work()
    assert receivers.event_ids("right.test") == happened


async def test_arrived_deliveries_go_with_the_inbox_and_dead_ones_wait_longer(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    async def left() -> list[str]:
        await maintenance.delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
        return sorted(row.status for row in await receivers.deliveries())

    endpoint_id, _ = await receivers.create_endpoint()
    await receivers.record_events()
    await receivers.work()
    receivers.answers["shop.test"] = 410
    await receivers.record_events()
    await receivers.work()
    shop.advance(29 * DAY)
    assert await left() == ["dead", "delivered"]
    shop.advance(2 * DAY)
    assert await left() == ["dead"]
    shop.advance(60 * DAY)
    assert await left() == []
    assert (await receivers.read_endpoint(endpoint_id)).status == "disabled"


async def test_deliveries_hold_nothing_of_a_person_and_send_what_is_left_of_an_event(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    await receivers.create_endpoint()
    return_id = await shop.authorize_return(
        shop.pay(9000), customer_email="anna@example.com", metadata={"phone": "0170 1"}
    )
    receivers.answers["shop.test"] = 500
    await receivers.work()
    assert any(b"anna@example.com" in call.body for call in receivers.calls)
    assert "anna" not in repr([row.model_dump() for row in await receivers.deliveries()])
    receivers.calls.clear()
    receivers.answers.clear()
    await shop.db.run(lambda tx: forget(tx, BY, DEFAULT, order_id="order_1"))
    shop.advance(timedelta(hours=6).total_seconds())
    await receivers.work()
    mine: list[Any] = [call for call in receivers.calls if call.event["return"] == return_id]
    assert len(mine) >= 2
    assert not any(word in call.body for call in receivers.calls for word in (b"anna", b"0170 1"))
