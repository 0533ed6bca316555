"""The dashboard reads a period's own rows: each statement finds them by an index, whatever lies before."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from returns_service.commands.charge_totals import counted_span
from returns_service.domain.periods import Period, begin_of, end_of
from returns_service.queries import dashboard
from returns_service.store.database import Database, Tx
from tests.harness.clock import Clock
from tests.store.test_desk_plans import plans, scanned

ZONE = ZoneInfo("America/New_York")
PERIOD = Period(date(2026, 10, 20), date(2026, 11, 18))  # clocks are turned in it
BEGIN, END = begin_of(PERIOD.first, ZONE), end_of(PERIOD.last, ZONE)


async def the_dashboard(tx: Tx) -> None:
    await dashboard.currencies_between(tx, BEGIN, END)
    await counted_span(tx)
    await dashboard.refunds_by_day(tx, PERIOD, ZONE, "usd")
    await dashboard.charges_by_day(tx, PERIOD, ZONE, "usd")
    await dashboard.open_returns(tx, "usd")
    await dashboard.units_by_reason(tx, BEGIN, END, "usd", ["damaged"])
    await dashboard.skus_back(tx, BEGIN, END, "usd")
    await dashboard.reasons_of_skus(tx, BEGIN, END, "usd", ["damaged"], ["MUG"])


async def test_each_figure_reads_an_index_on_time_or_state(sqlite_url: str, clock: Clock) -> None:
    database = Database(sqlite_url, now=clock)
    try:
        read = await plans(database, the_dashboard)
    finally:
        await database.close()
    assert len(read) == 8
    assert [scanned(plan) for plan in read] == [set()] * 8
    currencies, _, refunds, charges, is_open, *counts = read
    for plan in (currencies, refunds):
        assert "ix_refund_at_stripe" in plan
    assert "SEARCH charge_total" in charges
    assert "ix_return_state" in is_open
    assert all("SEARCH receipt USING INDEX" in plan for plan in counts)
