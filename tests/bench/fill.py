"""Fill a database with the years of a shop, by COPY or by bulk inserts: a million returns in minutes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from typing import Any

import asyncpg
import msgspec
from pydantic_core import PydanticUndefined
from sqlalchemy import JSON, Table, inspect, make_url
from sqlmodel import SQLModel

from returns_service.store.columns import Utc
from returns_service.store.database import Database
from tests.bench.shop_rows import BATCH, ShopWriter

INDEXED_AFTERWARDS = 10_000  # returns from which an index is quicker made whole than row by row
MAINTENANCE = "512MB"  # of memory for it
INDEXES_OF_POSTGRESQL = """
    SELECT indexname, indexdef FROM pg_indexes JOIN pg_class ON relname = indexname
    JOIN pg_index ON indexrelid = pg_class.oid
    WHERE schemaname = 'public' AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
"""
INDEXES_OF_SQLITE = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
Write = Callable[[type[SQLModel], Sequence[Mapping[str, Any]]], Any]


async def fill(
    database: Database, returns: int, *, seed: int = 1, on_rows: Callable[[int], object] = lambda _: None
) -> dict[str, int]:
    """Write so many returns into a migrated, empty database and refresh its statistics; return the rows by table.

    `on_rows` is told how many returns are written so far.
    """
    shop = ShopWriter(database.now(), returns, random.Random(seed))
    open_writer = _postgresql_writer if database.postgresql else _sqlite_writer
    counts: dict[str, int] = {}
    write, finish = await open_writer(database, indexed_afterwards=returns >= INDEXED_AFTERWARDS)
    try:
        for number, rows in enumerate(shop.batches()):
            for kind, some in rows.items():
                await write(kind, some)
                counts[_table(kind).name] = counts.get(_table(kind).name, 0) + len(some)
            on_rows(min(BATCH * (number + 1), returns))
    finally:
        await finish()
    return counts


async def _postgresql_writer(database: Database, *, indexed_afterwards: bool) -> tuple[Write, Callable[[], Any]]:
    connect: Any = asyncpg.connect
    connection = await connect(database.url.replace("+asyncpg", ""))
    await connection.execute("SET session_replication_role = replica")  # the rows fit together: no key is checked
    await connection.execute(f"SET maintenance_work_mem = '{MAINTENANCE}'")
    indexes = await connection.fetch(INDEXES_OF_POSTGRESQL) if indexed_afterwards else []
    for name, _ in indexes:
        await connection.execute(f'DROP INDEX "{name}"')

    async def write(kind: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
        columns, records = _records(kind, rows, sqlite=False)
        await connection.copy_records_to_table(_table(kind).name, records=records, columns=columns)

    async def finish() -> None:
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("VACUUM ANALYZE")  # as the server's own does within a day
        await connection.close()

    return write, finish


async def _sqlite_writer(database: Database, *, indexed_afterwards: bool) -> tuple[Write, Callable[[], Any]]:
    connection = sqlite3.connect(make_url(database.url).database or "")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-262144")  # KiB
    indexes = connection.execute(INDEXES_OF_SQLITE).fetchall() if indexed_afterwards else []
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')

    async def write(kind: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
        columns, records = _records(kind, rows, sqlite=True)
        named, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        connection.executemany(f'INSERT INTO "{_table(kind).name}" ({named}) VALUES ({places})', records)
        connection.commit()

    async def finish() -> None:
        with closing(connection):
            for _, definition in indexes:
                connection.execute(definition)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return write, finish


def _table(kind: type[SQLModel]) -> Table:
    table: Table = SQLModel.metadata.tables[str(kind.__tablename__)]
    return table


def _records(
    kind: type[SQLModel], rows: Sequence[Mapping[str, Any]], *, sqlite: bool
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return a table's columns, and rows as a driver takes them.

    All rows name the columns that the first does; what they leave out has its default.
    """
    columns = {one.key: one.columns[0] for one in inspect(kind).column_attrs}
    writers = {name: _writer(column.type, sqlite=sqlite) for name, column in columns.items()}
    named = list(rows[0])
    others = [name for name in columns if name not in rows[0]]
    defaults = tuple(_written(_default(kind, name), writers[name]) for name in others)
    values = itemgetter(*named)  # of several: every row has more than one column
    written = [(place, write) for place, name in enumerate(named) if (write := writers[name])]

    def records() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            record = list(values(row))
            for place, write in written:
                record[place] = _written(record[place], write)
            yield (*record, *defaults)

    return [columns[name].name for name in (*named, *others)], records()


def _written(value: Any, write: Callable[[Any], Any] | None) -> Any:
    return value if write is None or value is None else write(value)


def _default(kind: type[SQLModel], name: str) -> Any:
    value = kind.model_fields[name].get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value


def _writer(of: Any, *, sqlite: bool) -> Callable[[Any], Any] | None:
    """Return what turns a column's value into one that its driver takes; None: it takes it as it is."""
    if isinstance(of, JSON):
        return lambda value: msgspec.json.encode(value).decode()
    if isinstance(of, Utc) and sqlite:
        return lambda at: at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return None
