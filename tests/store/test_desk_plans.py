"""The desk and the figures stay cheap with a history of settled returns: PostgreSQL's plans, asserted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event, text, update
from sqlmodel import col

from returns_service.queries import desk
from returns_service.queries.return_views import ListedBy, count_views
from returns_service.queries.system_health import system_health
from returns_service.store.database import Database, Tx
from returns_service.store.tables import (
    Event,
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    StripeEvent,
)
from returns_service.web import metrics as metrics_module
from returns_service.web.metrics import Metrics
from returns_service.worker.maintenance import find_due_chores
from tests.factories import (
    create_event,
    create_payment,
    create_receipt,
    create_receipt_line,
    create_refund,
    create_return,
    create_return_line,
    create_stripe_event,
)
from tests.harness.clock import Clock
from tests.store.test_claims import copied

GROWING = (
    "refund",
    "payment",
    "return_authorization",
    "return_line",
    "search_word",
    "receipt",
    "receipt_line",
    "stripe_event",
    "event",
)
SETTLED: dict[str, str] = {"status": "'succeeded'", "next_attempt_at": "NULL"}


@pytest.fixture
async def old_shop(postgresql: Database) -> Database:
    """A shop with 20,000 settled returns, and one refund that failed."""
    async with postgresql.transaction() as tx:
        payment = await create_payment(tx)
        row = await create_return(tx, payment, state="refunded")
        line = await create_return_line(tx, row)
        refund = await create_refund(
            tx, payment, status="failed", due_in_seconds=None, return_id=row.id, source="return"
        )
        await create_stripe_event(tx)
        await create_event(tx, type="refund.created", refund_id=refund.id)
        await create_receipt_line(tx, await create_receipt(tx, row), line)
        await copied(tx, Payment, payment_intent="id || n", charge="'ch' || id || n")
        await copied(tx, ReturnAuthorization, payment_id="payment_id || n", slip_code="slip_code || n")
        await copied(tx, Refund, payment_id="payment_id || n", return_id="return_id || n", **SETTLED)
        await copied(tx, StripeEvent)
        await copied(tx, Event)
        await copied(tx, ReturnLine, return_id="return_id || n")
        await copied(tx, Receipt, return_id="return_id || n")
        await copied(tx, ReceiptLine, receipt_id="receipt_id || n", line_id="line_id || n")
        await tx.execute(
            update(ReturnAuthorization).where(col(ReturnAuthorization.id) > f"{row.id}9").values(state="approved")
        )
    async with postgresql.writer.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(text("ANALYZE"))
    return postgresql


async def asked(database: Database, look: Any) -> list[tuple[str, Any]]:
    """Return what `look` asks of the database: each statement with its values."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            seen.append((statement, values))

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    async with database.reading() as tx:
        await look(tx)
    event.remove(database.reader.sync_engine, "before_cursor_execute", note)
    return seen


async def plans(database: Database, look: Any) -> list[str]:
    """Return the plan of each statement that `look` asks."""
    found = []
    how = "EXPLAIN" if database.postgresql else "EXPLAIN QUERY PLAN"
    for statement, values in await asked(database, look):
        async with database.reading() as tx:
            connection = await tx.connection()
            rows = await connection.exec_driver_sql(f"{how} {statement}", values)
            found.append("\n".join(str(row[-1]) for row in rows))
    assert found
    return found


async def generic_plans(database: Database, look: Any) -> list[str]:
    """Return the plans that PostgreSQL would keep for each statement that `look` asks, whatever values come."""
    found = []
    for statement, _ in await asked(database, look):
        values = max(map(int, re.findall(r"\$(\d+)", statement)), default=0)
        async with database.writer.connect() as connection:
            await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.exec_driver_sql(f"PREPARE asked AS {statement}")
            nulls = f"({', '.join(['NULL'] * values)})" if values else ""
            rows = await connection.exec_driver_sql(f"EXPLAIN EXECUTE asked{nulls}")
            found.append("\n".join(str(row[-1]) for row in rows))
            await connection.exec_driver_sql("DEALLOCATE asked")
    assert found
    return found


async def the_desk(tx: Tx) -> None:
    await system_health(tx)
    await desk.entries(tx, limit=11)
    await desk.read_figures(tx)


def scanned(plan: str) -> set[str]:
    """Return the growing tables that a plan reads from end to end; `USING INDEX` there is SQLite's search."""
    return {
        table
        for table in GROWING
        for line in plan.splitlines()
        if re.search(rf"(Seq Scan on|^SCAN) {table}( |$)", line) and "USING" not in line
    }


async def test_the_desk_reads_nothing_that_is_settled(old_shop: Database) -> None:
    async with old_shop.reading() as tx:
        (failed,) = await desk.entries(tx, limit=11) or []
    assert failed.kind == "refund_failed"
    read = await plans(old_shop, the_desk)
    assert [scanned(plan) for plan in read] == [set()] * 3
    assert "ix_refund_status" in read[1]


async def the_chores(tx: Tx) -> None:
    await find_due_chores(tx)


async def the_views(tx: Tx) -> None:
    await count_views(tx, ListedBy())


@pytest.mark.parametrize("look", [the_chores, the_views])
async def test_what_runs_often_is_quick_by_a_plan_that_is_kept(old_shop: Database, look: Any) -> None:
    """From the sixth time on PostgreSQL may plan for any values: then a moment to come may lie behind half the rows."""
    read = await generic_plans(old_shop, look)
    # All returns are counted up to a limit, whichever come first.
    assert [scanned(plan) - {"return_authorization"} for plan in read] == [set()] * len(read), read
    assert not [plan for plan in read if "Hash" in plan]


async def test_figures_count_a_long_history_seldom(old_shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "ROWS_A_SECOND", 1)  # the next count is due in hours, not in two seconds
    metrics = Metrics()
    first = [scanned(plan) for plan in await plans(old_shop, metrics.look)]
    assert [tables for tables in first if tables] == [{"refund"}]
    text = metrics.text()
    second = [scanned(plan) for plan in await plans(old_shop, metrics.look)]
    assert [tables for tables in second if tables] == []
    assert b'returns_refunds{status="succeeded"} 20000.0' in text
    assert metrics.text() == text, "it shows what was counted"


async def test_the_desk_reads_nothing_that_is_settled_on_sqlite(sqlite_url: str, clock: Clock) -> None:
    database = Database(sqlite_url, now=clock)
    read = await plans(database, the_desk)
    await database.close()
    assert [scanned(plan) for plan in read] == [set()] * 3
    assert "ix_refund_due" in read[0]
    assert "ix_refund_status" in read[1]
