"""The history: complete, in one order for all readers, and live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import event

from returns_service.commands.api_keys import create_key, revoke_key
from returns_service.return_case.event_feed import place_events
from returns_service.return_case.events import Actor, record
from returns_service.web.live_feed import EventFilter
from tests.harness.patience import SECONDS_WITHOUT_PROGRESS, complete, wait_for
from tests.harness.served_shop import ServedShop, expect, return_body, units_told


async def test_every_step_is_told_with_who_and_in_which_request(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    answer = await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "The rest is lost."})
    closed = expect(answer, 200)
    listed = expect(await shop.get(f"/v1/returns/{made['id']}/events"), 200)
    assert listed["url"] == f"/v1/returns/{made['id']}/events"
    newest = listed["data"][0]
    assert (newest["type"], newest["sequence"], newest["request_id"]) == (
        "return.state_changed", closed["version"], answer.headers["request-id"],
    )  # fmt: skip
    assert newest["actor"].startswith("key_")
    assert (newest["data"]["from"], newest["data"]["to"], newest["data"]["trigger"]) == (
        "approved",
        "canceled",
        "close",
    )
    assert newest["data"]["reason"] == "The rest is lost."
    assert newest["data"]["object"]["state"] == "canceled"
    assert [e["sequence"] for e in listed["data"]] == list(range(closed["version"], 0, -1))
    expect(await shop.get("/v1/returns/ret_x/events"), 404, "not_found")


async def test_the_feed_is_read_to_its_end_in_pages(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    whole = expect(await shop.get("/v1/events?limit=100"), 200)["data"]
    seen: list[str] = []
    query = "limit=2"
    while (page := expect(await shop.get(f"/v1/events?{query}"), 200))["data"]:
        seen += [e["id"] for e in page["data"]]
        query = f"limit=2&starting_after={seen[-1]}"
    assert seen == [e["id"] for e in whole]
    only = expect(await shop.get("/v1/events?type=receipt.created"), 200)["data"]
    assert [e["type"] for e in only] == ["receipt.created"]
    expect(await shop.get("/v1/events?type=x"), 422, "invalid_request")
    expect(await shop.get("/v1/events?starting_after=evt_" + "0" * 26), 422, "invalid_request")


async def test_an_event_committed_late_gets_a_later_place(shop: ServedShop) -> None:
    database = shop.db
    if not database.postgresql:
        return  # one writer: nothing commits late
    async with database.transaction() as slow:
        await record(slow, Actor("slow"), "ping", data={"endpoint": "whe_" + "0" * 26})
        async with database.transaction() as quick:
            await record(quick, Actor("quick"), "ping", data={"endpoint": "whe_" + "0" * 26})
        first = expect(await shop.get("/v1/events"), 200)["data"]
    both = expect(await shop.get("/v1/events"), 200)["data"]
    assert [e["actor"] for e in first] == ["quick"]
    assert [e["actor"] for e in both] == ["slow", "quick"]


async def test_placing_twice_changes_nothing(shop: ServedShop) -> None:
    await shop.create_return()
    before = expect(await shop.get("/v1/events"), 200)["data"]
    await asyncio.gather(*(shop.db.run(place_events) for _ in range(5)))
    assert expect(await shop.get("/v1/events"), 200)["data"] == before


@asynccontextmanager
async def served(shop: ServedShop) -> AsyncIterator[httpx.AsyncClient]:
    """The application on a port: only a real server sends an answer that goes on."""
    server = uvicorn.Server(uvicorn.Config(shop.app, port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await wait_for(lambda: server.started, "the server", progress=task.done)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {shop.secret}", "Accept": "text/event-stream"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=SECONDS_WITHOUT_PROGRESS
    ) as client:
        yield client
    shop.context.closing.set()
    server.should_exit = True
    await task


async def next_events(lines: AsyncIterator[str], count: int) -> list[tuple[str, str]]:
    """Return id and type of the next events of a stream."""
    events: list[tuple[str, str]] = []

    async def read() -> None:
        name = ""
        while len(events) < count:
            line = await anext(lines)
            if line.startswith("id: "):
                name = line[4:]
            elif line.startswith("data: ") and (data := json.loads(line[6:]))["object"] == "event":
                events.append((name, data["type"]))

    await complete(read(), f"{count} events of a stream", progress=lambda: len(events))
    return events


async def read_to_the_end(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def test_events_come_live_and_go_on_where_a_reader_was(shop: ServedShop) -> None:
    async with served(shop) as client:
        async with client.stream("GET", "/v1/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith(":")
            made = await shop.create_approved_return()
            live = await next_events(lines, 2)
        assert [kind for _, kind in live] == ["return.created", "return.state_changed"]
        other = await shop.create_return()
        async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": live[0][0]}) as stream:
            resumed = await next_events(stream.aiter_lines(), 2)
        assert resumed[0] == live[1]
        assert resumed[1][1] == "return.created"
        where = f"/v1/returns/{made['id']}/events"
        async with client.stream("GET", where, headers={"Last-Event-ID": live[0][0]}) as stream:
            expect(await shop.post(f"/v1/returns/{other['id']}/decline", {"reason": "x"}), 200)
            expect(await shop.post(f"/v1/returns/{made['id']}", {"internal_note": "x"}), 200)
            mine = await next_events(stream.aiter_lines(), 2)
        assert [kind for _, kind in mine] == ["return.state_changed", "return.updated"]
        missing = await client.get("/v1/events", headers={"Last-Event-ID": "evt_nobody"})
        expect(missing, 422, "invalid_request")


async def test_a_stream_of_a_type_that_there_isnt_is_refused_as_the_list_is(shop: ServedShop) -> None:
    misspelt = "/v1/events?type=refund.suceeded"
    async with served(shop) as client, client.stream("GET", misspelt) as stream:
        assert stream.status_code == 422


async def test_a_stream_refuses_what_narrows_pages_alone(shop: ServedShop) -> None:
    """They were read over: a reader waited for the events since a time, and was told what came from now on."""
    async with served(shop) as client:
        for query in ("created[gte]=0", "limit=5", f"starting_after=evt_{'0' * 26}"):
            async with client.stream("GET", f"/v1/events?{query}") as stream:
                assert stream.status_code == 422, query
                problem = json.loads(await stream.aread())
            assert problem["param"] == query.partition("=")[0]
            assert "Last-Event-ID" in problem["detail"]


async def test_a_revoked_key_stops_listening(shop: ServedShop) -> None:
    async with shop.db.transaction() as tx:
        row, secret = await create_key(tx, "listener", ["returns:read"])
    async with served(shop) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        async with client.stream("GET", "/v1/events", headers=headers) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            async with shop.db.transaction() as tx:
                await revoke_key(tx, row.id)
            await complete(read_to_the_end(lines), "the end of the stream")


async def read_greeting(lines: AsyncIterator[str]) -> str:
    """Return the id that a stream opens with; it comes with data, or no client would keep it."""
    seen: list[str] = []
    while not seen or seen[-1] or not any(line.startswith("data: ") for line in seen):
        seen.append(await anext(lines))
    assert "event: ready" in seen
    (name,) = [line[4:] for line in seen if line.startswith("id: ")]
    return name


@pytest.mark.parametrize("empty", [True, False])
async def test_a8_a_stream_cut_before_its_first_event_is_resumed_without_a_gap(shop: ServedShop, empty: bool) -> None:
    """A8: no id was known by then, and all that came meanwhile was missed; in a feed without any event too."""
    if not empty:
        await shop.create_return()
    async with served(shop) as client:
        async with client.stream("GET", "/v1/events") as stream:
            name = await read_greeting(stream.aiter_lines())
        made = await shop.create_return()
        async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": name}) as stream:
            lines = stream.aiter_lines()
            assert await read_greeting(lines) == name
            ((_, kind),) = await next_events(lines, 1)
    assert kind == "return.created"
    newest = expect(await shop.get("/v1/events"), 200)["data"][0]
    assert newest["return"] == made["id"]


@pytest.mark.parametrize("setting", ["most", "most_per_key"])
async def test_a5_streams_have_a_limit_and_give_their_place_back(shop: ServedShop, setting: str) -> None:
    """A5: 500 streams of one key made the API 12 times as slow."""
    feed = shop.context.live_feed
    setattr(feed, setting, 2)
    async with served(shop) as client:
        async with client.stream("GET", "/v1/events") as first, client.stream("GET", "/v1/events") as second:
            listening = [stream.aiter_lines() for stream in (first, second)]  # one that is dropped hangs up
            for lines in listening:
                await read_greeting(lines)
            refused = expect(await client.get("/v1/events"), 429, "too_many_streams")
            assert refused["retry_after"] > 0
        await wait_for(feed.streams.total, "the places to be free", until=lambda seen: seen == 0)
        async with client.stream("GET", "/v1/events") as stream:
            await read_greeting(stream.aiter_lines())


async def test_a5_a_stream_that_is_never_begun_gives_its_place_back(shop: ServedShop) -> None:
    feed = shop.context.live_feed
    stream = feed.stream(feed.take_seat("key_1"), 0, EventFilter(), "")
    assert feed.streams.total() == 1
    del stream
    assert feed.streams.total() == 0


async def test_a5_streams_share_one_look_at_the_database(shop: ServedShop) -> None:
    """A5: each stream asked the database four questions a second."""
    feed, statements = shop.context.live_feed, 0
    async with shop.db.transaction() as tx:
        key = (await create_key(tx, "listener", ["returns:read"]))[0].id

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    async def listen() -> str:
        stream = feed.stream(feed.take_seat(key), 0, EventFilter(), "hello")
        assert await anext(stream) == "hello"
        return await anext(stream)

    feed.most_per_key = 200
    event.listen(shop.db.reader.sync_engine, "before_cursor_execute", count)
    listening = [asyncio.create_task(listen()) for _ in range(200)]
    await asyncio.sleep(0.1)
    made = await shop.create_return()
    texts = await asyncio.gather(*listening)
    assert all(made["id"] in text for text in texts)
    assert statements < 100


async def test_a_stream_that_fell_far_behind_reads_the_rest_for_itself(shop: ServedShop) -> None:
    made = [await shop.create_return() for _ in range(3)]
    async with served(shop) as client:
        first = expect(await shop.get("/v1/events"), 200)["data"][-1]
        async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": first["id"]}) as stream:
            lines = stream.aiter_lines()
            assert len(await next_events(lines, 2)) == 2
            expect(await shop.post(f"/v1/returns/{made[0]['id']}/decline", {"reason": "x"}), 200)
            assert [kind for _, kind in await next_events(lines, 1)] == ["return.state_changed"]


async def test_a6_events_keep_what_changed_and_expanded_ones_are_a_page(shop: ServedShop) -> None:
    """A6: each correction of a long return kept all of it twice, and `expand[]=events` answered 70 MB."""
    lines = [{"sku": f"SKU-{n}", "quantity": 2, "total_amount": 20} for n in range(40)]
    made = expect(await shop.post("/v1/returns", return_body(shop.pay(), lines=lines)), 201)
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/approve", {"override_reason": "A test."}), 200)
    counts = [{"line": line["id"], "quantity": 1, "condition": "new"} for line in made["lines"]]
    receipt = expect(await shop.post(f"{where}/receipts", {"lines": counts}), 201)
    await shop.settle()
    change = {"line": made["lines"][7]["id"], "from": "new", "to": "opened", "quantity": 1}
    for number in range(6):
        asked = {**change, "from": change["to"], "to": change["from"]} if number % 2 else change
        path = f"{where}/receipts/{receipt['id']}/correct"
        corrected = expect(await shop.post(path, {"lines": [asked], "reason": "Looked again."}), 200)
        assert len(corrected["lines"]) == 40, "the answer is the whole receipt"
    events = expect(await shop.get(f"{where}/events?limit=100"), 200)["data"]
    told = {one["sequence"]: one for one in events}
    known = list(units_told(one for _, one in sorted(told.items())).values())
    assert known == (await shop.read_return(made["id"]))["lines"], "the history tells every change"
    assert len(told[1]["data"]["object"]["lines"]) == 40
    late = [one for one in events if one["data"].get("trigger") == "correct" or "corrected" in one["type"]]
    assert len(late) == 12
    assert max(len(one["data"]["object"]["lines"]) for one in late) == 1
    page = expect(await shop.get(f"{where}?expand[]=events"), 200)
    assert (len(page["events"]), page["has_more_events"]) == (10, True)
    assert page["events"] == [told[page["version"] - n] for n in range(9, -1, -1)]
    new = await shop.create_return()
    (listed,) = expect(await shop.get("/v1/returns?limit=1&expand[]=events"), 200)["data"]
    assert ([one["return"] for one in listed["events"]], listed["has_more_events"]) == ([new["id"]], False)


async def test_events_tell_lines_and_items_that_are_gone(shop: ServedShop) -> None:
    """A listener that keeps a return by its events alone has no line and no surplus that the return has lost."""
    made = await shop.create_return(quantity=2)
    where = f"/v1/returns/{made['id']}"
    told: list[dict[str, Any]] = []

    async def agree() -> dict[str, Any]:
        seen = await shop.read_return(made["id"])
        events = expect(await shop.get(f"{where}/events?limit=100"), 200)["data"]
        told[:] = sorted(events, key=lambda event: int(event["sequence"]))
        assert units_told(told) == {one["id"]: one for one in [*seen["lines"], *seen["undeclared"]]}
        return seen

    lines = [{"sku": "HAT", "quantity": 2, "total_amount": 5000}, {"sku": "CAP", "quantity": 1, "total_amount": 10}]
    expect(await shop.post(where, {"lines": lines}), 200)
    seen = await agree()
    assert [line["sku"] for line in seen["lines"]] == ["HAT", "CAP"]
    assert told[-1]["data"]["removed"] == [made["lines"][0]["id"]]
    counts = [{"sku": "HAT", "quantity": 2, "condition": "new"}]
    first = expect(await shop.post(f"{where}/receipts", {"lines": counts}), 201)
    expect(await shop.post(f"{where}/receipts", {"lines": counts}), 201)
    (surplus,) = (await agree())["undeclared"]
    expect(await shop.post(f"{where}/receipts/{first['id']}/reverse", {"reason": "Scanned twice."}), 200)
    assert (await agree())["undeclared"] == []
    assert [event["data"]["removed"] for event in told if "removed" in event["data"]][-1] == [surplus["id"]]
    extra = {"undeclared": [{"sku": "MUG", "quantity": 1}]}
    with_item = expect(await shop.post(f"{where}/receipts", extra), 201)
    assert len((await agree())["undeclared"]) == 1
    expect(await shop.post(f"{where}/receipts/{with_item['id']}/reverse", {"reason": "Not ours."}), 200)
    assert (await agree())["undeclared"] == []


@pytest.mark.parametrize("end", ["acknowledge", "settle_outside", "cancel"])
async def test_events_tell_that_nothing_bars_a_refund_any_more(shop: ServedShop, end: str) -> None:
    """What barred it was dropped after the event that ended it: a listener kept it on a return that was paid."""
    made = await shop.create_approved_return(10_000, payment=shop.pay(20_000))
    where = f"/v1/returns/{made['id']}"
    shop.dashboard.refund(made["payment_intent"], 3000)
    await shop.deliver()
    await shop.receive_parcel(made["id"], 1)
    assert (await shop.read_return(made["id"]))["refund_barred"]["code"] == "external_refund_open"
    (external,) = expect(await shop.get("/v1/refunds"), 200)["data"]
    path, body = {
        "acknowledge": (f"/v1/refunds/{external['id']}/acknowledge", {"reason": "Of no return."}),
        "settle_outside": (f"{where}/settle_outside", {"method": "cash", "reference": "1"}),
        "cancel": (f"{where}/cancel", {"reason": "x", "override_reason": "x"}),
    }[end]
    expect(await shop.post(path, body), 200)
    assert (await shop.read_return(made["id"]))["refund_barred"] is None
    events = expect(await shop.get(f"{where}/events"), 200)["data"]
    told = next(event for event in events if event["data"]["object"]["object"] == "return")
    assert told["data"]["object"]["refund_barred"] is None


@pytest.mark.parametrize("road", ["count", "refund", "retry"])
async def test_the_event_of_a_refunds_decision_shows_the_return_with_it(
    shop: ServedShop, with_policy: Any, road: str
) -> None:
    """It told a return that was refunding, with all of it still due and nothing on its way."""
    with_policy(refund_on="manual" if road == "refund" else "receipt")
    made = await shop.create_approved_return(3000, 1, card="pm_card_refundFail")
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"])
    if road == "refund":
        expect(await shop.post(f"{where}/refund"), 202)
    elif road == "retry":
        await shop.settle()
        expect(await shop.post(f"{where}/retry"), 202)
    created, changed = expect(await shop.get(f"{where}/events?limit=2"), 200)["data"]
    assert (created["type"], changed["type"], changed["data"]["to"]) == (
        "refund.created", "return.state_changed", "refunding",
    )  # fmt: skip
    told, shown = changed["data"]["object"], await shop.read_return(made["id"])
    assert (told["amount_due"], told["amount_open"], told["failure"]) == (0, 3000, None)
    assert told["refunds_waiting"] == shown["refunds_waiting"]
    assert told["available_actions"] == shown["available_actions"]
