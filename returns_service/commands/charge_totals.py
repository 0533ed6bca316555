"""What Stripe charged, as sums by the quarter of an hour, and the span of time for which these sums are known.

A sum is always replaced as a whole, so that counting the same time again, by another worker too, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlmodel import col

from returns_service.domain.periods import quarter_of
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.sweeps import is_waiting
from returns_service.store.tables import ChargeTotal, Sweep

ChargeSweep = Literal["charges", "charges_past", "charges_again"]
CHARGE_SWEEPS: Final[tuple[ChargeSweep, ...]] = ("charges", "charges_past", "charges_again")
EVERY_SECONDS: Final = 300.0  # between two counts of new charges
AFTER_SILENCE_SECONDS: Final = 60.0
COUNT_LEASE_SECONDS: Final = 600.0  # longer than it takes to list a day of a large shop
MOST_AT_ONCE: Final = timedelta(days=1)
OVERLAP: Final = timedelta(hours=1)  # Stripe's list may lag, and its clock is not ours
# An authorization may be captured for seven days, and bank debits take as long to succeed: then a charge counts for the
# day on which it was made. https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
AGAIN_AFTER: Final = timedelta(days=8)
LOOK_BACK: Final = timedelta(days=181)  # the longest usual period, 90 days, and the one before


class ChargeSum(NamedTuple):
    """How many charges there are, and what they captured in minor units."""

    number: int
    amount: int


Totals = Mapping[tuple[datetime, str], ChargeSum]  # by the quarter's begin and the currency


@dataclass(frozen=True, slots=True)
class ChargeWindow:
    """A time whose charges are to be counted by one of the sweeps, and what its cursor is before and after."""

    sweep: ChargeSweep
    since: datetime
    before: datetime
    cursor: str
    next_cursor: datetime


@dataclass(frozen=True, slots=True)
class CountedSpan:
    """From when to when Stripe's charges are known."""

    begin: datetime
    end: datetime

    def holds(self, begin: datetime, end: datetime) -> bool:
        """Return whether all charges between two moments are known."""
        return self.begin <= begin and end <= self.end


async def counted_span(tx: Tx) -> CountedSpan | None:
    """Return from when to when Stripe's charges are known; None before the first count."""
    chosen = select(col(Sweep.name), col(Sweep.cursor)).where(col(Sweep.name).in_(("charges", "charges_past")))
    cursors = {name: datetime.fromisoformat(cursor) for name, cursor in (await tx.execute(chosen)).all() if cursor}
    if len(cursors) < 2:
        return None
    return CountedSpan(cursors["charges_past"], cursors["charges"])


async def is_count_due(tx: Tx) -> bool:
    """Return whether one of the sweeps may have something to count."""
    chosen = select(func.count()).select_from(Sweep).where(col(Sweep.name).in_(CHARGE_SWEEPS))
    # What lies further ahead than we ever set it was set by a clock since set back.
    latest = tx.now + timedelta(seconds=EVERY_SECONDS)
    waiting = chosen.where(col(Sweep.next_at) > tx.now, col(Sweep.next_at) <= latest)
    return (await tx.execute(waiting)).scalar_one() < len(CHARGE_SWEEPS)


async def claim_window(tx: Tx, sweep: ChargeSweep) -> ChargeWindow | None:
    """Lease the next time that a sweep has to count; None where it is not yet due, or another worker has it."""
    start = quarter_of(tx.now)
    first = start - AGAIN_AFTER if sweep == "charges_again" else start
    begun = {"name": sweep, "next_at": tx.now, "done_at": tx.now, "cursor": first.isoformat()}
    await insert_ignore(tx, Sweep, begun)
    row = await tx.get_one(Sweep, sweep, with_for_update=True)
    if is_waiting(row, tx.now, EVERY_SECONDS, COUNT_LEASE_SECONDS):
        return None
    cursor = row.cursor or first.isoformat()
    found = next_window(sweep, cursor, tx.now)
    if found is None:
        row.next_at = tx.now + timedelta(seconds=EVERY_SECONDS)
        return None
    row.cursor, row.lease_until = cursor, tx.now + timedelta(seconds=COUNT_LEASE_SECONDS)
    return found


def next_window(sweep: ChargeSweep, cursor: str, now: datetime) -> ChargeWindow | None:
    """Return the next time that a sweep counts from its cursor on, in whole quarters up to the newest one.

    A cursor that lies ahead was set by a clock since set back: the last day is counted anew then.
    """
    at = datetime.fromisoformat(cursor)
    if sweep == "charges_past":
        if at <= now - LOOK_BACK:
            return None
        return ChargeWindow(sweep, at - MOST_AT_ONCE, at, cursor, at - MOST_AT_ONCE)
    if sweep == "charges_again":
        at = at if at <= now else quarter_of(now - AGAIN_AFTER - MOST_AT_ONCE)
        end = at + MOST_AT_ONCE
        return ChargeWindow(sweep, at, end, cursor, end) if end <= now - AGAIN_AFTER else None
    at = at if at <= now else now - MOST_AT_ONCE
    end = now if at + MOST_AT_ONCE >= now else quarter_of(at + MOST_AT_ONCE)
    return ChargeWindow(sweep, quarter_of(at - OVERLAP), end, cursor, end)


async def record_totals(tx: Tx, window: ChargeWindow, totals: Totals) -> bool:
    """Replace the sums of a window, and let its sweep go on; return whether the claim on it still stood."""
    row = await tx.get_one(Sweep, window.sweep, with_for_update=True)
    if row.cursor != window.cursor:
        return False
    begins_at = col(ChargeTotal.begins_at)
    await tx.execute(delete(ChargeTotal).where(begins_at >= window.since, begins_at < window.before))
    rows = [
        {"begins_at": begin, "currency": currency, "number": total.number, "amount": total.amount}
        for (begin, currency), total in sorted(totals.items())
    ]
    if rows:
        await tx.execute(insert(ChargeTotal), rows)
    more = window.sweep != "charges" or window.before < tx.now - MOST_AT_ONCE
    row.cursor, row.lease_until, row.done_at = window.next_cursor.isoformat(), None, tx.now
    row.next_at = tx.now if more else tx.now + timedelta(seconds=EVERY_SECONDS)
    return True


async def postpone(tx: Tx, window: ChargeWindow) -> None:
    """Give a window back whose charges Stripe did not list."""
    row = await tx.get_one(Sweep, window.sweep, with_for_update=True)
    if row.cursor == window.cursor:
        row.lease_until, row.next_at = None, tx.now + timedelta(seconds=AFTER_SILENCE_SECONDS)
