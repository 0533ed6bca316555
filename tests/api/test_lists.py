"""Lists: filters, search, pages, expansion; and a number of queries that doesn't grow with the page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from returns_service.queries.refund_journal import journal_after
from returns_service.web.operations.operation import Operation
from returns_service.web.routes import OPERATIONS
from tests.factories.reconciliation import create_reconciliation_difference
from tests.harness.counting import counting
from tests.harness.served_shop import ServedShop, expect, return_body

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def ids(shop: ServedShop, **query: Any) -> list[str]:
    answer = await shop.get("/v1/returns", params=query)
    return [row["id"] for row in expect(answer, 200)["data"]]


async def test_returns_are_found_by_each_filter_and_by_search(shop: ServedShop) -> None:
    shirt = await shop.create_return(customer_email="Ann@example.com", order_id="A-1")
    lines = [{"sku": "100%_WOOL", "quantity": 1, "total_amount": 10_000}]
    wool = expect(await shop.post("/v1/returns", return_body(shop.pay(), order_id="B-2") | {"lines": lines}), 201)
    expect(await shop.post(f"/v1/returns/{wool['id']}/decline", {"reason": "x"}), 200)

    assert await ids(shop) == [wool["id"], shirt["id"]]
    assert await ids(shop, state="declined") == [wool["id"]]
    assert await ids(shop, order_id="A-1") == [shirt["id"]]
    assert await ids(shop, payment_intent=wool["payment_intent"]) == [wool["id"]]
    assert await ids(shop, customer_email="ann@example.com") == [shirt["id"]]
    for words in ("ann@", "a-1", "shir", shirt["id"][:29], "SHIR exam"):
        assert await ids(shop, q=words) == [shirt["id"]], words
    assert await ids(shop, q="100%_w") == await ids(shop, q="wool") == [wool["id"]]
    assert await ids(shop, q="%") == await ids(shop, q="0%_w") == []
    now = datetime.now(UTC)
    assert await ids(shop, **{"created[gte]": int(now.timestamp()) + 60}) == []
    assert len(await ids(shop, **{"created[lt]": "2999-01-01T00:00:00Z", "created[gte]": 0})) == 2


async def test_pages_lead_through_all_without_gaps_both_ways(shop: ServedShop) -> None:
    made = [(await shop.create_return())["id"] for _ in range(5)][::-1]
    first = expect(await shop.get("/v1/returns?limit=2"), 200)
    assert (first["object"], first["url"], first["has_more"]) == ("list", "/v1/returns", True)
    seen = [row["id"] for row in first["data"]]
    while (page := expect(await shop.get(f"/v1/returns?limit=2&starting_after={seen[-1]}"), 200))["data"]:
        seen += [row["id"] for row in page["data"]]
    assert (seen, page["has_more"]) == (made, False)
    back = expect(await shop.get(f"/v1/returns?limit=2&ending_before={made[4]}"), 200)
    assert ([row["id"] for row in back["data"]], back["has_more"]) == (made[2:4], True)


@pytest.mark.parametrize(
    "query, code, param",
    [
        ("colour=red", "unknown_filter", "colour"),
        ("created[ge]=1", "unknown_filter", "created[ge]"),
        ("state=lost", "invalid_request", "state"),
        ("limit=0", "invalid_request", "limit"),
        ("limit=101", "invalid_request", "limit"),
        ("limit=x", "invalid_request", "limit"),
        ("limit=%D9%A1", "invalid_request", "limit"),
        ("starting_after=pay_1", "invalid_request", "starting_after"),
        ("starting_after=a&ending_before=b", "invalid_request", "ending_before"),
        ("created[gte]=yesterday", "invalid_request", "created[gte]"),
        ("created[gte]=99999999999999", "invalid_request", "created[gte]"),
        ("created[gte]=99999999999", "", ""),
        ("created[lt]=0001-01-01T00:00:00%2B14:00", "invalid_request", "created[lt]"),
        ("expand[]=customer", "invalid_request", "expand[]"),
        ("state=", "invalid_request", "state"),
        ("order_id=a&order_id=b", "invalid_request", "order_id"),
        ("metadata=a", "unknown_filter", "metadata"),
        ("metadata[a%00]=a", "invalid_request", "metadata[a\0]"),
        ("order_id=%00", "invalid_request", "order_id"),
        ("order_id=%FF", "malformed_request", None),
        ("&".join("q=1" for _ in range(200)), "malformed_request", None),
    ],
)
async def test_a_wrong_parameter_is_named(shop: ServedShop, query: str, code: str, param: str | None) -> None:
    answer = await shop.get(f"/v1/returns?{query}")
    if not code:
        expect(answer, 200)
        return
    problem = expect(answer, 400 if code == "malformed_request" else 422, code)
    assert problem["param"] == param


async def test_a_filter_by_another_kinds_id_is_refused_where_its_list_would_be_empty(shop: ServedShop) -> None:
    """A refund's id as a return's was answered with nothing, as if nothing had happened; a stream waited for ever."""
    made = await shop.create_return()
    filters = [
        (one.path, name) for one in OPERATIONS for name, said in one.parameters.items() if "pattern" in said.schema
    ]
    assert len(filters) > 4
    for path, name in filters:
        for value in (made["payment"], made["id"].upper(), "", f"pi {made['charge']}"):
            problem = expect(await shop.get(path.format(**made), params={name: value}), 422, "invalid_request")
            assert (problem["param"], "Must be an id" in problem["detail"]) == (name, True), (path, name)
    assert expect(await shop.get(f"/v1/refunds?return=ret_{'0' * 26}"), 200)["data"] == []
    mixed_up = {"payment_intent": made["charge"], "charge": made["payment_intent"]}
    for name, value in mixed_up.items():
        problem = expect(await shop.get("/v1/refunds", params={name: value}), 422, "invalid_request")
        assert problem["detail"].endswith({"payment_intent": "pi_…", "charge": "ch_… or py_…"}[name])


@pytest.mark.parametrize("form", ["expand[]", "expand[0]", "expand"])
async def test_links_are_answered_whole_where_asked(shop: ServedShop, form: str) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    where = f"/v1/returns/{made['id']}"
    whole = expect(await shop.get(where, params=[(form, "payment"), (form.replace("0", "1"), "refunds")]), 200)
    assert whole["payment"]["object"] == "payment"
    (refund,) = whole["refunds"]
    told = expect(await shop.get(where, params={form: "events"}), 200)["events"]
    assert [e["sequence"] for e in told] == list(range(1, len(told) + 1))
    of = expect(await shop.get(f"/v1/refunds/{refund['id']}", params=[(form, "return"), (form, "payment")]), 200)
    assert (of["return"]["id"], of["payment"]["id"]) == (made["id"], made["payment"])


async def test_refunds_are_found_by_each_filter(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    other = expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 7}), 202)
    (refund,) = (await shop.read_return(made["id"]))["refunds"]

    async def found(**query: str) -> list[str]:
        return [row["id"] for row in expect(await shop.get("/v1/refunds", params=query), 200)["data"]]

    assert await found() == [other["id"], refund["id"]]
    assert await found(payment_intent=made["payment_intent"]) == [refund["id"]]
    assert await found(charge=made["charge"]) == [refund["id"]]
    assert await found(status="queued") == [other["id"]]
    assert await found(**{"return": made["id"]}) == [refund["id"]]


async def test_a_payment_is_found_by_each_of_its_names(shop: ServedShop) -> None:
    made = await shop.create_return()
    shown = [
        expect(await shop.get(f"/v1/payments/{made[name]}"), 200) for name in ("payment", "payment_intent", "charge")
    ]
    assert shown[0] == shown[1] == shown[2]
    expect(await shop.get("/v1/payments/pay_nobody"), 404, "not_found")


async def test_a_longer_page_needs_no_more_queries(shop: ServedShop) -> None:
    async def queries() -> int:
        with counting(shop) as seen:
            expect(await shop.get("/v1/returns?limit=100&expand[]=refunds&expand[]=events&expand[]=payment"), 200)
        return seen["statements"]

    await shop.create_return()
    for _ in range(2):
        made = await shop.create_approved_return(quantity=1)
        await shop.receive_parcel(made["id"])
    few = await queries()
    for _ in range(4):
        await shop.create_return()
        made = await shop.create_approved_return(quantity=1)
        await shop.receive_parcel(made["id"])
    assert await queries() == few


async def test_a_list_takes_several_values_of_a_closed_list(shop: ServedShop) -> None:
    first, second, third = [(await shop.create_return())["id"] for _ in range(3)]
    expect(await shop.post(f"/v1/returns/{first}/decline", {"reason": "x"}), 200)
    expect(await shop.post(f"/v1/returns/{second}/cancel", {"reason": "x"}), 200)
    assert await ids(shop, state="declined,canceled") == [second, first]
    assert await ids(shop, state=["declined", "requested"]) == [third, first]
    problem = expect(await shop.get("/v1/returns?state=declined,lost"), 422, "invalid_request")
    assert problem["param"] == "state"


async def test_returns_and_refunds_are_found_by_their_metadata(shop: ServedShop) -> None:
    keys = {"desk": "2", 'a"b': "quote", "größe": "L", "$.x": "path", "a'b": "tick"}
    one = await shop.create_return(metadata=keys)
    await shop.create_return(metadata={"desk": "3"})
    for key, value in keys.items():
        assert await ids(shop, **{f"metadata[{key}]": value}) == [one["id"]], key
        assert await ids(shop, **{f"metadata[{key}]": value + "x"}) == [], key
    assert await ids(shop, **{"metadata[desk]": "2", "metadata[größe]": "S"}) == []
    body = {"payment_intent": shop.pay(), "amount": 7, "metadata": {"ticket": "T-1"}}
    refund = expect(await shop.post("/v1/refunds", body), 202)
    expect(await shop.post("/v1/refunds", body | {"metadata": {}}), 202)
    found = expect(await shop.get("/v1/refunds", params={"metadata[ticket]": "T-1"}), 200)
    assert [row["id"] for row in found["data"]] == [refund["id"]]
    twice = await shop.get("/v1/returns?metadata[desk]=1&metadata[desk]=2")
    assert expect(twice, 422, "invalid_request")["param"] == "metadata[desk]"


TIMED = [operation for operation in OPERATIONS if "created[gte]" in operation.parameters]


def test_every_list_of_dated_things_is_filtered_by_time() -> None:
    lists = {operation.name for operation in OPERATIONS if operation.paged}
    assert {operation.name for operation in TIMED} == lists - {"list_desk_items"}  # its things only wait `since`


@pytest.mark.parametrize("name", ["list_returns", "list_refunds"])
async def test_what_changed_since_is_found(shop: ServedShop, name: str) -> None:
    (operation,) = [operation for operation in OPERATIONS if operation.name == name]
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    (row,) = expect(await shop.get(operation.path), 200)["data"]
    assert row["updated"] > row["created"]

    async def count(comparison: str, time: str) -> int:
        answer = await shop.get(operation.path, params={f"updated[{comparison}]": time})
        return len(expect(answer, 200)["data"])

    later = datetime.fromisoformat(row["updated"]) + timedelta(seconds=1)
    assert await count("gte", row["updated"]) == await count("gt", row["created"]) == 1
    assert await count("lt", later.isoformat()) == await count("lte", later.isoformat()) == 1
    assert await count("gt", later.isoformat()) == await count("lt", row["updated"]) == 0


@pytest.mark.parametrize("operation", TIMED, ids=lambda operation: operation.name)
async def test_each_list_is_narrowed_by_the_time_its_things_were_made(shop: ServedShop, operation: Operation) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    expect(await shop.post(f"/v1/returns/{made['id']}/notes", {"text": "The customer called."}), 201)
    expect(await shop.post("/v1/receipts", {"items": [{"sku": "A", "quantity": 1, "condition": "new"}]}), 201)
    endpoint = expect(await shop.post("/v1/webhook_endpoints", {"url": "https://shop.test/h", "events": ["*"]}), 201)
    expect(await shop.post(f"/v1/webhook_endpoints/{endpoint['id']}/test"), 202)
    async with shop.db.transaction() as tx:
        run = (await create_reconciliation_difference(tx)).run_id
    path = operation.path.format(return_id=made["id"], reconciliation_id=run)
    rows = expect(await shop.get(path), 200)["data"]
    assert rows
    oldest = min(row["created"] for row in rows)
    for comparison, number in (("gte", len(rows)), ("lt", 0)):
        found = expect(await shop.get(path, params={f"created[{comparison}]": oldest}), 200)["data"]
        assert len(found) == number, comparison
    for comparison, number in (("gt", len(rows)), ("lte", 0)):
        found = expect(await shop.get(path, params={f"created[{comparison}]": 0}), 200)["data"]
        assert len(found) == number, comparison


async def test_a_refund_that_was_learnt_of_late_is_listed_by_when_it_was_made(shop: ServedShop) -> None:
    """Ids tell when a row was made; a refund of the Dashboard was made before, and belongs to that day's journal."""
    payment = shop.pay()
    next_day = shop.time + timedelta(hours=12)
    shop.dashboard.refund(payment, 1000)
    shop.lose_webhooks()
    shop.advance(86_400)
    body = {"payment_intent": payment, "amount": 500}
    expect(await shop.get(f"/v1/payments/{payment}"), 200)
    own = expect(await shop.post("/v1/refunds", body | {"override_reason": "A test."}), 202)["id"]
    listed = [refund["id"] for refund in expect(await shop.get("/v1/refunds"), 200)["data"]]
    late = next(name for name in listed if name != own)
    for limits, found in (
        ({"lt": next_day}, [late]), ({"gte": next_day}, [own]), ({"gt": next_day - timedelta(days=1)}, listed),
        ({"gte": next_day - timedelta(days=1), "lt": next_day}, [late]),
    ):  # fmt: skip
        query = {f"created[{comparison}]": moment.isoformat() for comparison, moment in limits.items()}
        page = expect(await shop.get("/v1/refunds", params=query), 200)
        assert [refund["id"] for refund in page["data"]] == found, limits
    async with shop.db.reading() as tx:
        before = [e.refund.id for e in await journal_after(tx, begin=LONG_AGO, end=next_day, after="", limit=9)]
        since = [e.refund.id for e in await journal_after(tx, begin=next_day, end=None, after="", limit=9)]
    assert (before, since) == ([late], [own])
