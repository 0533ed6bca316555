"""SQLite's driver begins and rolls back only where there is something to, and leaves the loop only for what is long."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from returns_service.store import sqlite_driver


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "driver.db"


@pytest.fixture
async def connection(file: Path) -> AsyncIterator[sqlite_driver.Connection]:
    opened = sqlite_driver.connect(str(file), timeout=5, isolation_level=None)
    _ = await opened
    yield opened
    await opened.close()


def is_locked(file: Path) -> bool:
    """Return whether somebody holds the file for writing."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


async def test_a_transaction_holds_the_file_from_its_first_statement_to_its_end(
    connection: sqlite_driver.Connection, file: Path
) -> None:
    for end in (connection.commit, connection.rollback):
        connection.begin_with_next()
        assert not is_locked(file)
        await connection.finish("execute", "SELECT 1", ())
        assert is_locked(file)
        await end()
        assert not is_locked(file)


async def test_a_transaction_without_a_statement_leaves_nothing_begun(
    connection: sqlite_driver.Connection, file: Path
) -> None:
    for end in (connection.commit, connection.rollback):
        connection.begin_with_next()
        await end()
        await connection.finish("execute", "SELECT 1", ())
        assert not is_locked(file)


async def test_a_transaction_that_was_given_up_while_it_waited_is_rolled_back(
    connection: sqlite_driver.Connection, file: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        connection.begin_with_next()
        given_up = asyncio.create_task(connection.finish("execute", "SELECT 1", ()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        other.execute("COMMIT")
    await connection.rollback()
    await connection.execute("SELECT 1")  # after all that the thread was given before
    assert not is_locked(file)


LONG = (
    "SELECT count(*) FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT x FROM n)"
)


async def count_turns(work: Awaitable[Any]) -> tuple[Any, int]:
    """Return what `work` does, and how often the loop turned meanwhile."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    try:
        return await work, turns
    finally:
        turning.cancel()


async def test_a_long_read_leaves_the_loop_to_others_and_a_short_one_does_not(
    connection: sqlite_driver.Connection,
) -> None:
    for begins in (False, True):
        if begins:
            connection.begin_with_next()
        for units, is_long in ((10, False), (300_000, True), (10, False)):
            finished, turns = await count_turns(connection.finish("execute", LONG, (units,)))
            assert finished[3] == [(units,)]
            assert (turns > 0) == is_long
    await connection.rollback()


async def test_a_write_stays_on_the_loop_until_its_commit(connection: sqlite_driver.Connection, file: Path) -> None:
    await connection.finish("execute", "CREATE TABLE thing (number INTEGER PRIMARY KEY)", ())
    connection.begin_with_next()
    finished, turns = await count_turns(connection.finish("execute", "INSERT INTO thing VALUES (7)", ()))
    assert (finished[1], turns) == (1, 0)
    await connection.commit()
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT number FROM thing").fetchall() == [(7,)]


async def test_a_write_waits_in_the_thread_for_who_has_the_file_locked(
    connection: sqlite_driver.Connection, file: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE thing (number INTEGER PRIMARY KEY)")
        other.execute("BEGIN IMMEDIATE")
        connection.begin_with_next()
        waiting = asyncio.create_task(connection.finish("execute", "INSERT INTO thing VALUES (7)", ()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.execute("COMMIT")
        await waiting
        await connection.commit()
        assert other.execute("SELECT number FROM thing").fetchall() == [(7,)]
