"""The janitor: events whose webhook never came are pulled from Stripe's list, with a cursor that survives a restart.

The cursor is a time of Stripe's own, the newest event it told: our clock may be wrong, and would skip what it overtook.

Refunds that are open too long need no sweep of their own: each open row has its `next_attempt_at`.
https://docs.stripe.com/api/events (kept for 30 days)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import select
from sqlmodel import col

from returns_service.commands.stripe_inbox import receive
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import NEEDED_EVENTS, StripeEventData
from returns_service.return_case.events import Actor
from returns_service.store.database import Database, Tx, insert_ignore
from returns_service.store.tables import StripeEvent, Sweep
from returns_service.stripe_gateway import Gateway, StripeSilent

SWEEP_EVERY_SECONDS = 300
OVERLAP_SECONDS = 900  # Stripe's list may lag, and an event may be older than its place in it
FIRST_LOOK = timedelta(days=1)
STRIPE_KEEPS = timedelta(days=30)
SWEEP_LEASE_SECONDS = 120
LONG_AGO = datetime.fromtimestamp(0, UTC)  # before any event
log = structlog.get_logger("returns.sweeps")


async def pull_missed_events(
    db: Database, gateway: Gateway, by: Actor, policy: Policy, *, livemode: bool
) -> int | None:
    """Store and fold events that never arrived; return how many, None where it is not yet time."""
    since = await _claim(db)
    if since is None:
        return None
    newest, missed = LONG_AGO, list[StripeEventData]()
    try:
        async for event in gateway.events_since(since - timedelta(seconds=OVERLAP_SECONDS), NEEDED_EVENTS):
            newest = max(newest, event.created)
            if not await _is_known(db, event.id):
                missed.append(event)
    except StripeSilent as silence:
        log.warning("events.not_listed", answer=silence.answer.code)
        await _finish(db, None, again_seconds=SWEEP_EVERY_SECONDS / 5)
        return 0
    for event in reversed(missed):  # oldest first, as they would have come
        take_in = partial(receive, by=by, policy=policy, event=event, livemode=livemode)
        await db.run(take_in, safe_to_repeat=True)
    await _finish(db, newest, again_seconds=SWEEP_EVERY_SECONDS)
    if missed:
        log.info("events.pulled", count=len(missed))
    return len(missed)


async def is_time_to_pull(tx: Tx) -> bool:
    """Return whether nobody is at it, and the last look is long enough ago."""
    row = await tx.get(Sweep, "events")
    return row is None or not not_yet_due(row, tx.now, SWEEP_EVERY_SECONDS, SWEEP_LEASE_SECONDS)


async def _claim(db: Database) -> datetime | None:
    async with db.transaction() as tx:
        await insert_ignore(tx, Sweep, {"name": "events", "next_at": tx.now, "done_at": tx.now})
        chosen = select(Sweep).where(col(Sweep.name) == "events").with_for_update()
        row = (await tx.execute(chosen)).scalars().one()
        if not_yet_due(row, tx.now, SWEEP_EVERY_SECONDS, SWEEP_LEASE_SECONDS):
            return None
        row.lease_until = tx.now + timedelta(seconds=SWEEP_LEASE_SECONDS)
        # Until Stripe has told an event, we go by our clock, and by what it said when the list was last read.
        since = datetime.fromisoformat(row.cursor) if row.cursor else min(row.done_at or tx.now, tx.now) - FIRST_LOOK
        return max(since, tx.now - STRIPE_KEEPS)


def not_yet_due(row: Sweep, now: datetime, every_seconds: float, lease_seconds: float) -> bool:
    """Return whether it is not yet time, or somebody is at it.

    What lies further ahead than we ever set it was set by a clock since set back.
    """
    ahead = ((row.next_at, every_seconds), (row.lease_until, lease_seconds))
    return any(moment is not None and now < moment <= now + timedelta(seconds=most) for moment, most in ahead)


async def _finish(db: Database, newest: datetime | None, *, again_seconds: float) -> None:
    """End a look; None: Stripe's list could not be read. The cursor never goes back, and never goes by our clock."""
    async with db.transaction() as tx:
        row = await tx.get_one(Sweep, "events")
        row.lease_until, row.next_at = None, tx.now + timedelta(seconds=again_seconds)
        if newest is not None:
            row.done_at = tx.now
            if newest > (datetime.fromisoformat(row.cursor) if row.cursor else LONG_AGO):
                row.cursor = newest.isoformat()


async def _is_known(db: Database, event_id: str) -> bool:
    async with db.reading() as tx:
        return await tx.get(StripeEvent, event_id) is not None
