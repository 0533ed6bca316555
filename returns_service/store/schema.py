"""The schema's state: bring it to head, or say what is missing. Only a migration loads Alembic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from returns_service.store.database import Database
from returns_service.store.tables import METADATA

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK = 7_263_845_001  # any number, the same for all: one migration at a time
LOCK_TIMEOUT = "5s"  # rather fail than queue up behind a long transaction, and everybody else behind us


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, over `connection` where one is open."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


@cache
def head() -> str:
    """Return the newest revision that this release knows."""
    return max(known_revisions())


@cache
def known_revisions() -> frozenset[str]:
    """Return all revisions of this release's history: its files' numbers, which follow each other."""
    return frozenset(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


async def current_revision(database: Database) -> str | None:
    """Return the database's revision, None for an empty one."""
    async with database.reader.connect() as connection:
        return await connection.run_sync(_revision)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def is_known(revision: str | None) -> bool:
    """Return whether this release has that revision in its history (a newer release's it has not)."""
    return revision is not None and revision in known_revisions()


async def is_behind(database: Database) -> bool:
    """Return whether migrations are missing. A schema that a newer release has migrated is not behind."""
    revision = await current_revision(database)
    return revision is None or (is_known(revision) and revision != head())


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`, one process at a time. A schema of a newer release stays as it is."""

    def migrate_over(connection: Connection) -> None:
        from alembic import command

        present = _revision(connection)
        if present is None or is_known(present):
            command.upgrade(config(connection), revision)
            if not database.postgresql and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
                raise RuntimeError(f"The migration to {revision} would break references: {broken[:5]}")

    if revision == "head" and await current_revision(database) == head():
        return
    async with database.migrating() as connection, _copying_tables(database, connection), connection.begin():
        if database.postgresql:
            # The migration before this one may take long, and holds up nobody else meanwhile.
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        await connection.run_sync(migrate_over)


@asynccontextmanager
async def _copying_tables(database: Database, connection: AsyncConnection) -> AsyncIterator[None]:
    """Let SQLite replace a table by its altered copy, which others refer to; `upgrade` checks the references itself.

    Dropping the original would count as a deletion of all its rows. See https://www.sqlite.org/lang_altertable.html,
    section 7: the switch works only outside a transaction.
    """
    if database.postgresql:
        yield
        return
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        await driver.execute("PRAGMA foreign_keys=ON")


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`. Not for use inside a running event loop."""

    async def run() -> None:
        database = Database(url)
        try:
            await upgrade(database, revision)
        finally:
            await database.close()

    asyncio.run(run())


def differences(connection: Connection) -> list[Any]:
    """Return what the models have and the schema hasn't, and the other way round."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, METADATA))
