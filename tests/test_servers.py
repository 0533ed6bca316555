"""The tests' own servers: what other tests lean on must hold."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.harness.postgres import Postgres


def engine_url(url: str) -> str:
    """Return the address with its async driver."""
    return url.replace("sqlite:", "sqlite+aiosqlite:")


@pytest.mark.parametrize("scheduled", [1, 2])
async def test_each_test_has_a_migrated_database_of_its_own(database_url: str, scheduled: int) -> None:
    engine = create_async_engine(engine_url(database_url))
    async with engine.begin() as connection:
        await connection.execute(text("SELECT version_num FROM alembic_version"))
        await connection.execute(text("CREATE TABLE only_mine (turn int)"))
    await engine.dispose()


def test_a_killed_server_comes_back_with_what_was_committed(own_pg: Postgres) -> None:
    own_pg.sql("CREATE TABLE kept (n int)")
    own_pg.sql("INSERT INTO kept VALUES (1)")
    own_pg.kill(signal.SIGKILL)
    with pytest.raises(RuntimeError):
        own_pg.sql("SELECT 1")
    own_pg.start()
    assert own_pg.sql("SELECT n FROM kept") == "1\n"


def test_a_destroyed_server_leaves_nothing(own_pg: Postgres) -> None:
    own_pg.destroy()
    assert not own_pg.root.exists()
    own_pg.destroy()


def test_no_folder_of_a_server_is_open_to_others(pg: Postgres, session_root: Path) -> None:
    assert pg.data.stat().st_mode & 0o077 == 0
    assert session_root.stat().st_mode & 0o066 == 0
