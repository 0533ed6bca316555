"""Stripe's events: each stored once, raw, and folded in the same transaction.

Where the fold raises, its transaction is rolled back, and the event is stored alone, marked with the error. A worker
tries it again: Stripe has its 200, and an event that nobody can read yet blocks no other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import structlog
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import update
from sqlmodel import col

from returns_service import tracing
from returns_service.commands.stripe_account import is_of_another_account
from returns_service.commands.stripe_fold import (
    apply_charge,
    apply_dispute,
    apply_refund,
    find_owner,
    hold_until_read,
    may_be_release,
)
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import ChargeSnapshot, DisputeSnapshot, StripeEventData
from returns_service.domain.vocabulary import FoldOutcome
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import find_payment_id, lock_payment_at_stripe
from returns_service.store.database import Tx, insert_ignore, is_unavailable, may_pass
from returns_service.store.tables import StripeEvent
from returns_service.timings import FOLDS, observe_seconds

# A fold that raised is tried again after a minute, then ever more slowly, at least every six hours.
FIRST_REFOLD_SECONDS, SLOWEST_REFOLD_SECONDS = 60, 21_600
ON_THE_DESK_AFTER = 5
InboxOutcome = Literal[FoldOutcome, "known"]  # `known`: stored before
log = structlog.get_logger("returns.inbox")


class StripeEventReceiptView(Struct):
    """What became of the event."""

    received: bool
    outcome: InboxOutcome


async def store_and_fold(tx: Tx, by: Actor, policy: Policy, event: StripeEventData, *, livemode: bool) -> InboxOutcome:
    """Store and fold one verified event; return its outcome. Safe to do twice.

    `tx` may do nothing else: where the fold raises, all of it is rolled back.
    """
    # Written as it will most likely end: then one statement does.
    expected = Folded("ignored" if event.object is None else "folded", attempts=1, processed_at=tx.now)
    row = {"id": event.id, "type": event.type, "payload": event.raw, "received_at": tx.now, **asdict(expected)}
    if not await insert_ignore(tx, StripeEvent, row):
        return "known"
    try:
        with observe_seconds(FOLDS):
            outcome = await fold(tx, by, policy, event, livemode=livemode)
            await tx.flush()
    except Exception as error:  # noqa: BLE001 - the event must stay whatever the fold raises
        failed = _describe_failure(tx, event, error, attempts=1)
        # No savepoint: nearly every fold succeeds, and setting one costs as much as the fold reads.
        await tx.rollback()
        tx.forget()
        stored = await insert_ignore(tx, StripeEvent, {**row, **asdict(failed)})
        return "failed" if stored else "known"
    if outcome != expected.outcome:
        await tx.execute(update(StripeEvent).where(col(StripeEvent.id) == event.id).values(outcome=outcome))
    return outcome


class Folded(Struct, frozen=True):
    """What became of a stored event: the columns of its row."""

    outcome: FoldOutcome
    attempts: int
    processed_at: datetime | None = None
    error: str | None = None
    next_attempt_at: datetime | None = None


async def fold_again(
    tx: Tx, by: Actor, policy: Policy, event: StripeEventData, *, attempts: int, livemode: bool
) -> Folded:
    """Fold an event stored before, for the `attempts`-th time; an exception of the fold is returned, not raised."""
    try:
        with observe_seconds(FOLDS):
            async with tx.begin_nested():
                outcome = await fold(tx, by, policy, event, livemode=livemode)
                await tx.flush()
    except Exception as error:  # noqa: BLE001 - the event must stay whatever the fold raises
        return _describe_failure(tx, event, error, attempts=attempts)
    return Folded(outcome, attempts, processed_at=tx.now)


def _describe_failure(tx: Tx, event: StripeEventData, error: Exception, *, attempts: int) -> Folded:
    """Log what a fold raised and return when it is tried again. Raises it where the database, not the fold, failed."""
    if is_unavailable(error) or may_pass(error):
        raise error
    log.error("stripe_event.fold_failed", stripe_event=event.id, type=event.type, exc_info=error)
    wait = min(SLOWEST_REFOLD_SECONDS, FIRST_REFOLD_SECONDS * 2 ** min(attempts - 1, 16))
    why = f"{type(error).__name__}: {error}"[:1000]
    return Folded("failed", attempts, error=why, next_attempt_at=tx.now + timedelta(seconds=wait))


async def fold(tx: Tx, by: Actor, policy: Policy, event: StripeEventData, *, livemode: bool) -> FoldOutcome:
    """Join what the event says with our rows; return what became of it."""
    if event.livemode != livemode:
        return "other_mode"
    if await is_of_another_account(tx, event):
        return "ignored"
    if event.unreadable is not None:
        intent, named_charge = event.names
        if (intent or named_charge) and not await find_payment_id(tx, payment_intent=intent, charge=named_charge):
            return "unknown_payment"
        raise ValueError(event.unreadable)
    news = event.object
    if news is None:
        return "ignored"
    charge = news.id if isinstance(news, ChargeSnapshot) else news.charge
    locked = await lock_payment_at_stripe(tx, payment_intent=news.payment_intent, charge=charge)
    if locked is None:
        return "unknown_payment"
    if isinstance(news, ChargeSnapshot):
        await apply_charge(locked, policy, news)
    elif isinstance(news, DisputeSnapshot):
        await apply_dispute(locked, by, policy, news)
    elif may_be_release(locked, news):
        hold_until_read(locked, policy)
    else:
        owner = find_owner(locked.refunds, news)
        with tracing.span(event.type, kind="CONSUMER", parent=owner.traceparent if owner else None):
            await apply_refund(locked, by, policy, news)
    return "folded"
