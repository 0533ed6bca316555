"""Lists: filters, search, pages, expansion; and a number of queries that doesn't grow with the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from tests.harness.served_shop import ServedShop, expect, return_body


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
        ("created[gt]=1", "unknown_filter", "created[gt]"),
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
        ("expand[]=customer", "invalid_request", "expand"),
        ("state=approved&state=failed", "invalid_request", "state"),
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
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    async def queries() -> int:
        nonlocal count
        count = 0
        expect(await shop.get("/v1/returns?limit=100&expand[]=refunds&expand[]=events&expand[]=payment"), 200)
        return count

    event.listen(shop.db.reader.sync_engine, "before_cursor_execute", counted)
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
