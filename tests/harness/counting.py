"""Count what the application sends to its database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from tests.harness.served_shop import ServedShop


@contextmanager
def counting(shop: ServedShop) -> Iterator[Counter[str]]:
    """Count what is sent to the database: `statements`, and `transactions` that begin."""
    database, seen = shop.db, Counter[str]()

    def statement(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen["statements"] += 1
        seen["locks"] += "FOR NO KEY UPDATE" in sql
        seen[sql] += 1

    def begin(connection: Any) -> None:
        seen["transactions"] += connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"

    engines = {id(e.sync_engine): e.sync_engine for e in (database.writer, database.reader)}
    if database.postgresql:
        engines.pop(id(database.reader.sync_engine))  # the writer's pool and events, without BEGIN
    for engine in engines.values():
        event.listen(engine, "before_cursor_execute", statement)
    event.listen(database.writer.sync_engine, "begin", begin)
    try:
        yield seen
    finally:
        for engine in engines.values():
            event.remove(engine, "before_cursor_execute", statement)
        event.remove(database.writer.sync_engine, "begin", begin)
