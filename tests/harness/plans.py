"""How a database means to answer: each statement's plan, judged by whether it grows with the shop's history.

PostgreSQL is told that its few rows are very many, and plans for them. SQLite keeps no statistics, so its plans are the
same for any size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlmodel import SQLModel

from returns_service.store.database import Database

# Whose rows follow the people and machines, not the returns.
SMALL = {
    "api_key", "device", "reconciliation_run", "sign_in_link", "sign_in_throttle", "staff_session", "staff_user",
    "stripe_account", "stripe_pace", "stripe_refusal", "sweep", "webhook_endpoint",
}  # fmt: skip
GROWING = frozenset(SQLModel.metadata.tables) - SMALL
PARTIAL = frozenset(
    str(index.name)
    for table in SQLModel.metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
)
TIMES = 2000  # more rows than there are: what PostgreSQL is told
MOST_ROWS = 100_000  # that a statement may expect to read from one table, of some million
MOST_PASSED = 20  # rows that a walk may pass for each that it takes
EXPLAINED = ("SELECT", "UPDATE", "DELETE", "WITH")
Statement = tuple[str, Any]


@contextmanager
def statements_of(database: Database) -> Iterator[list[Statement]]:
    """Collect what is asked of the database: each statement with the values it came with first."""
    asked: dict[str, Any] = {}
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        if sql not in asked and sql.lstrip().startswith(EXPLAINED):
            asked[sql] = values
            found.append((sql, values))

    engines = {id(e.sync_engine.pool): e.sync_engine for e in (database.writer, database.reader)}
    for engine in engines.values():
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in engines.values():
            event.remove(engine, "before_cursor_execute", note)


async def pretend_growth(database: Database) -> None:
    """Let PostgreSQL plan as if every table and index that follows the returns had TIMES as many rows."""
    if not database.postgresql:
        return
    more = """
        UPDATE pg_class SET reltuples = reltuples * :times
        WHERE relkind IN ('r', 'i') AND reltuples > 0
          AND (relname = ANY(:growing) OR oid IN (
              SELECT indexrelid FROM pg_index JOIN pg_class of ON of.oid = indrelid WHERE of.relname = ANY(:growing)
          ))
    """
    async with database.writer.begin() as connection:
        await connection.execute(text(more), {"times": TIMES, "growing": sorted(GROWING)})


async def objections(database: Database, statement: Statement) -> list[str]:
    """Return what in a statement's plan grows with the history: nothing, if all is well."""
    sql, values = statement
    async with database.writer.connect() as connection:
        transaction = await connection.begin()
        if database.postgresql:
            # A table that has no rows yet would be read whole, whatever index there is.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            rows = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", values)).all()
            plan = rows[0][0] if isinstance(rows[0][0], list) else json.loads(rows[0][0])
            sizes = await connection.execute(text("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'"))
            sizes_by_name: dict[str, float] = dict(sizes.all())
            found = list(_in_postgresql(plan[0]["Plan"], sizes_by_name, limited=False, loops=1.0))
        else:
            rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)).all()
            found = list(_in_sqlite([str(row[-1]) for row in rows], sql))
        await transaction.rollback()
    return found


def _in_postgresql(
    node: Mapping[str, Any], sizes: Mapping[str, float], *, limited: bool, loops: float
) -> Iterator[str]:
    """Yield what is wrong with a node and those below it.

    `sizes`: rows of each table; `limited`: a LIMIT above stops it; `loops`: how often it runs.
    """
    kind, table, index = node["Node Type"], node.get("Relation Name"), node.get("Index Name", "")
    narrowed = "Index Cond" in node or index in PARTIAL
    if table in GROWING:
        rows = node["Plan Rows"] * loops
        # A walk in order ends with the page where most rows belong to it.
        ends_soon = limited and ("Filter" not in node or node["Plan Rows"] * MOST_PASSED > sizes[table])
        if kind == "Seq Scan":
            yield f"reads all of {table}"
        elif kind in ("Index Scan", "Index Only Scan") and not narrowed and not ends_soon:
            yield f"walks {index} of {table} from end to end: {node.get('Filter', 'no limit')}"
        elif rows > MOST_ROWS and not limited:
            yield f"reads {rows:,.0f} rows of {table} by {index or kind}"
    limited = (limited or kind == "Limit") and kind not in ("Sort", "Aggregate", "Hash", "Materialize", "SetOp")
    for place, below in enumerate(node.get("Plans", ())):
        inner = kind == "Nested Loop" and place == 1
        yield from _in_postgresql(
            below, sizes, limited=limited, loops=loops * max(1.0, node["Plans"][0]["Plan Rows"]) if inner else loops
        )


def _in_sqlite(plan: list[str], sql: str) -> Iterator[str]:
    """Yield what is wrong: a scan that is neither of an index over few rows nor the plain order of a list."""
    flat = " ".join(sql.split())
    names = dict(re.findall(r"\b(\w+) AS (\w+)\b", sql))
    tables = {alias: table for table, alias in names.items()}
    for line in plan:
        found = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
        if found is None:
            continue
        table, index = tables.get(found[1], found[1]), found[2]
        in_order = index is not None and re.search(
            rf"FROM {table} (JOIN (?:(?!WHERE).)+? )?(ORDER BY {table}\.\w+ \w+ )?LIMIT", flat
        )
        if table in GROWING and index not in PARTIAL and not in_order:
            yield line
