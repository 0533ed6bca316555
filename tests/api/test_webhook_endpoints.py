"""Outgoing webhooks over the API: endpoints, secrets that are shown once, deliveries."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import structlog
from sqlmodel import select

from returns_service.commands.webhook_endpoints import MOST_ENDPOINTS
from returns_service.domain.vocabulary import EVENT_TYPES
from returns_service.store.tables import Event
from returns_service.webhook_client import WebhookClient
from tests.api.test_openapi import wrong
from tests.harness.served_shop import ServedShop, expect, resolve
from tests.harness.webhook_receivers import WebhookReceivers

PATH = "/v1/webhook_endpoints"
HOOK = {"url": "https://shop.test/hook", "events": ["*"]}


async def made(shop: ServedShop, **more: Any) -> dict[str, Any]:
    return expect(await shop.post(PATH, {**HOOK, **more}), 201)


async def test_the_secret_is_in_the_answer_that_made_it_and_nowhere_else(shop: ServedShop) -> None:
    answer = await shop.post(PATH, {**HOOK, "description": "Our backend"}, key="k1")
    endpoint = expect(answer, 201)
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert answer.headers["location"] == f"{PATH}/{endpoint['id']}"
    assert endpoint["id"].startswith("whe_")
    assert (endpoint["status"], endpoint["description"], endpoint["events"]) == ("enabled", "Our backend", ["*"])
    assert expect(await shop.get(f"{PATH}/{endpoint['id']}"), 200) == endpoint
    assert expect(await shop.get(PATH), 200)["data"] == [endpoint]
    changed = expect(await shop.post(f"{PATH}/{endpoint['id']}", {"description": None}), 200)
    assert changed == {**endpoint, "description": None}
    again = await shop.post(PATH, {**HOOK, "description": "Our backend"}, key="k1")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**endpoint, "secret_shown": True}, "B6: the secret is kept nowhere to be read again"
    async with shop.db.reading() as tx:
        assert secret not in repr((await tx.exec(select(Event))).all())


async def test_answers_are_as_the_contract_says(shop: ServedShop) -> None:
    endpoint = await made(shop)
    delivery = expect(await shop.post(f"{PATH}/{endpoint['id']}/test"), 202)
    answers = {
        "webhook_endpoint": expect(await shop.post(f"{PATH}/{endpoint['id']}/rotate_secret"), 200),
        "webhook_endpoint_list": expect(await shop.get(PATH), 200),
        "delivery": delivery,
        "delivery_list": expect(await shop.get("/v1/deliveries"), 200),
        "event_list": expect(await shop.get("/v1/events"), 200),
        "deleted_webhook_endpoint": expect(await shop.client.delete(f"{PATH}/{endpoint['id']}"), 200),
    }
    assert {name: wrong(name, answer) for name, answer in answers.items() if wrong(name, answer)} == {}


@pytest.mark.parametrize(
    "url, word",
    [
        ("http://shop.test/hook", "https"), ("https://inside.test/hook", "public"),
        ("https://nowhere.test/hook", "no address"), ("https://user:password@shop.test/", "password"),
        ("ftp://shop.test", "https"), ("nonsense", "https"), ("https://shop.test/ü", "ASCII"),
    ],
)  # fmt: skip
async def test_a_url_that_may_not_be_called_is_refused_at_once(shop: ServedShop, url: str, word: str) -> None:
    problem = expect(await shop.post(PATH, {**HOOK, "url": url}), 422, "url_not_allowed")
    assert word in problem["detail"]
    assert problem["param"] == "url"
    endpoint = await made(shop)
    expect(await shop.post(f"{PATH}/{endpoint['id']}", {"url": url}), 422, "url_not_allowed")
    assert expect(await shop.get(PATH), 200)["data"][0]["url"] == HOOK["url"]


async def test_development_may_listen_on_loopback(shop: ServedShop) -> None:
    shop.context.line = WebhookClient(allow_private=True, resolve=resolve)
    await made(shop, url="http://127.0.0.1:9000/hook")
    await made(shop, url="http://inside.test/hook")


@pytest.mark.parametrize("events", [["return.vanished"], ["*", "ping"], ["Return.created"], [""]])
async def test_an_unknown_event_type_is_refused_naming_the_known(shop: ServedShop, events: list[str]) -> None:
    problem = expect(await shop.post(PATH, {**HOOK, "events": events}), 422, "invalid_request")
    for kind in (*EVENT_TYPES, "*"):
        assert kind in problem["errors"][0]["message"]


@pytest.mark.parametrize("change", [{"events": []}, {"events": "*"}, {"url": 5}, {"url": ""}, {"colour": "red"}])
async def test_a_wrong_field_is_named(shop: ServedShop, change: dict[str, Any]) -> None:
    problem = expect(await shop.post(PATH, HOOK | change), 422, "invalid_request")
    assert problem["errors"][0]["param"] in change
    assert expect(await shop.get(PATH), 200)["data"] == []


async def test_there_are_at_most_so_many(shop: ServedShop) -> None:
    for _ in range(MOST_ENDPOINTS):
        await made(shop)
    expect(await shop.post(PATH, HOOK), 422, "too_many_endpoints")


async def test_a_deleted_endpoint_is_gone_with_its_deliveries(shop: ServedShop) -> None:
    endpoint = await made(shop)
    delivery = expect(await shop.post(f"{PATH}/{endpoint['id']}/test"), 202)
    gone = expect(await shop.client.delete(f"{PATH}/{endpoint['id']}"), 200)
    assert gone == {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}
    expect(await shop.client.delete(f"{PATH}/{endpoint['id']}"), 404, "not_found")
    for path in (f"{PATH}/{endpoint['id']}", f"/v1/deliveries/{delivery['id']}"):
        expect(await shop.get(path), 404, "not_found")
    for path in ("", "/rotate_secret", "/test"):
        expect(await shop.post(f"{PATH}/{endpoint['id']}{path}"), 404, "not_found")
    expect(await shop.post(f"/v1/deliveries/{delivery['id']}/retry"), 404, "not_found")


async def test_a_rotated_secret_is_shown_once_and_says_how_long_the_old_one_signs(shop: ServedShop) -> None:
    first = await made(shop)
    second = expect(await shop.post(f"{PATH}/{first['id']}/rotate_secret"), 200)
    assert second["secret"] != first["secret"]
    assert len(second["old_secrets_until"]) == 1
    read = expect(await shop.get(f"{PATH}/{first['id']}"), 200)
    assert first["secret"] not in json.dumps(read)
    assert second["secret"] not in json.dumps(read)
    shop.advance(86_401)
    assert expect(await shop.get(f"{PATH}/{first['id']}"), 200)["old_secrets_until"] == []


async def test_a_test_and_real_events_arrive_and_can_be_followed(shop: ServedShop) -> None:
    endpoint = await made(shop)
    other = await made(shop, events=["refund.stuck"])
    receivers = WebhookReceivers(shop.db)
    ping = expect(await shop.post(f"{PATH}/{endpoint['id']}/test"), 202)
    assert (ping["status"], ping["attempts"]) == ("pending", [])
    await receivers.work()
    ping = expect(await shop.get(f"/v1/deliveries/{ping['id']}"), 200)
    assert (ping["status"], [entry["status"] for entry in ping["attempts"]]) == ("delivered", [200])
    await shop.create_return()
    await receivers.work()
    feed = expect(await shop.get("/v1/events"), 200)["data"]
    found = expect(await shop.get(f"/v1/deliveries?endpoint={endpoint['id']}"), 200)["data"]
    assert {row["event"] for row in found} == {event["id"] for event in feed}
    assert expect(await shop.get(f"/v1/deliveries?endpoint={other['id']}"), 200)["data"] == []
    assert [row["id"] for row in expect(await shop.get(f"/v1/deliveries?event={ping['event']}"), 200)["data"]] == [
        ping["id"]
    ]
    assert receivers.calls[-1].event == next(e for e in feed if e["type"] == "return.created")
    assert receivers.calls[0].verified_with(endpoint["secret"], shop.clock.unix())


async def test_deliveries_are_narrowed_and_paged(shop: ServedShop) -> None:
    endpoint = await made(shop)
    ids = [expect(await shop.post(f"{PATH}/{endpoint['id']}/test"), 202)["id"] for _ in range(3)]
    page = expect(await shop.get("/v1/deliveries?limit=2&status=pending"), 200)
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[:0:-1], True)
    page = expect(await shop.get(f"/v1/deliveries?starting_after={page['data'][-1]['id']}"), 200)
    assert [row["id"] for row in page["data"]] == ids[:1]
    assert expect(await shop.get("/v1/deliveries?status=dead"), 200)["data"] == []
    expect(await shop.get("/v1/deliveries?status=lost"), 422, "invalid_request")
    expect(await shop.get("/v1/deliveries?colour=red"), 422, "unknown_filter")


async def test_a_disabled_endpoint_says_why_and_is_told_what_it_missed_once_enabled(shop: ServedShop) -> None:
    endpoint = await made(shop)
    receivers = WebhookReceivers(shop.db)
    receivers.answers["shop.test"] = 410
    await shop.create_return()
    with structlog.testing.capture_logs() as logged:
        await receivers.work()
    assert [line["log_level"] for line in logged if line["event"] == "webhook_endpoint.disabled"] == ["warning"]
    assert "shop.test" not in repr(logged)
    read = expect(await shop.get(f"{PATH}/{endpoint['id']}"), 200)
    assert (read["status"], read["disabled_reason"][:15]) == ("disabled", "It answered 410")
    assert read["disabled_at"]
    (dead,) = expect(await shop.get("/v1/deliveries?status=dead"), 200)["data"]
    assert "disabled" in dead["reason"]
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["since"]) == ("webhook_disabled", read["disabled_at"])
    assert item["webhook_endpoint"] == read["id"]
    assert "410" in item["message"]
    assert endpoint["id"] in item["advice"]
    assert "shop.test" not in repr(item), "its URL may hold a token, and the desk asks for less than `admin`"
    receivers.answers.clear()
    assert expect(await shop.post(f"/v1/deliveries/{dead['id']}/retry"), 202)["status"] == "pending"
    await receivers.work()
    assert expect(await shop.get(f"/v1/deliveries/{dead['id']}"), 200)["status"] == "delivered"
    await shop.create_return()
    assert await receivers.work() == 0
    read = expect(await shop.post(f"{PATH}/{endpoint['id']}", {"status": "enabled"}), 200)
    assert (read["status"], read["disabled_at"], read["disabled_reason"]) == ("enabled", None, None)
    assert await receivers.work() == 1
    by_hand = expect(await shop.post(f"{PATH}/{endpoint['id']}", {"status": "disabled"}), 200)
    assert by_hand["disabled_reason"].startswith("Disabled by key_")
    assert expect(await shop.get("/v1/desk"), 200)["data"] == [], "a person has decided it"


async def test_the_figures_tell_of_deliveries(shop: ServedShop) -> None:
    endpoint = await made(shop)
    assert "returns_oldest_pending_delivery_seconds 0.0" in (await shop.get("/metrics")).text
    expect(await shop.post(f"{PATH}/{endpoint['id']}/test"), 202)
    shop.advance(60)
    text = (await shop.get("/metrics")).text
    assert 'returns_deliveries{status="pending"} 1.0' in text
    age = next(line for line in text.splitlines() if line.startswith("returns_oldest_pending_delivery_seconds "))
    assert 59 < float(age.split()[1]) < 70
