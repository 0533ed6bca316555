"""The janitor: events whose webhook never came are pulled from Stripe's list, with a cursor that survives a restart.

The cursor is a time of Stripe's own, the newest event it told: our clock may be wrong, and would skip what it overtook.
It moves once the whole list has been read. Stripe lists the newest first, and the list of an outage may be long, so it
is taken in part by part: a fold knows no order.

Refunds that are open too long need no sweep of their own: each open row has its `next_attempt_at`.
https://docs.stripe.com/api/events (kept for 30 days)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import select, update
from sqlmodel import col

from returns_service.commands.stripe_inbox import store_and_fold
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import NEEDED_EVENTS, StripeEventData
from returns_service.return_case.events import Actor
from returns_service.store.database import Database, Tx, insert_ignore
from returns_service.store.sweeps import is_waiting
from returns_service.store.tables import StripeEvent, Sweep
from returns_service.stripe_gateway import Gateway, StripeSilent

SWEEP_EVERY_SECONDS = 300
OVERLAP_SECONDS = 900  # Stripe's list may lag, and an event may be older than its place in it
FIRST_LOOK = timedelta(days=1)
STRIPE_KEEPS = timedelta(days=30)
SWEEP_LEASE_SECONDS = 120
PART_EVENTS = 100  # held in memory at once: a page of Stripe's list
LONG_AGO = datetime.fromtimestamp(0, UTC)  # before any event
log = structlog.get_logger("returns.sweeps")


async def pull_missed_events(
    db: Database, gateway: Gateway, by: Actor, policy: Policy, *, livemode: bool
) -> int | None:
    """Store and fold events that never arrived; return how many, None where it is not yet time."""
    since = await _claim(db)
    if since is None:
        return None
    newest, pulled = LONG_AGO, 0
    try:
        async for part in _in_parts(gateway.events_since(since - timedelta(seconds=OVERLAP_SECONDS), NEEDED_EVENTS)):
            newest = max(newest, *(event.created for event in part))
            known = await db.read(partial(_known_of, part=part))
            for event in reversed(part):  # oldest first, as they would have come
                if event.id not in known:
                    work = partial(store_and_fold, by=by, policy=policy, event=event, livemode=livemode)
                    await db.run(work, safe_to_repeat=True)
                    pulled += 1
            if len(part) == PART_EVENTS:  # the list goes on, and may be long
                await db.run(_keep_lease, safe_to_repeat=True)
    except StripeSilent as silence:
        log.warning("events.not_listed", answer=silence.answer.code)
        await _finish(db, None, again_seconds=SWEEP_EVERY_SECONDS / 5)
    else:
        await _finish(db, newest, again_seconds=SWEEP_EVERY_SECONDS)
    if pulled:
        log.info("events.pulled", count=pulled)
    return pulled


async def _in_parts(events: AsyncIterator[StripeEventData]) -> AsyncIterator[list[StripeEventData]]:
    """Yield Stripe's list in parts of `PART_EVENTS`."""
    part: list[StripeEventData] = []
    async for event in events:
        part.append(event)
        if len(part) == PART_EVENTS:
            yield part
            part = []
    if part:
        yield part


async def _known_of(tx: Tx, part: Sequence[StripeEventData]) -> set[str]:
    """Return the ids of a part's events that have arrived."""
    chosen = select(col(StripeEvent.id)).where(col(StripeEvent.id).in_([event.id for event in part]))
    return set((await tx.execute(chosen)).scalars())


async def _keep_lease(tx: Tx) -> None:
    """Keep the list to ourselves for another while."""
    until = tx.now + timedelta(seconds=SWEEP_LEASE_SECONDS)
    await tx.execute(update(Sweep).where(col(Sweep.name) == "events").values(lease_until=until))


async def is_time_to_pull(tx: Tx) -> bool:
    """Return whether no worker is pulling, and the last pull is long enough ago."""
    row = await tx.get(Sweep, "events")
    return row is None or not is_waiting(row, tx.now, SWEEP_EVERY_SECONDS, SWEEP_LEASE_SECONDS)


async def _claim(db: Database) -> datetime | None:
    async with db.transaction() as tx:
        await insert_ignore(tx, Sweep, {"name": "events", "next_at": tx.now, "done_at": tx.now})
        chosen = select(Sweep).where(col(Sweep.name) == "events").with_for_update()
        row = (await tx.execute(chosen)).scalars().one()
        if is_waiting(row, tx.now, SWEEP_EVERY_SECONDS, SWEEP_LEASE_SECONDS):
            return None
        row.lease_until = tx.now + timedelta(seconds=SWEEP_LEASE_SECONDS)
        # Until Stripe has told an event, we go by our clock, and by what it said when the list was last read.
        since = datetime.fromisoformat(row.cursor) if row.cursor else min(row.done_at or tx.now, tx.now) - FIRST_LOOK
        return max(since, tx.now - STRIPE_KEEPS)


async def _finish(db: Database, newest: datetime | None, *, again_seconds: float) -> None:
    """End a pull. `newest` None: Stripe's list could not be read. The cursor never goes back, nor by our clock."""
    async with db.transaction() as tx:
        row = await tx.get_one(Sweep, "events")
        row.lease_until, row.next_at = None, tx.now + timedelta(seconds=again_seconds)
        if newest is not None:
            row.done_at = tx.now
            if newest > (datetime.fromisoformat(row.cursor) if row.cursor else LONG_AGO):
                row.cursor = newest.isoformat()
