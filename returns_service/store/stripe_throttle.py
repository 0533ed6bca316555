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

from returns_service.store.database import CLOCK, Tx, insert_ignore
from returns_service.store.tables import StripePace

HEADROOM = 0.97  # of the budget: clocks and sockets jitter, and a limit is a limit
AHEAD_SECONDS = 0.25  # no claim waits longer than this for its moment: a lease is not for waiting
BREAK_AFTER, PROBE_SECONDS = 10, 5.0  # failures in a row without a success; then one probe each 5 s
LONGEST_AHEAD_SECONDS = 60.0  # no moment is given out further ahead: one that is was by a clock since set back
SLOWEST, SLOWER = 1.0, 0.5  # a 429 halves the rate
# Calm raises it again, to twice as much in 15 s. A pace that recovers no sooner than stray 429s come sinks for ever,
# and refunds queue up behind it.
FASTER, FASTER_AFTER_SECONDS = 1.1, 2.0

PACE: Any = (  # built once: a worker runs it several times a second
    select(StripePace).where(col(StripePace.id) == 1).with_for_update().execution_options(populate_existing=True)
)


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """What this claim may do: how many refunds, and whether the breaker lets only a probe through."""

    row: StripePace
    now: datetime  # the database's own: no process's idea of it, since moments are for all
    allowed: int
    failing: bool

    @property
    def apart_seconds(self) -> float:
        """How far apart two writes are."""
        return 1 / (self.row.writes_a_second * HEADROOM)


async def request_slots(
    tx: Tx, budget: float, wanted: int, late_seconds: float = 0.0, overran_seconds: float = 0.0
) -> SlotGrant:
    """Return how many of `wanted` refunds may be claimed now, with the pace locked.

    `budget`: writes a second. `late_seconds`: how long this process still needs for moments it was given before.
    `overran_seconds`: by how much it missed them, into those of others: as long is nobody's moment now.
    """
    row = await _row(tx, budget)
    now = (await tx.execute(CLOCK)).scalar_one() if tx.database.shared_clock else tx.now
    failing = row.failures > 0
    if row.open_until is not None and now < row.open_until <= now + timedelta(seconds=PROBE_SECONDS):
        return SlotGrant(row, now, 0, failing)
    if row.failures >= BREAK_AFTER:
        row.open_until = now + timedelta(seconds=PROBE_SECONDS)
        return SlotGrant(row, now, min(1, wanted), failing)
    _recover(row, now, budget)
    if row.next_slot_at > now + timedelta(seconds=LONGEST_AHEAD_SECONDS):
        row.next_slot_at = now
    row.next_slot_at = max(row.next_slot_at, now + timedelta(seconds=late_seconds))
    row.next_slot_at += timedelta(seconds=overran_seconds)
    behind = (row.next_slot_at - now).total_seconds()
    room = int((AHEAD_SECONDS - behind) * row.writes_a_second)
    return SlotGrant(row, now, max(0, min(wanted, max(room, 1 if behind <= 0 else 0))), failing)


def slots(pace: SlotGrant, writes: int) -> Sequence[float]:
    """Return in how many seconds each of `writes` calls has its moment, one after the other over all workers."""
    start, apart = max(pace.now, pace.row.next_slot_at), timedelta(seconds=pace.apart_seconds)
    pace.row.next_slot_at = start + writes * apart
    return [(start + number * apart - pace.now).total_seconds() for number in range(writes)]


def next_slot_seconds(pace: SlotGrant) -> float:
    """Return in how many seconds it is worth to ask for moments again."""
    if pace.row.open_until is not None and pace.row.open_until > pace.now:
        return (pace.row.open_until - pace.now).total_seconds()
    early = AHEAD_SECONDS / 2
    if early * pace.row.writes_a_second < 1:  # at a slow pace no moment is free before its time
        early = 0.0
    return max(0.0, (pace.row.next_slot_at - pace.now).total_seconds() - early)


async def record_success(tx: Tx, budget: float) -> None:
    """Close the breaker: Stripe answers."""
    row = await _row(tx, budget)
    row.failures, row.open_until, row.open_reason = 0, None, None


async def record_failure(tx: Tx, budget: float, reason: str) -> None:
    """Count a call without an answer; the tenth in a row opens the breaker."""
    row = await _row(tx, budget)
    row.failures += 1
    row.open_reason = reason
    if row.failures >= BREAK_AFTER:
        row.open_until = tx.now + timedelta(seconds=PROBE_SECONDS)


async def slow_down(tx: Tx, budget: float) -> None:
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
    row: StripePace | None = (await tx.execute(PACE)).scalars().first()
    if row is not None:
        return row
    values = {"id": 1, "writes_a_second": budget, "next_slot_at": tx.now, "failures": 0}
    await insert_ignore(tx, StripePace, values)
    made: StripePace = (await tx.execute(PACE)).scalars().one()
    return made
