"""Stripe's events: each stored once, raw, and folded in a savepoint of the same transaction.

Where the fold raises, the stored event stays, marked with its error, and a worker tries it again: Stripe has its 200,
and an event that nobody can read yet blocks no other.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import structlog
from msgspec import Struct

from returns_service.commands.stripe_fold import apply_charge, apply_dispute, apply_refund, find_payment_id
from returns_service.domain.stripe_objects import ChargeSnapshot, DisputeSnapshot, StripeEventData
from returns_service.domain.vocabulary import FoldOutcome
from returns_service.return_case.events import Actor
from returns_service.store.database import Tx, insert_ignore, is_unavailable, lock_payment, may_pass
from returns_service.store.tables import StripeEvent

# A fold that raised is tried again after a minute, then ever more slowly, at least every six hours.
FIRST_REFOLD_SECONDS, SLOWEST_REFOLD_SECONDS = 60, 21_600
ON_THE_DESK_AFTER = 5
InboxOutcome = Literal[FoldOutcome, "known"]  # `known`: stored before
log = structlog.get_logger("returns.inbox")


class StripeEventReceiptView(Struct):
    """What became of the event."""

    received: bool
    outcome: InboxOutcome


async def receive(tx: Tx, by: Actor, news: StripeEventData, *, livemode: bool) -> InboxOutcome:
    """Store and fold one verified event; return its outcome. Safe to be told twice."""
    row = StripeEvent(id=news.id, type=news.type, payload=news.raw, received_at=tx.now)
    if not await insert_ignore(tx, StripeEvent, row.model_dump()):
        return "known"
    return await process(tx, by, await tx.get_one(StripeEvent, news.id), news, livemode=livemode)


async def process(tx: Tx, by: Actor, row: StripeEvent, news: StripeEventData, *, livemode: bool) -> FoldOutcome:
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
        wait = min(SLOWEST_REFOLD_SECONDS, FIRST_REFOLD_SECONDS * 2 ** min(row.attempts - 1, 16))
        row.next_attempt_at = tx.now + timedelta(seconds=wait)
        return "failed"
    row.outcome, row.error, row.next_attempt_at, row.processed_at = outcome, None, None, tx.now
    return outcome


async def fold(tx: Tx, by: Actor, news: StripeEventData, *, livemode: bool) -> FoldOutcome:
    """Join what the event says with our rows; return what became of it."""
    if news.livemode != livemode:
        return "other_mode"
    if news.unreadable is not None:
        raise ValueError(news.unreadable)
    if news.object is None:
        return "ignored"
    charge = news.object.id if isinstance(news.object, ChargeSnapshot) else news.object.charge
    payment_id = await find_payment_id(tx, payment_intent=news.object.payment_intent, charge=charge)
    if payment_id is None:
        return "unknown_payment"
    payment = await lock_payment(tx, payment_id)
    if isinstance(news.object, ChargeSnapshot):
        await apply_charge(tx, by, payment, news.object)
    elif isinstance(news.object, DisputeSnapshot):
        await apply_dispute(tx, by, payment, news.object)
    else:
        await apply_refund(tx, by, payment, news.object)
    return "folded"
