"""Models and migrations are the same thing, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, bindparam, column, insert, inspect, text
from sqlalchemy import table as lightweight
from sqlmodel import SQLModel, select

from returns_service.domain.slip_code import is_slip_code
from returns_service.queries.returns import return_ids
from returns_service.store import schema
from returns_service.store.columns import Utc
from returns_service.store.database import Database
from returns_service.store.tables import Payment, ReturnAuthorization, UnmatchedReceipt
from tests.harness.deployment import clean_environment
from tests.harness.patience import wait_for
from tests.harness.postgres import Postgres
from tests.harness.process import run_to_end


async def test_models_equal_migrations(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.writer.connect() as connection:
            assert await connection.run_sync(schema.differences) == []
        assert await schema.current_revision(database) == schema.head()
        assert not await schema.is_behind(database)
    finally:
        await database.close()


async def test_migrating_twice_changes_nothing(database_url: str) -> None:
    database = Database(database_url)
    try:
        await schema.upgrade(database)
        assert await schema.current_revision(database) == schema.head()
    finally:
        await database.close()


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    scripts = ScriptDirectory.from_config(schema.config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def test_revisions_are_the_numbers_of_their_files() -> None:
    """A start reads them off the files' names, without Alembic."""
    assert schema.known_revisions() == set(revisions())
    assert schema.head() == revisions()[-1]
    assert sorted(revisions()) == revisions()


async def test_upgrading_from_the_first_revision_keeps_what_was_there(empty_url: str) -> None:
    database = Database(empty_url)
    try:
        await schema.upgrade(database, revisions()[0])
        if len(revisions()) > 1:
            assert await schema.is_behind(database)
        async with database.transaction() as tx:
            await tx.execute(
                text(
                    "INSERT INTO payment (id, payment_intent, currency, captured, amount_refunded, status, livemode,"
                    " connect, disputed, news, created_at)"
                    " VALUES ('pay_old', 'pi_old', 'usd', 10000, 0, 'succeeded', :no, :no, :no, 0, :now)"
                ).bindparams(bindparam("now", tx.now, type_=Utc())),
                {"no": False},
            )
        await schema.upgrade(database)
        async with database.reading() as tx:
            kept = await tx.get_one(Payment, "pay_old")
            assert (kept.captured, kept.payment_intent) == (10_000, "pi_old")
        async with database.writer.connect() as connection:
            assert await connection.run_sync(schema.differences) == []
    finally:
        await database.close()


async def test_returns_of_an_earlier_release_get_slip_codes_and_are_found(empty_url: str) -> None:
    """D1: the migration fills what search goes by, for every return that is there."""
    database = Database(empty_url)
    try:
        await schema.upgrade(database, "0007")
        async with database.transaction() as tx:
            now = tx.now
            shared = {"currency": "usd", "livemode": False, "created_at": now}
            payment = {"id": "pay_1", "payment_intent": "pi_1", "captured": 1, "status": "succeeded", "news": 0}
            payment |= {"amount_refunded": 0, "connect": False, "disputed": False, **shared}
            row = {"payment_id": "pay_1", "state": "requested", "shipping_amount": 0, "approvals": [], "version": 1}
            row |= {"approvals_required": 1, "metadata": {}, "updated_at": now, "customer_email": "JÜRGEN@a.de"}
            rows = [{**row, **shared, "id": f"ret_{n}", "order_id": f"ÄPFEL-{n}"} for n in range(3)]
            line = {"id": "rli_1", "return_id": "ret_0", "position": 0, "sku": "Mütze", "quantity": 1}
            line |= {"total_amount": 1, "accepted": {}, "rejected": {}, "inspecting": 0}
            parcel = {"id": "umr_1", "tracking_number": "1Z 999", "items": [], "received_by": "k", "created_at": now}
            parcels = [parcel, {**parcel, "id": "umr_2", "tracking_number": None}]
            old = {"payment": [payment], "return_authorization": rows, "return_line": [line]}
            for table, values in (old | {"unmatched_receipt": parcels}).items():
                known = SQLModel.metadata.tables[table].c  # the columns of today, of which those of then are written
                await tx.execute(insert(lightweight(table, *(column(n, known[n].type) for n in values[0]))), values)
        await schema.upgrade(database)
        async with database.reading() as tx:
            kept = (await tx.exec(select(ReturnAuthorization))).all()
            assert all(is_slip_code(row.slip_code or "") for row in kept)
            assert len({row.slip_code for row in kept}) == 3
            for words, many in (("mütze", 1), ("äpfel", 3), ("jürgen@ A.DE", 3), (kept[1].slip_code or "", 1)):
                assert len((await tx.execute(return_ids(words=words))).all()) == many, words
            assert len((await tx.execute(return_ids(customer_email="jürgen@A.de"))).all()) == 3
            chosen = select(UnmatchedReceipt.tracking_text).order_by(UnmatchedReceipt.id)
            assert (await tx.exec(chosen)).all() == ["1z999", None]
    finally:
        await database.close()


async def test_a_migration_only_adds_what_the_release_before_can_leave_out(empty_url: str) -> None:
    """Old processes run on the new schema while a release is rolled out: their statements must go on working."""

    def columns(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
        found = inspect(connection)
        return {(t, c["name"]): dict(c) for t in found.get_table_names() for c in found.get_columns(t)}

    database = Database(empty_url)
    try:
        known: dict[tuple[str, str], dict[str, Any]] = {}
        for revision in revisions():
            await schema.upgrade(database, revision)
            async with database.writer.connect() as connection:
                now = await connection.run_sync(columns)
            tables = {table for table, _ in known}
            for place, before in known.items():
                assert place in now, f"{revision} takes {place} away"
                assert str(now[place]["type"]) == str(before["type"]), f"{revision} changes the type of {place}"
                assert now[place]["nullable"] or not before["nullable"], f"{revision} demands {place}"
            for place in set(now) - set(known):
                optional = now[place]["nullable"] or now[place]["default"] is not None
                assert place[0] not in tables or optional, f"{revision} adds {place}, which old code doesn't write"
            known = now
    finally:
        await database.close()


async def test_a_release_runs_on_the_schema_of_a_newer_one(empty_url: str) -> None:
    database = Database(empty_url)
    try:
        await schema.upgrade(database)
        async with database.transaction() as tx:
            await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await schema.upgrade(database)
        assert await schema.current_revision(database) == "9999"
    finally:
        await database.close()


async def test_two_processes_migrate_one_after_the_other(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(2)]
    try:
        await asyncio.gather(*(schema.upgrade(database) for database in databases))
        assert await schema.current_revision(databases[0]) == schema.head()
    finally:
        for database in databases:
            await database.close()


async def test_a_migration_waits_for_the_one_before_it_however_long_it_takes(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "10ms")  # of a table's lock alone
    first, second = Database(postgresql_url), Database(postgresql_url)
    try:
        async with first.transaction() as tx:
            await tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": schema.LOCK})
            waiting = asyncio.create_task(schema.upgrade(second, schema.head()))
            held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

            async def wanted() -> int:
                return int((await tx.execute(held)).scalar_one())

            await wait_for(wanted, "the second migration's wait", until=lambda number: number > 0)
            await asyncio.sleep(0.05)
            assert not waiting.done()
        await waiting
    finally:
        await first.close()
        await second.close()


async def test_a_schema_from_a_newer_release_is_not_behind(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.transaction() as tx:
            await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert not await schema.is_behind(database)
    finally:
        await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    server: Postgres = request.getfixturevalue("pg")
    return server.url(server.create_database())


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_older_schema_is_refused_with_the_command_to_run(pg: Postgres, tmp_path: Path, command: str) -> None:
    stripe = {"STRIPE_SECRET_KEY": "sk_test_" + "old", "STRIPE_WEBHOOK_SECRET": "whsec_" + "old"}
    environment = clean_environment(DATABASE_URL=pg.url(pg.create_database()), **stripe)
    ended = run_to_end([command, *(["--port", "0"] if command == "serve" else [])], environment, tmp_path)
    assert ended.code == 1
    assert ended.err.strip().splitlines() == [
        "returns-service: The database's schema is older than this release. Run: returns-service migrate"
    ]
