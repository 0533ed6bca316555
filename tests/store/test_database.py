"""The database deadlocks, fills up, stops and comes back: whole commands are repeated, nothing is half done."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import select

from returns_service.return_case.locked_payment import lock_payment
from returns_service.store import engines, schema
from returns_service.store.database import Database, Tx, is_unavailable, may_pass
from returns_service.store.tables import Payment
from returns_service.worker.notifications import listen
from tests.factories import create_payment, create_refund
from tests.harness.clock import Clock
from tests.harness.patience import complete, wait_for
from tests.harness.postgres import TEMPLATE, Postgres


async def test_a_deadlock_is_done_again_as_a_whole(postgresql: Database) -> None:
    async with postgresql.transaction() as tx:
        one, two = [(await create_payment(tx)).id for _ in range(2)]
    both_hold_one = asyncio.Barrier(2)
    tries = 0

    async def cross(first: str, second: str) -> None:
        met = False

        async def work(tx: Tx) -> None:
            nonlocal met, tries
            tries += 1
            await lock_payment(tx, first)
            if not met:
                met = True
                await both_hold_one.wait()
            (await lock_payment(tx, second)).row.observations += 1

        await postgresql.run(work)

    await asyncio.gather(cross(one, two), cross(two, one))
    assert tries > 2, "no deadlock was met"
    async with postgresql.reading() as tx:
        assert [(await tx.get_one(Payment, name)).observations for name in (one, two)] == [1, 1]


async def test_d3_a_busy_file_is_known_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D3: another program holds the file for too long; SQLite's sentence about it may change, its code doesn't."""
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.05)
    db = Database(f"sqlite:///{tmp_path}/busy.db")
    with closing(sqlite3.connect(tmp_path / "busy.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError) as failed:
            async with db.transaction() as tx:
                await tx.execute(text("SELECT 1"))
        assert may_pass(failed.value)
        reworded = sqlite3.OperationalError("database is locked")  # the words alone, without the code
        assert not may_pass(OperationalError("BEGIN", {}, reworded))
    await db.close()


async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(sqlite_url: str, clock: Clock) -> None:
    database = Database(sqlite_url, now=clock)
    try:
        async with database.writer.connect() as connection:
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")

        async def work(tx: Tx) -> None:
            for _ in range(500):
                await create_refund(tx, await create_payment(tx))

        with pytest.raises(DBAPIError) as raised:
            await database.run(work)
        assert is_unavailable(raised.value)
        async with database.reading() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM payment"))).scalar_one() == 0
    finally:
        await database.close()


async def test_a_wrong_statement_is_our_mistake_and_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        await database.run(lambda tx: tx.execute(text("SELECT number FROM nowhere")))
    assert not is_unavailable(raised.value)


async def test_commands_go_on_after_the_database_was_killed(own_pg: Postgres) -> None:
    database = Database(own_pg.url(own_pg.create_database(TEMPLATE)))
    try:
        await database.run(create_payment)
        own_pg.kill(signal.SIGKILL)
        more, failure = await until_it_fails(database)
        assert is_unavailable(failure)
        own_pg.start()
        await database.run(create_payment)
        async with database.reading() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM payment"))).scalar_one() == 2 + more
    finally:
        await database.close()


async def until_it_fails(database: Database) -> tuple[int, Exception]:
    """Write until it fails: a backend outlives its killed server for a moment, and what it commits counts."""
    for number in range(10_000):
        try:
            await database.run(create_payment)
        except Exception as error:  # noqa: BLE001 - which one it is depends on the moment
            return number, error
    raise AssertionError("the database was killed, and nothing failed")


async def test_the_listener_survives_a_restart_of_the_database(own_pg: Postgres) -> None:
    database = Database(own_pg.url(own_pg.create_database(TEMPLATE)))
    listening = asyncio.create_task(listen(database))
    try:
        await woken(database)
        own_pg.kill(signal.SIGQUIT)
        own_pg.start()
        before = database.wakes  # it comes back by itself, and wakes everybody: it may have missed something
        await wait_for(lambda: database.wakes, "the listener", until=lambda wakes: wakes != before)
        await woken(database)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await database.close()


@pytest.mark.parametrize("words", ["ssl=prefer", "ssl=prefer&prepared_statement_cache_size=0"])
async def test_the_listener_takes_the_words_that_the_pool_takes(postgresql_url: str, words: str) -> None:
    database = Database(f"{postgresql_url}&{words}")
    listening = asyncio.create_task(listen(database))
    try:
        await woken(database)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await database.close()


async def test_the_listener_goes_past_a_pooler(postgresql_url: str) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/pooler", listen_url=postgresql_url)
    listening = asyncio.create_task(listen(database))
    try:
        await woken(database)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await database.close()


async def woken(database: Database) -> None:
    """Commit an intent elsewhere, and wait until the listener has heard of it."""
    elsewhere = Database(database.listen_url)

    async def work(tx: Tx) -> None:
        tx.wake_workers()

    try:
        before = database.wakes

        async def look() -> bool:
            await elsewhere.run(work)
            return database.wakes != before

        await wait_for(look, "a wake-up")
    finally:
        await elsewhere.close()


async def test_a_commit_wakes_who_sleeps(database: Database) -> None:
    seen = database.wakes
    sleeper = asyncio.create_task(database.sleep(3600, seen))
    await asyncio.sleep(0)

    async def work(tx: Tx) -> None:
        tx.wake_workers()

    await database.run(work)
    await complete(sleeper, "the sleeper")


async def test_who_missed_a_wake_does_not_fall_asleep(database: Database) -> None:
    seen = database.wakes
    database.wake()
    await complete(database.sleep(3600, seen), "somebody who must not sleep")


async def test_a_cancellation_that_comes_with_the_wake_up_is_not_lost(database: Database) -> None:
    sleeper = asyncio.create_task(database.sleep(30, database.wakes))
    await asyncio.sleep(0)
    database.wake()
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/fresh.db")
    yield made
    await made.close()


async def test_an_sqlite_file_keeps_what_was_answered(fresh: Database) -> None:
    await schema.upgrade(fresh)
    async with fresh.writer.connect() as connection:
        kept = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert kept == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_new_file_that_another_process_is_making_is_waited_for(tmp_path: Path, fresh: Database) -> None:
    """Whoever switches a new file to WAL while another writes to it is refused by SQLite at once."""
    with closing(sqlite3.connect(tmp_path / "fresh.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        connecting = asyncio.create_task(fresh.writer.connect().start())
        await asyncio.sleep(0.1)
        assert not connecting.done()
        other.execute("COMMIT")
    await (await connecting).close()


async def test_behind_a_pooler_nothing_outlives_a_transaction(postgresql_url: str) -> None:
    """PgBouncer lends another connection of the server's to each transaction: statements and settings stay there."""
    pooled = Database(postgresql_url, listen_url=postgresql_url)
    try:
        async with pooled.transaction() as tx:
            await create_payment(tx)
            shown = text("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            assert (await tx.execute(shown)).one() == ("15s", "30s")
        async with pooled.reading() as tx:
            assert len((await tx.exec(select(Payment))).all()) == 1
            named = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
            assert (await tx.execute(named)).scalar_one() == 0
            assert (await tx.execute(text("SELECT pg_current_xact_id_if_assigned() IS NULL"))).scalar_one()
        async with pooled.writer.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await connection.rollback()
            assert await driver.fetchval("SELECT current_setting('lock_timeout')") == "0"
    finally:
        await pooled.close()
