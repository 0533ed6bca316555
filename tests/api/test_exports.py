"""Exports: a whole list as CSV or JSON Lines, streamed."""

from __future__ import annotations

import csv
import io
import json

import pytest
from sqlalchemy import update
from sqlmodel import select

from returns_service.domain.problems import Problem
from returns_service.return_case.events import Actor
from returns_service.store.tables import ApiKey
from returns_service.web.api.export import read_pages
from returns_service.web.operations.operation import Empty, Operation, OperationCall
from returns_service.web.operations.query_string import Query
from returns_service.web.routes import OPERATIONS
from tests.harness.served_shop import ServedShop, expect

LISTS = [operation for operation in OPERATIONS if operation.paged]


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page of an export hold two, so that there are several."""
    monkeypatch.setattr("returns_service.web.api.export.LONGEST_LIMIT", 2)


async def test_all_returns_are_exported_in_both_formats(shop: ServedShop) -> None:
    made = [(await shop.create_return(order_id=f"o{n}", reason='=1+1, "x"\n'))["id"] for n in range(5)][::-1]
    lines = await shop.get("/v1/returns", headers={"Accept": "application/jsonl"})
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line)["id"] for line in lines.text.splitlines()] == made
    assert json.loads(lines.text.splitlines()[0]) == expect(await shop.get(f"/v1/returns/{made[0]}"), 200)
    table = await shop.get("/v1/returns?order_id=o3", headers={"Accept": "text/csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="returns.csv"'
    (row,) = csv.DictReader(io.StringIO(table.text, newline=""))
    assert (row["id"], row["order_id"], row["reason"]) == (made[1], "o3", '\'=1+1, "x"\n')
    assert (row["livemode"], row["amount_authorized"], row["closed_at"]) == ("false", "10000", "")
    assert json.loads(row["lines"])[0]["sku"] == "SHIRT"


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.name)
async def test_every_list_is_exported_as_it_is_listed(shop: ServedShop, operation: Operation) -> None:
    made = await shop.create_approved_return(quantity=3)
    for _ in range(3):
        await shop.receive_parcel(made["id"])
    await shop.settle()
    path = operation.path.format(return_id=made["id"], reconciliation_id="rec_none")
    if "{reconciliation_id}" in operation.path:
        expect(await shop.get(path, headers={"Accept": "text/csv"}), 404, "not_found")
        return
    listed = expect(await shop.get(path, params={"limit": 100}), 200)["data"]
    lines = await shop.get(path, headers={"Accept": "application/jsonl"})
    assert [json.loads(line) for line in lines.text.splitlines()] == listed
    table = await shop.get(path, headers={"Accept": "text/csv, application/json;q=0.5"})
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [row["id"] for row in rows] == [row["id"] for row in listed]


async def test_an_export_is_refused_before_it_begins(shop: ServedShop) -> None:
    asked = {"Accept": "text/csv"}
    expect(await shop.get("/v1/returns?limit=3", headers=asked), 422, "invalid_request")
    expect(await shop.get("/v1/returns?state=lost", headers=asked), 422, "invalid_request")
    expect(await shop.get("/v1/returns", headers=asked | {"Authorization": "Bearer no"}), 401, "unauthorized")
    assert expect(await shop.get("/v1/returns", headers={"Accept": "*/*"}), 200)["object"] == "list"
    assert (await shop.client.head("/v1/returns", headers=asked)).status_code == 200


async def test_an_export_ends_once_its_key_is_revoked(shop: ServedShop) -> None:
    for _ in range(5):
        await shop.create_return()
    async with shop.db.reading() as tx:
        key = (await tx.exec(select(ApiKey))).one()
    (operation,) = [operation for operation in LISTS if operation.name == "list_returns"]
    pages = read_pages(operation, OperationCall(shop.context, Actor(key.id), {}, Query(), Empty()), key)
    assert len(await anext(pages)) == 2
    async with shop.db.transaction() as tx:
        await tx.execute(update(ApiKey).values(revoked_at=tx.now))
    with pytest.raises(Problem) as refused:
        await anext(pages)
    assert refused.value.code == "unauthorized"
