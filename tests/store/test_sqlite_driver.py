"""SQLite's driver begins and rolls back only where there is something to begin or to roll back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

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
