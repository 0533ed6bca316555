"""Outgoing webhooks: each event at least once, signed, in order per return, on a schedule that ends with a reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from returns_service.commands import webhook_deliveries
from returns_service.commands.erasure import forget
from returns_service.commands.webhook_deliveries import AT_ONCE, retry_delivery, show_delivery
from returns_service.commands.webhook_endpoints import (
    delete_endpoint,
    ping_endpoint,
    rotate_secret,
    show_endpoint,
    update_endpoint,
)
from returns_service.domain.policy import DEFAULT
from returns_service.domain.webhook_signature import Attempt
from returns_service.return_case.events import to_json_object
from returns_service.return_case.views import show_event
from returns_service.store.delivery_claims import DELIVERY_LEASE_SECONDS
from returns_service.store.tables import Event
from returns_service.worker import maintenance
from returns_service.worker.deliveries import ENDPOINT_CALLS
from tests.worker.receivers import BY, Receivers, deliver_due
from tests.worker.shop import Shop

DAY = 86_400


@pytest.fixture
def to(shop: Shop) -> Receivers:
    return Receivers(shop.db)


async def test_each_event_arrives_once_signed_and_as_the_api_shows_it(shop: Shop, to: Receivers) -> None:
    endpoint_id, secret = await to.listens()
    happened = await to.happens(await to.a_return(), count=3)
    assert await to.work() == 3
    assert to.told() == happened
    for call in to.arrived:
        assert call.verified_with(secret, shop.seconds())
        assert not call.verified_with("whsec_" + "A" * 43 + "=", shop.seconds())
        assert call.headers["content-type"] == "application/json"
        async with shop.db.reading() as tx:
            assert call.event == to_json_object(show_event(await tx.get_one(Event, call.headers["webhook-id"])))
    assert {row.status for row in await to.deliveries(endpoint_id=endpoint_id)} == {"delivered"}
    assert await to.work() == 0


async def test_more_events_than_one_look_takes_arrive_in_their_order(shop: Shop, to: Receivers) -> None:
    await to.listens()
    happened = await to.happens(await to.a_return(), count=AT_ONCE + 5)
    for _ in range(len(happened) + 2):
        await deliver_due(to.dispatcher)
    assert to.told() == happened


async def test_an_endpoint_is_told_what_it_asked_for_from_its_creation_on(to: Receivers) -> None:
    await to.happens()
    await to.listens("all.test")
    await to.listens("some.test", "refund.stuck", "payment.updated")
    wanted = await to.happens(kind="refund.stuck")
    other = await to.happens(kind="return.created")
    await to.work()
    assert (to.told("all.test"), to.told("some.test")) == ([*wanted, *other], wanted)


async def test_every_call_of_a_delivery_has_the_same_id_and_body(shop: Shop, to: Receivers) -> None:
    _, secret = await to.listens()
    (event_id,) = await to.happens(await to.a_return())
    to.answers["shop.test"] = 500
    for seconds in (0, 5, 30):
        shop.advance(seconds)
        assert await to.work() == 1
    assert to.told() == [event_id] * 3
    assert len({call.body for call in to.arrived}) == 1
    assert len({call.headers["webhook-timestamp"] for call in to.arrived}) == 3
    assert to.arrived[-1].verified_with(secret, shop.seconds())


async def test_the_schedule_ends_after_three_days_with_a_disabled_endpoint(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    return_id = await to.a_return()
    first, second = await to.happens(return_id, count=2)
    to.answers["shop.test"] = 503
    began, calls = shop.time, [0]
    assert await to.work() == 1
    while (row := (await to.deliveries(event_id=first))[0]).next_attempt_at is not None:
        assert await to.work() == 0
        shop.advance((row.next_attempt_at - shop.time).total_seconds())
        assert await to.work() == 1
        calls.append(int((shop.time - began).total_seconds()))
    assert calls[:6] == [0, 5, 35, 335, 2135, 9335]
    assert {later - sooner for sooner, later in pairwise(calls[5:])} == {6 * 3600}
    assert calls[-2] < 3 * DAY <= calls[-1]
    shown = show_delivery(row)
    assert [entry.status for entry in shown.attempts] == [503] * len(calls)
    assert shown.status == "dead"
    assert "3 days" in str(shown.reason)
    assert "It answered 503." in str(shown.reason)
    endpoint = show_endpoint(await to.endpoint(endpoint_id), shop.time)
    assert (endpoint.status, endpoint.disabled_at) == ("disabled", shop.time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert "3 days" in str(endpoint.disabled_reason)
    (waited,) = await to.deliveries(event_id=second)
    assert (waited.status, waited.attempts) == ("dead", [])
    assert "disabled" in str(waited.reason)
    shop.advance(30 * DAY)
    assert await to.work() == 0


async def test_an_endpoint_enabled_again_is_sent_all_it_missed_in_order(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    return_id = await to.a_return()
    before = await to.happens(return_id, count=2)
    to.answers["shop.test"] = 410
    await to.work()
    to.answers.clear()
    to.arrived.clear()
    meanwhile = await to.happens(return_id, count=2)
    assert await to.work() == 0
    enabled = await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "enabled"}))
    assert (enabled.status, enabled.disabled_at, enabled.disabled_reason) == ("enabled", None, None)
    await to.work()
    assert to.told() == [*before, *meanwhile]


async def test_what_was_missed_three_months_ago_is_not_told_any_more(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    await to.happens()
    shop.advance(91 * DAY)
    late = await to.happens()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "enabled"}))
    await to.work()
    assert to.told() == late


async def test_gone_disables_the_endpoint_at_once(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    other_id, _ = await to.listens("other.test")
    await to.happens(await to.a_return(), count=2)
    to.answers["shop.test"] = 410
    await to.work()
    assert len(to.told("shop.test")) == 1
    assert len(to.told("other.test")) == 2
    assert "410" in str((await to.endpoint(endpoint_id)).disabled_reason)
    assert (await to.endpoint(other_id)).status == "enabled"
    assert [(row.status, len(row.attempts)) for row in await to.deliveries(endpoint_id=endpoint_id)] == [
        ("dead", 1),
        ("dead", 0),
    ]


async def test_a_later_event_of_a_return_waits_and_other_returns_dont(shop: Shop, to: Receivers) -> None:
    await to.listens()
    mine, other = await to.a_return(), await to.a_return()
    first, second = await to.happens(mine, count=2)
    beside = await to.happens(other, count=2)
    to.answers["shop.test"] = lambda event: 500 if event["id"] == first else 200
    await to.work()
    assert to.told() == [first, *beside] or to.told() == [beside[0], first, beside[1]]
    third = (await to.happens(mine))[0]
    await to.work()
    assert second not in to.told()
    assert third not in to.told()
    to.answers.clear()
    shop.advance(5)
    await to.work()
    assert to.told()[-3:] == [first, second, third]


async def test_what_waits_says_until_when_and_goes_as_soon_as_it_may(shop: Shop, to: Receivers) -> None:
    await to.listens()
    first, second, third = await to.happens(await to.a_return(), count=3)
    to.answers["shop.test"] = 500
    for seconds in (0, 5, 30):
        shop.advance(seconds)
        await to.work()
    due = {row.next_attempt_at for row in await to.deliveries()}
    assert due == {shop.time + timedelta(minutes=5)}
    to.answers.clear()
    to.arrived.clear()
    (row,) = await to.deliveries(event_id=first)
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    await to.work()
    assert to.told() == [first, second, third]


async def test_one_event_that_nobody_can_take_doesnt_disable_an_endpoint_that_takes_the_rest(
    shop: Shop, to: Receivers
) -> None:
    endpoint_id, _ = await to.listens()
    mine = await to.a_return()
    bad, behind = await to.happens(mine, count=2)
    to.answers["shop.test"] = lambda event: 500 if event["id"] == bad else 200
    for _ in range(30):
        await to.work()
        await to.happens()
        shop.advance(6 * 3600)
    (dead,) = await to.deliveries(event_id=bad)
    assert dead.status == "dead"
    assert "while others arrived" in str(dead.reason)
    assert (await to.endpoint(endpoint_id)).status == "enabled"
    assert to.told().count(behind) == 1


async def test_a_delivery_sent_again_by_hand_has_its_old_id(shop: Shop, to: Receivers) -> None:
    await to.listens()
    (event_id,) = await to.happens()
    await to.work()
    (row,) = await to.deliveries()
    again = await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    assert (again.status, again.ended_at) == ("pending", None)
    await to.work()
    assert to.told() == [event_id, event_id]
    (row,) = await to.deliveries()
    assert (row.status, [entry["status"] for entry in row.attempts]) == ("delivered", [200, 200])


async def test_by_hand_a_disabled_endpoint_is_called_once(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    await to.happens()
    to.answers["shop.test"] = 410
    await to.work()
    (row,) = await to.deliveries()
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    to.answers["shop.test"] = 500
    assert await to.work() == 1
    (row,) = await to.deliveries()
    assert (row.status, len(row.attempts)) == ("dead", 2)
    await shop.db.run(lambda tx: retry_delivery(tx, row.id))
    to.answers.clear()
    assert await to.work() == 1
    (row,) = await to.deliveries()
    assert (row.status, row.reason, len(row.attempts)) == ("delivered", None, 3)
    assert (await to.endpoint(endpoint_id)).status == "disabled"


async def test_both_secrets_sign_for_a_day_after_a_rotation(shop: Shop, to: Receivers) -> None:
    endpoint_id, oldest = await to.listens()
    _, old = await shop.db.run(lambda tx: rotate_secret(tx, endpoint_id))
    shop.advance(DAY / 2)
    _, new = await shop.db.run(lambda tx: rotate_secret(tx, endpoint_id))

    async def verifying() -> list[bool]:
        await to.happens()
        await to.work()
        return [to.arrived[-1].verified_with(secret, shop.seconds()) for secret in (oldest, old, new)]

    assert await verifying() == [True, True, True]
    shop.advance(DAY / 2)
    assert await verifying() == [False, True, True]
    shop.advance(DAY / 2)
    assert await verifying() == [False, False, True]


async def test_a_ping_goes_to_its_endpoint_alone_and_past_what_waits(shop: Shop, to: Receivers) -> None:
    endpoint_id, secret = await to.listens("shop.test", "return.created")
    await to.listens("other.test")
    row = await shop.db.run(lambda tx: ping_endpoint(tx, BY, endpoint_id))
    await to.work()
    assert to.told("shop.test") == [row.event_id]
    assert to.told("other.test") == []
    assert to.arrived[0].event["type"] == "ping"
    assert to.arrived[0].verified_with(secret, shop.seconds())


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
    to: Receivers, answer: int | Exception, status: int | None, word: str
) -> None:
    await to.listens()
    await to.happens()
    to.answers["shop.test"] = answer
    assert await to.work() == 1
    (row,) = await to.deliveries()
    ((entry),) = row.attempts
    assert (row.status, entry["status"]) == ("pending", status)
    assert word in entry["error"]


@pytest.mark.parametrize("answer", [200, 201, 202, 204, 299])
async def test_2xx_is_success(to: Receivers, answer: int) -> None:
    await to.listens()
    await to.happens()
    to.answers["shop.test"] = answer
    await to.work()
    assert [(row.status, row.attempts[0]["error"]) for row in await to.deliveries()] == [("delivered", None)]


async def test_a_name_that_leads_inside_later_on_is_not_called(to: Receivers) -> None:
    await to.listens()
    await to.happens()
    to.addresses = ["169.254.169.254"]
    await to.work()
    assert to.arrived == []
    (row,) = await to.deliveries()
    assert "not on the public internet" in row.attempts[0]["error"]


async def test_a_call_that_was_never_written_back_is_made_again(shop: Shop, to: Receivers) -> None:
    await to.listens()
    (event_id,) = await to.happens()
    (lost,) = await to.dispatcher.claim()
    assert await to.work() == 0
    shop.advance(DELIVERY_LEASE_SECONDS)
    (taken,) = await to.dispatcher.claim()
    assert taken.delivery_id == lost.delivery_id
    await shop.db.run(lambda tx: webhook_deliveries.record_delivery(tx, lost, Attempt(500, "It answered 500.")))
    (row,) = await to.deliveries()
    assert (row.attempts, row.failures) == ([], 0)
    await to.dispatcher.deliver(taken)
    assert to.told() == [event_id]
    await shop.db.run(lambda tx: webhook_deliveries.record_delivery(tx, lost, Attempt(410, "It answered 410.")))
    (row,) = await to.deliveries()
    assert (row.status, len(row.attempts)) == ("delivered", 1)


async def test_an_answer_that_comes_after_the_endpoint_was_deleted_changes_nothing(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    await to.happens(count=2)
    claims = await to.dispatcher.claim()
    await shop.db.run(lambda tx: delete_endpoint(tx, endpoint_id))
    for claim, status in zip(claims, (200, 410), strict=True):
        to.answers["shop.test"] = status
        await to.dispatcher.deliver(claim)
    assert await to.deliveries() == []


async def test_an_answer_that_comes_after_the_endpoint_was_disabled_counts(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens()
    await to.happens(count=2)
    claims = await to.dispatcher.claim()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    for claim, status in zip(claims, (200, 500), strict=True):
        to.answers["shop.test"] = status
        await to.dispatcher.deliver(claim)
    assert [(row.status, len(row.attempts)) for row in await to.deliveries()] == [("delivered", 1), ("dead", 1)]


@pytest.mark.parametrize("change", [{"url": "https://new.test/hook"}, {"status": "enabled"}])
async def test_an_answer_from_before_a_change_does_not_undo_it(
    shop: Shop, to: Receivers, change: dict[str, Any]
) -> None:
    endpoint_id, _ = await to.listens()
    (event_id,) = await to.happens()
    (claim,) = await to.dispatcher.claim()
    if "status" in change:
        await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, change))
    to.answers["shop.test"] = 410
    await to.dispatcher.deliver(claim)
    assert (await to.endpoint(endpoint_id)).status == "enabled"
    to.answers.clear()
    await to.work()
    assert to.told("new.test" if "url" in change else "shop.test")[-1] == event_id
    assert [row.status for row in await to.deliveries()] == ["delivered"]


async def test_a_hanging_endpoint_has_only_so_many_calls_and_holds_up_nobody(to: Receivers) -> None:
    await to.listens("hangs.test")
    await to.listens("good.test")
    to.held["hangs.test"] = asyncio.Event()
    happened = await to.happens(count=ENDPOINT_CALLS - 3)
    await to.dispatcher.once()
    happened += await to.happens(count=2 * ENDPOINT_CALLS)

    async def working() -> None:
        while True:
            await to.dispatcher.once()

    work = asyncio.create_task(working())
    async with asyncio.timeout(30):
        while len(to.told("good.test")) < len(happened):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert to.under_way["hangs.test"] == ENDPOINT_CALLS
    assert sorted(to.told("good.test")) == sorted(happened)
    to.held["hangs.test"].set()
    async with asyncio.timeout(30):
        while len(to.told("hangs.test")) < len(happened):
            await asyncio.sleep(0.01)
    work.cancel()
    await to.dispatcher.finish(5)
    assert {row.status for row in await to.deliveries()} == {"delivered"}


async def test_a_stop_lets_calls_end_and_leaves_the_rest_to_their_lease(shop: Shop, to: Receivers) -> None:
    await to.listens("hangs.test")
    await to.listens("slow.test")
    to.held = {"hangs.test": asyncio.Event(), "slow.test": asyncio.Event()}
    await to.happens()
    await to.dispatcher.once()
    asyncio.get_running_loop().call_later(0.1, to.held["slow.test"].set)
    await to.dispatcher.finish(1)
    assert to.dispatcher.in_flight == {}
    assert sorted(row.status for row in await to.deliveries()) == ["delivered", "pending"]
    to.held.clear()
    shop.advance(DELIVERY_LEASE_SECONDS)
    assert await to.work() == 1


async def test_at_another_url_what_waits_goes_at_once(shop: Shop, to: Receivers) -> None:
    endpoint_id, _ = await to.listens("wrong.test")
    happened = await to.happens(await to.a_return(), count=2)
    to.answers["wrong.test"] = 404
    await to.work()
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"url": "https://right.test/hook"}))
    await to.work()
    assert to.told("right.test") == happened


async def test_arrived_deliveries_go_with_the_inbox_and_dead_ones_wait_longer(shop: Shop, to: Receivers) -> None:
    async def left() -> list[str]:
        await maintenance.delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
        return sorted(row.status for row in await to.deliveries())

    endpoint_id, _ = await to.listens()
    await to.happens()
    await to.work()
    to.answers["shop.test"] = 410
    await to.happens()
    await to.work()
    shop.advance(29 * DAY)
    assert await left() == ["dead", "delivered"]
    shop.advance(2 * DAY)
    assert await left() == ["dead"]
    shop.advance(60 * DAY)
    assert await left() == []
    assert (await to.endpoint(endpoint_id)).status == "disabled"


async def test_deliveries_hold_nothing_of_a_person_and_send_what_is_left_of_an_event(shop: Shop, to: Receivers) -> None:
    await to.listens()
    return_id = await shop.a_return(await shop.pay(), customer_email="anna@example.com", metadata={"phone": "0170 1"})
    to.answers["shop.test"] = 500
    await to.work()
    assert any(b"anna@example.com" in call.body for call in to.arrived)
    assert "anna" not in repr([row.model_dump() for row in await to.deliveries()])
    to.arrived.clear()
    to.answers.clear()
    await shop.db.run(lambda tx: forget(tx, BY, DEFAULT, order_id="order_1"))
    shop.advance(timedelta(hours=6).total_seconds())
    await to.work()
    mine: list[Any] = [call for call in to.arrived if call.event["return"] == return_id]
    assert len(mine) >= 2
    assert not any(word in call.body for call in to.arrived for word in (b"anna", b"0170 1"))
