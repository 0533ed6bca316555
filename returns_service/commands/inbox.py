"""Stripe's events: each stored once, raw, and folded in a savepoint of the same transaction.

Where the fold raises, the stored event stays, marked with its error, and a worker tries it again: Stripe has its 200,
and an event that nobody can read yet blocks no other.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from returns_service.commands.history import By
from returns_service.commands.stripe_says import charge_said, dispute_said, payment_named, refund_said
from returns_service.domain.stripe_words import ChargeSeen, DisputeSeen, StripeNews
from returns_service.store.database import Tx, inserted, is_unavailable, locked_payment, may_pass
from returns_service.store.tables import StripeEvent

AGAIN_SECONDS, SLOWEST_SECONDS = 60, 21_600  # a fold that raised: after a minute, doubling, to every six hours
ON_THE_DESK_AFTER = 5
log = structlog.get_logger("returns.inbox")


async def receive(tx: Tx, by: By, news: StripeNews, *, livemode: bool) -> str:
    """Store and fold one verified event; return its outcome. Safe to be told twice."""
    row = StripeEvent(id=news.id, type=news.type, payload=news.raw, received_at=tx.now)
    if not await inserted(tx, StripeEvent, row.model_dump()):
        return "known"
    return await process(tx, by, await tx.get_one(StripeEvent, news.id), news, livemode=livemode)


async def process(tx: Tx, by: By, row: StripeEvent, news: StripeNews, *, livemode: bool) -> str:
    """Fold a stored event; what the fold raises is kept on the row."""
    row.attempts += 1
    try:
        async with tx.begin_nested():
            outcome = await fold(tx, by, news, livemode=livemode)
            await tx.flush()
    except Exception as error:  # whatever it is, the event must stay; a lost database is not the event's fault
        if is_unavailable(error) or may_pass(error):
            raise
        tx.info.clear()  # what was read and locked went with the savepoint
        log.exception("stripe_event.fold_failed", stripe_event=news.id, type=news.type)
        row.outcome, row.error = "failed", f"{type(error).__name__}: {error}"[:1000]
        wait = min(SLOWEST_SECONDS, AGAIN_SECONDS * 2 ** min(row.attempts - 1, 16))
        row.next_attempt_at = tx.now + timedelta(seconds=wait)
        return "failed"
    row.outcome, row.error, row.next_attempt_at, row.processed_at = outcome, None, None, tx.now
    return outcome


async def fold(tx: Tx, by: By, news: StripeNews, *, livemode: bool) -> str:
    """Join what the event says with our rows; return what became of it."""
    if news.livemode != livemode:
        return "other_mode"
    if news.unreadable is not None:
        raise ValueError(news.unreadable)
    if news.object is None:
        return "ignored"
    charge = news.object.id if isinstance(news.object, ChargeSeen) else news.object.charge
    payment_id = await payment_named(tx, payment_intent=news.object.payment_intent, charge=charge)
    if payment_id is None:
        return "unknown_payment"
    payment = await locked_payment(tx, payment_id)
    if isinstance(news.object, ChargeSeen):
        await charge_said(tx, by, payment, news.object)
    elif isinstance(news.object, DisputeSeen):
        await dispute_said(tx, by, payment, news.object)
    else:
        await refund_said(tx, by, payment, news.object)
    return "folded"
