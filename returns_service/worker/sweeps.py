"""The janitor: events whose webhook never came are pulled from Stripe's list, with a cursor that survives a restart.

The cursor is a time of Stripe's own, the newest event it told: our clock may be wrong, and would skip what it overtook.

Refunds that are open too long need no sweep of their own: each open row has its `next_attempt_at`.
https://docs.stripe.com/api/events (kept for 30 days)
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlmodel import col

from returns_service.commands.history import By
from returns_service.commands.inbox import receive
from returns_service.domain.stripe_words import StripeNews
from returns_service.store.database import Database, inserted
from returns_service.store.tables import StripeEvent, Sweep
from returns_service.stripe_gateway import Gateway, StripeSilent

EVENTS = (
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
EVERY_SECONDS = 300
OVERLAP_SECONDS = 900  # Stripe's list may lag, and an event may be older than its place in it
FIRST_LOOK = timedelta(days=1)
STRIPE_KEEPS = timedelta(days=30)
LEASE_SECONDS = 120
log = structlog.get_logger("returns.sweeps")


async def pull_missed_events(db: Database, gateway: Gateway, by: By, *, livemode: bool) -> int | None:
    """Store and fold events that never arrived; return how many, None where it is not yet time."""
    since = await _claimed(db)
    if since is None:
        return None
    newest, missed = since, list[StripeNews]()
    try:
        async for news in gateway.events_since(since - timedelta(seconds=OVERLAP_SECONDS), EVENTS):
            newest = max(newest, news.created)
            if not await _is_known(db, news.id):
                missed.append(news)
    except StripeSilent as silence:
        log.warning("events.not_listed", answer=silence.answer.code)
        await _finished(db, None, again_seconds=EVERY_SECONDS / 5)
        return 0
    for news in reversed(missed):  # oldest first, as they would have come
        await db.run(lambda tx, news=news: receive(tx, by, news, livemode=livemode))  # type: ignore[misc]
    await _finished(db, newest, again_seconds=EVERY_SECONDS)
    if missed:
        log.info("events.pulled", count=len(missed))
    return len(missed)


async def _claimed(db: Database) -> datetime | None:
    async with db.transaction() as tx:
        await inserted(tx, Sweep, {"name": "events", "next_at": tx.now, "done_at": tx.now})
        chosen = select(Sweep).where(col(Sweep.name) == "events").with_for_update()
        row = (await tx.execute(chosen)).scalars().one()
        # What lies further ahead than we ever set it was set by a clock since set back.
        for moment, longest in ((row.next_at, EVERY_SECONDS), (row.lease_until, LEASE_SECONDS)):
            if moment is not None and tx.now < moment <= tx.now + timedelta(seconds=longest):
                return None
        row.lease_until = tx.now + timedelta(seconds=LEASE_SECONDS)
        since = datetime.fromisoformat(row.cursor) if row.cursor else tx.now - FIRST_LOOK
        return max(since, tx.now - STRIPE_KEEPS)


async def _finished(db: Database, cursor: datetime | None, *, again_seconds: float) -> None:
    """End a look; without a cursor Stripe's list could not be read."""
    async with db.transaction() as tx:
        row = await tx.get_one(Sweep, "events")
        row.lease_until, row.next_at = None, tx.now + timedelta(seconds=again_seconds)
        if cursor is not None:
            row.cursor, row.done_at = cursor.isoformat(), tx.now


async def _is_known(db: Database, event_id: str) -> bool:
    async with db.reading() as tx:
        return await tx.get(StripeEvent, event_id) is not None
