"""How fast all workers together may write to Stripe: each write gets its own moment, and one breaker is shared.

Moments instead of a bucket of tokens: a bucket lets a burst through on top of the rate, and Stripe counts seconds. The
moments are handed out in the transaction of the claim, so they cost no round trip of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from returns_service.store.database import Tx
from returns_service.store.tables import StripePace

HEADROOM = 0.98  # of the budget: clocks and sockets jitter, and a limit is a limit
AHEAD_SECONDS = 1.0  # no claim waits longer than this for its moment: a lease is not for waiting
BREAK_AFTER, PROBE_SECONDS = 10, 5.0  # failures in a row without a success; then one probe each 5 s
SLOWEST, SLOWER, FASTER, FASTER_AFTER_SECONDS = 1.0, 0.5, 1.1, 10.0  # a 429 halves the rate, calm raises it again


@dataclass(frozen=True, slots=True)
class Pace:
    """What this claim may do: how many refunds, and whether the breaker lets only a probe through."""

    row: StripePace
    allowed: int
    failing: bool


async def paced(tx: Tx, budget: float, wanted: int) -> Pace:
    """Return how many of `wanted` refunds may be claimed now, with the pace locked. `budget`: writes a second."""
    row = await _row(tx, budget)
    failing = row.failures > 0
    if row.open_until is not None and row.open_until > tx.now:
        return Pace(row, 0, failing)
    if row.failures >= BREAK_AFTER:
        row.open_until = tx.now + timedelta(seconds=PROBE_SECONDS)
        return Pace(row, min(1, wanted), failing)
    _recover(row, tx.now, budget)
    behind = max(0.0, (row.next_slot_at - tx.now).total_seconds())
    room = int((AHEAD_SECONDS - behind) * row.writes_a_second)
    return Pace(row, max(0, min(wanted, max(room, 1 if behind == 0 else 0))), failing)


def moments(tx: Tx, pace: Pace, writes: int) -> Sequence[datetime]:
    """Return the moment of each of `writes` calls, one after the other over all workers."""
    start, apart = max(tx.now, pace.row.next_slot_at), timedelta(seconds=1 / (pace.row.writes_a_second * HEADROOM))
    pace.row.next_slot_at = start + writes * apart
    return [start + number * apart for number in range(writes)]


def next_moment(pace: Pace, now: datetime) -> float:
    """Return in how many seconds it is worth to ask for moments again."""
    if pace.row.open_until is not None and pace.row.open_until > now:
        return (pace.row.open_until - now).total_seconds()
    return max(0.0, (pace.row.next_slot_at - now).total_seconds() - AHEAD_SECONDS / 2)


async def succeeded(tx: Tx, budget: float) -> None:
    """Close the breaker: Stripe answers."""
    row = await _row(tx, budget)
    row.failures, row.open_until, row.open_reason = 0, None, None


async def failed(tx: Tx, budget: float, reason: str) -> None:
    """Count a call without an answer; the tenth in a row opens the breaker."""
    row = await _row(tx, budget)
    row.failures += 1
    row.open_reason = reason
    if row.failures >= BREAK_AFTER:
        row.open_until = tx.now + timedelta(seconds=PROBE_SECONDS)


async def too_fast(tx: Tx, budget: float) -> None:
    """Take Stripe's 429 as its word: write at half the pace for a while."""
    row = await _row(tx, budget)
    if row.slowed_at is None or tx.now - row.slowed_at > timedelta(seconds=1):  # a burst of 429 is one message
        row.writes_a_second, row.slowed_at = max(SLOWEST, row.writes_a_second * SLOWER), tx.now


def _recover(row: StripePace, now: datetime, budget: float) -> None:
    if row.slowed_at is None or row.writes_a_second > budget:
        row.writes_a_second = budget
    elif now - row.slowed_at > timedelta(seconds=FASTER_AFTER_SECONDS):
        row.writes_a_second = min(budget, row.writes_a_second * FASTER)
        row.slowed_at = None if row.writes_a_second >= budget else now


async def _row(tx: Tx, budget: float) -> StripePace:
    chosen: Any = select(StripePace).where(col(StripePace.id) == 1).with_for_update()
    row: StripePace | None = (await tx.execute(chosen.execution_options(populate_existing=True))).scalars().first()
    if row is not None:
        return row
    values = {"id": 1, "writes_a_second": budget, "next_slot_at": tx.now, "failures": 0}
    if tx.postgresql:
        from sqlalchemy.dialects.postgresql import insert as insert_pg

        await tx.execute(insert_pg(StripePace).values(**values).on_conflict_do_nothing())
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_lite

        await tx.execute(insert_lite(StripePace).values(**values).on_conflict_do_nothing())
    made: StripePace = (await tx.execute(chosen)).scalars().one()
    return made
