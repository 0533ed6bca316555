"""A PostgreSQL that hangs while its machine lives: it is left after a while, and nothing is done twice for it.

Backends are really stopped. The time after which they are left is made short for the one connection that is stopped,
so that no statement of a slow machine meets it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlmodel import col

from returns_service.store import engines, postgresql_connection
from returns_service.store.database import CommitLost, Database, Tx, insert_ignore, is_unavailable
from returns_service.store.tables import Payment, Sweep
from returns_service.worker import notifications
from returns_service.worker.notifications import listen
from tests.factories import create_payment
from tests.harness.patience import wait_for

SHORT_SECONDS = 0.1
BACKEND, COUNT = text("SELECT pg_backend_pid()"), select(func.count()).select_from(Payment)


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    made = Database(postgresql_url)
    yield made
    await made.close()


async def backend_of(tx: Tx) -> int:
    """Return the process of the server that a transaction is in."""
    backend: int = (await tx.execute(BACKEND)).scalar_one()
    return backend


async def stop_backend(tx: Tx) -> None:
    """Let the server's process of a transaction hang, and be waited for no longer than a moment."""
    os.kill(await backend_of(tx), signal.SIGSTOP)
    driver: Any = (await (await tx.connection()).get_raw_connection()).driver_connection
    driver._config = driver._config._replace(command_timeout=SHORT_SECONDS)


async def limit_of(connection: Any) -> tuple[float | None, str]:
    """Return the driver's and the server's limit of a statement on a connection, seconds and in words."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    return driver._config.command_timeout, (await connection.execute(text("SHOW statement_timeout"))).scalar_one()


async def test_the_server_has_the_time_to_end_a_statement_itself_and_a_migration_has_all_time(
    database: Database,
) -> None:
    async with database.writer.connect() as connection:
        assert await limit_of(connection) == (30 + engines.SILENCE_SECONDS, "30s")
    async with database.migrating() as connection:
        assert await limit_of(connection) == (None, "0")


async def test_what_a_stopped_server_left_undone_is_done_over_another_connection(database: Database) -> None:
    backends = []

    async def work(tx: Tx) -> None:
        backends.append(await backend_of(tx))
        await create_payment(tx)
        if len(backends) == 1:
            await stop_backend(tx)
            await tx.execute(COUNT)

    try:
        await database.run(work)
    finally:
        os.kill(backends[0], signal.SIGCONT)
    assert len(set(backends)) == 2
    async with database.reading() as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 1


async def test_a_commit_that_a_stopped_server_does_not_answer_is_in_doubt(database: Database) -> None:
    backends = []

    async def work(tx: Tx) -> None:
        backends.append(await backend_of(tx))
        await create_payment(tx)
        await tx.flush()
        await stop_backend(tx)

    try:
        with pytest.raises(CommitLost) as raised:
            await database.run(work)
    finally:
        os.kill(backends[0], signal.SIGCONT)
    assert is_unavailable(raised.value)
    assert len(backends) == 1

    async def payments() -> int:
        async with database.reading() as tx:
            return int((await tx.execute(COUNT)).scalar_one())

    assert await wait_for(payments, "the commit that was sent, once the server goes on") == 1


async def test_what_is_safe_to_repeat_is_done_once_though_its_first_commit_comes_late(database: Database) -> None:
    backends: list[int] = []
    inserted: list[bool] = []

    async def work(tx: Tx) -> None:
        if backends:
            os.kill(backends[0], signal.SIGCONT)  # it goes on with its COMMIT, beside the one that comes in its place
        backends.append(await backend_of(tx))
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        inserted.append(await insert_ignore(tx, Sweep, {"name": "once", "next_at": moment, "done_at": moment}))
        if len(backends) == 1:
            await stop_backend(tx)

    await database.run(work, safe_to_repeat=True)
    assert inserted == [True, False]
    async with database.reading() as tx:
        assert (await tx.execute(select(func.count()).where(col(Sweep.name) == "once"))).scalar_one() == 1


async def test_a_stop_takes_leave_of_a_stopped_server_for_a_moment_only(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql_connection, "FAREWELL_SECONDS", SHORT_SECONDS)
    database = Database(postgresql_url)
    async with database.reading() as tx:
        backend = await backend_of(tx)
        driver: Any = (await (await tx.connection()).get_raw_connection()).driver_connection
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(engines.SILENCE_SECONDS + 20):  # less than a statement may take
            await database.close()
    finally:
        os.kill(backend, signal.SIGCONT)
    assert driver.is_closed()
    assert caplog.records == [], "it is no error"


async def test_a_listener_whose_server_hangs_listens_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "ASK_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(notifications, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.0)
    listening = asyncio.create_task(listen(database))
    others = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT 1' AND state = 'idle'"
    )

    async def listener() -> int | None:
        async with database.reading() as tx:
            return (await tx.execute(others)).scalars().first()

    try:
        backend = await wait_for(listener, "the listener, which asks now and then")
        wakes = database.wakes
        os.kill(backend, signal.SIGSTOP)
        try:
            await wait_for(lambda: database.wakes, "another connection", until=lambda seen: seen > wakes)
        finally:
            os.kill(backend, signal.SIGCONT)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
