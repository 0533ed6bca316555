"""A database that an earlier release filled: after the migration all is there, and every old fact reads as it was."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, select
from sqlmodel import SQLModel, col
from sqlmodel import select as chosen

from returns_service.domain.policy import DEFAULT
from returns_service.domain.refund_status import RefundStatus
from returns_service.domain.return_machine import State
from returns_service.return_case.loader import load_cases
from returns_service.store import schema
from returns_service.store.database import Database
from returns_service.store.tables import Payment, Refund, ReturnAuthorization
from tests.harness.clock import NOON
from tests.harness.postgres import Postgres
from tests.harness.served_shop import ServedShop, expect, open_shop

FILLED = Path(__file__).parent / "filled_0004.sql"
AGE = timedelta(days=2)  # of all that is in it
SHORT_ID = re.compile(r"\b(pay|ret|rli|rcp|rcl|und|rfd|evt|whe|dlv|rec|dif)_(\d+)\b")
STATES = ("requested", "approved", "refunding", "refunded", "failed", "declined", "canceled")


def full_id(short: str) -> str:
    """Return an id of the length that ids have."""
    return SHORT_ID.sub(lambda found: f"{found[1]}_{int(found[2]):026}", short)


def read_all(connection: Connection) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """Return every row of every table by its key, as the database itself holds it."""
    known = MetaData()
    known.reflect(connection)
    return {table.name: _rows(connection, table) for table in known.sorted_tables if table.name != "alembic_version"}


def _rows(connection: Connection, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = [dict(row) for row in connection.execute(select(table)).mappings()]
    return {tuple(row[column.name] for column in table.primary_key): row for row in rows}


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/old.db"
    server: Postgres = request.getfixturevalue("pg")
    return server.url(server.create_database())


@pytest.fixture
async def old(old_url: str) -> AsyncIterator[Database]:
    """A database of each kind, as the release with the schema 0004 left it."""
    database = Database(old_url)
    await schema.upgrade(database, "0004")
    async with database.writer.begin() as connection:
        at = (NOON - AGE).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        script = full_id(FILLED.read_text(encoding="utf-8")).replace("{at}", at)
        for statement in re.findall(r"^INSERT INTO .*?;$", script, flags=re.DOTALL | re.MULTILINE):
            await connection.exec_driver_sql(statement.rstrip(";"))
    yield database
    await database.close()


async def test_the_old_rows_are_of_every_table_and_every_status(old: Database) -> None:
    async with old.writer.connect() as connection:
        rows = await connection.run_sync(read_all)
    assert {name for name, found in rows.items() if not found} == set()
    assert {row["state"] for row in rows["return_authorization"].values()} == set(STATES)
    statuses: set[RefundStatus] = {row["status"] for row in rows["refund"].values()}
    assert len(statuses) == 10


async def test_a_migration_keeps_every_old_value(old: Database) -> None:
    async with old.writer.connect() as connection:
        before = await connection.run_sync(read_all)
    await schema.upgrade(old)
    async with old.writer.connect() as connection:
        after = await connection.run_sync(read_all)
        assert await connection.run_sync(schema.differences) == []
    for table, rows in before.items():
        assert after[table].keys() == rows.keys(), table
        for key, row in rows.items():
            kept = {name: after[table][key][name] for name in row}
            assert kept == row, (table, key)


async def test_old_counts_are_what_their_receipts_say(old: Database) -> None:
    await schema.upgrade(old)
    async with old.reading() as tx:
        names = (await tx.exec(chosen(ReturnAuthorization.id))).all()
        for case in await load_cases(tx, DEFAULT, list(names)):
            counted = case.count_lines(case.lines, case.standing())
            for line in case.lines:
                counts = counted[line.id]
                told = counts.accepted, counts.rejected, counts.inspecting
                assert told == (line.accepted, line.rejected, line.inspecting), line.id


async def test_a_refund_made_outside_holds_the_returns_that_may_still_be_paid(old: Database) -> None:
    """A4: nobody was asked what it was for; without a return that waits for money nobody needs to be."""
    await schema.upgrade(old)
    async with old.reading() as tx:
        rows = (await tx.exec(chosen(Payment).order_by(col(Payment.id)))).all()
        assert [row.id for row in rows if row.external_open] == [full_id("pay_3")]


@pytest.fixture
async def shop(old: Database, old_url: str) -> AsyncIterator[ServedShop]:
    """The service over the migrated database."""
    await schema.upgrade(old)
    async with open_shop(old_url) as shop:
        yield shop


async def test_every_old_object_is_answered(shop: ServedShop) -> None:
    async with shop.db.reading() as tx:
        returns = {row.id: row.state for row in (await tx.exec(chosen(ReturnAuthorization))).all()}
        refunds = {row.id: row.status for row in (await tx.exec(chosen(Refund))).all()}
        payments = (await tx.exec(chosen(Payment.id))).all()
    states: Mapping[str, State] = {row["id"]: row["state"] for row in await listed(shop, "/v1/returns")}
    assert states == returns
    statuses = {row["id"]: row["status"] for row in await listed(shop, "/v1/refunds")}
    assert statuses == refunds
    for name in returns:
        await shop.read_return(name)
        expect(await shop.get(f"/v1/returns/{name}/receipts"), 200)
        expect(await shop.get(f"/v1/returns/{name}/events"), 200)
    for name in payments:
        expect(await shop.get(f"/v1/payments/{name}"), 200)
    for path in ("/v1/events", "/v1/desk", "/v1/deliveries", "/v1/webhook_endpoints", "/v1/reconciliations"):
        assert await listed(shop, path), path


async def listed(shop: ServedShop, path: str, **filters: str) -> list[dict[str, Any]]:
    """Return the first page of a list, which holds all there is."""
    rows: list[dict[str, Any]] = expect(await shop.get(path, params={"limit": "100", **filters}), 200)["data"]
    return rows


async def test_old_sums_reasons_and_words_read_as_they_were(shop: ServedShop) -> None:
    row = await shop.read_return(full_id("ret_1"))
    shown = ("state", "amount_refunded", "amount_due", "overpaid_amount", "tracking_numbers")
    assert [row[name] for name in shown] == ["approved", 3333, 0, 0, []]
    assert [item["sku"] for item in row["undeclared"]] == ["MÜTZE"]
    assert (await shop.read_return(full_id("ret_4")))["amount_settled_outside"] == 4000
    failures = {row["id"]: (row["failure"] or {}).get("message") for row in await listed(shop, "/v1/refunds")}
    assert failures[full_id("rfd_9")] == "The card is lost or stolen."
    found = {row["id"]: (row["waiting_code"], row["waits_for"]) for row in await listed(shop, "/v1/refunds")}
    assert found[full_id("rfd_2")][0] == "payment_disputed"  # which holds it now, whatever Stripe said before
    async with shop.db.reading() as tx:
        kept = await tx.get(Refund, full_id("rfd_2"))
    assert kept is not None
    assert (kept.waiting_code, kept.waiting_detail) == ("refused_for_now", "Your balance is too low.")
    assert found[full_id("rfd_11")] == ("unknown_reason", "The bank is processing it.")
    assert found[full_id("rfd_12")][0] == "customer_action"
    why = {row["id"]: row["disabled_reason"] for row in await listed(shop, "/v1/webhook_endpoints")}
    assert why[full_id("whe_3")] == "In words of an older release."
    assert sum(len(row["metadata"]) for row in await listed(shop, "/v1/refunds")) > 0
    for refund in await listed(shop, "/v1/refunds"):
        for key, value in refund["metadata"].items():
            same = await listed(shop, "/v1/refunds", **{f"metadata[{key}]": value})
            assert refund["id"] in [row["id"] for row in same], key
    for words in ("äpfel", "jürgen@EXAMPLE.com", row["slip_code"]):
        assert [r["id"] for r in await listed(shop, "/v1/returns", q=words)] == [full_id("ret_1")], words


async def test_the_dock_goes_on_where_it_was(shop: ServedShop) -> None:
    """C1, A4: a missing unit comes after all; a return beside an unexplained refund is counted, and not yet paid."""
    cap, socks = (full_id(name) for name in ("ret_1", "ret_3"))
    count = {"lines": [{"sku": "mütze", "quantity": 1, "condition": "new"}]}
    expect(await shop.post(f"/v1/returns/{cap}/receipts", count), 201)
    row = await shop.read_return(cap)
    line = row["lines"][0]
    assert (line["accepted_quantity"], line["rejected_quantity"], line["inspecting_quantity"]) == (2, 0, 1)
    assert row["amount_open"] + row["amount_due"] == 3333
    count = {"lines": [{"sku": "SOCKS", "quantity": 1, "condition": "new"}]}
    expect(await shop.post(f"/v1/returns/{socks}/receipts", count), 201)
    held = await shop.read_return(socks)
    assert (held["state"], held["amount_due"]) == ("approved", 2500)
    assert held["refund_barred"]["code"] == "external_refund_open"
    said = {"return": socks}
    expect(await shop.post(f"/v1/refunds/{full_id('rfd_3')}/assign", said), 200)
    after = await shop.read_return(socks)
    assert (after["amount_refunded"], after["amount_open"]) == (2000, 500)


def test_every_table_of_then_is_still_one_of_ours() -> None:
    then = set(re.findall(r"INSERT INTO (\w+)", FILLED.read_text(encoding="utf-8")))
    assert then <= set(SQLModel.metadata.tables)
