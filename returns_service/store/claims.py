"""Leases for all workers: which worker may speak with Stripe about a refund, and until when.

One statement claims a batch: the oldest due first, never two refunds of one payment at once (Stripe locks per charge,
so does `payment.busy_until`), and rows that another worker holds are passed over, never waited for. Every claim counts
the row's token up: a worker that writes back with an older token is late and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from sqlalchemy import Integer, and_, bindparam, exists, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from returns_service.domain.refund_attempt import (
    KEY_LIFE_SECONDS,
    REFUND_LEASE_SECONDS,
    OnlyLooks,
    key_age_seconds,
)
from returns_service.store.columns import Utc
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


@dataclass(frozen=True, slots=True)
class Claim:
    """A refund as it was claimed: all that is needed to speak with Stripe about it."""

    refund_id: str
    payment_id: str
    payment_intent: str | None
    charge: str | None
    status: str
    amount: int
    generation: int
    parameters: dict[str, Any]
    stripe_refund: str | None
    first_attempt_at: datetime | None
    decided_at: datetime  # the intent, or its present generation
    ever_unknown: bool
    lookups_only: bool
    observations: int
    payment_observations: int
    payment_refunded: int  # as Stripe counted when the payment was last read, minor units
    only_looks: bool  # another refund may pay instead: one that Stripe doesn't hold is not sent again
    token: int
    lease_until: datetime
    traceparent: str | None

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt of a generation."""
        return f"{self.refund_id}:{self.generation}"

    @property
    def must_look_before(self) -> bool:
        """Whether a look-up comes before the call: Stripe may hold the refund, and its key may be gone.

        A refund in doubt is always looked for: if the clock was set back, an expired key looks young. A row restored
        from a backup may have been sent after that backup: it has waited longer than a key lives. (A dispute may have
        held it that long; then the look-up finds nothing.)
        """
        if self.stripe_refund is not None or self.first_attempt_at is None:
            return False
        return self.ever_unknown or (self.first_attempt_at - self.decided_at).total_seconds() >= KEY_LIFE_SECONDS

    def must_look_first(self, now: datetime) -> bool:
        """Return whether only a look-up may be made: the key is old, its answer is stored, or another one may pay."""
        return self.lookups_only or self.only_looks or key_age_seconds(self.first_attempt_at, now) >= KEY_LIFE_SECONDS


def _candidates() -> Any:
    """Return the statement that picks what to claim at `now`: oldest first, one refund a payment, at most `most`."""
    now = bindparam("now", type_=Utc())
    older = aliased(Refund)

    # A dispute, a refund made outside that waits for a person, and a second person's agreement hold what is queued.
    def not_held(row: Any) -> Any:
        known = or_(~col(Payment.external_open), col(row.overrides_hold))
        free = and_(~col(Payment.disputed), ~col(Payment.held_until_read), known)
        return or_(and_(free, ~col(row.unapproved)), col(row.status) != "queued")

    due_before = exists().where(
        col(older.payment_id) == col(Refund.payment_id),
        or_(
            col(older.next_attempt_at) < col(Refund.next_attempt_at),
            and_(col(older.next_attempt_at) == col(Refund.next_attempt_at), col(older.id) < col(Refund.id)),
        ),
        col(older.next_attempt_at) <= now,
        not_held(older),
    )
    return (
        select(Refund, Payment)
        .join(Payment, col(Payment.id) == col(Refund.payment_id))
        .where(
            col(Refund.next_attempt_at) <= now,
            or_(col(Refund.lease_until).is_(None), col(Refund.lease_until) <= now),
            or_(col(Payment.busy_until).is_(None), col(Payment.busy_until) <= now),
            not_held(Refund),
            ~due_before,
        )
        .order_by(col(Refund.next_attempt_at), col(Refund.id))
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(key_share=True, skip_locked=True, of=[Refund, Payment])
        .execution_options(populate_existing=True)
    )


CANDIDATES = _candidates()  # built once: a worker runs them several times a second
SOONEST = (
    select(col(Refund.next_attempt_at))
    .where(col(Refund.next_attempt_at).is_not(None))
    .order_by(col(Refund.next_attempt_at))
    .limit(1)
)


async def claim_refunds(tx: Tx, limit: int, lease_seconds: float = REFUND_LEASE_SECONDS) -> list[Claim]:
    """Lease up to `limit` due refunds to the caller."""
    picked = (await tx.execute(CANDIDATES, {"now": tx.now, "most": limit})).all()
    until = tx.now + timedelta(seconds=lease_seconds)
    for row, payment in picked:
        tx.locked_payments.add(payment.id)
        payment.busy_until = until
        _lease(row, tx.now, until)
    return [claim_of(row, payment) for row, payment in picked]


def _lease(row: Refund, now: datetime, until: datetime) -> None:
    row.lease_until = row.next_attempt_at = until
    row.lease_token += 1
    row.attempts += 1
    if row.stripe_refund is None and row.first_attempt_at is None:
        # Of a mere look-up too: one that is counted from nowhere would never come to an end.
        row.first_attempt_at = now
    if row.status == "submitted":  # its lease ran out: its owner died, nobody knows what it was told
        row.status, row.ever_unknown = "unknown", True
    elif row.status == "queued":
        row.status = "submitted"


def claim_of(row: Refund, payment: Payment) -> Claim:
    """Return the claim on a row that was just leased."""
    return Claim(
        refund_id=row.id,
        payment_id=payment.id,
        payment_intent=payment.payment_intent,
        charge=payment.charge,
        status=row.status,
        amount=row.amount,
        generation=row.generation,
        parameters=row.parameters,
        stripe_refund=row.stripe_refund,
        first_attempt_at=row.first_attempt_at,
        decided_at=datetime.fromisoformat(row.past_parameters[-1]["ended_at"])
        if row.past_parameters
        else row.created_at,
        ever_unknown=row.ever_unknown,
        lookups_only=row.lookups_only,
        observations=row.observations,
        payment_observations=payment.observations,
        payment_refunded=payment.amount_refunded,
        only_looks=payment.held_until_read
        or (payment.external_open and not row.overrides_hold)
        or row.waiting_code in get_args(OnlyLooks),
        token=row.lease_token,
        lease_until=row.lease_until or row.created_at,
        traceparent=row.traceparent,
    )


async def renew(tx: Tx, claims: Sequence[Claim], lease_seconds: float = REFUND_LEASE_SECONDS) -> dict[str, datetime]:
    """Extend the leases that are still these claims' own; return the new ends by refund id.

    A payment that somebody has locked is passed over: its answer is just being written.
    """
    until = tx.now + timedelta(seconds=lease_seconds)
    payments = select(col(Payment.id)).where(col(Payment.id).in_([claim.payment_id for claim in claims]))
    locked = payments.order_by(col(Payment.id)).with_for_update(key_share=True, skip_locked=True)
    free = set((await tx.execute(locked)).scalars().all())
    owned = or_(*(and_(col(Refund.id) == c.refund_id, col(Refund.lease_token) == c.token) for c in claims))
    extended = (
        update(Refund)
        .where(col(Refund.payment_id).in_(free), owned, col(Refund.lease_until) > tx.now)
        .values(lease_until=until, next_attempt_at=until)
        .returning(col(Refund.id), col(Refund.payment_id))
    )
    kept = (await tx.execute(extended)).all()
    busy = update(Payment).where(col(Payment.id).in_([payment_id for _, payment_id in kept]))
    await tx.execute(busy.values(busy_until=until))
    return {refund_id: until for refund_id, _ in kept}


def still_owner(row: Refund, claim: Claim) -> bool:
    """Return whether the claim stands: nobody else claimed the refund since, and no answer to it is written yet."""
    return row.lease_token == claim.token and row.lease_until is not None


def release(row: Refund, payment: Payment) -> None:
    """End the lease; the caller sets when the refund is due next."""
    row.lease_until = None
    payment.busy_until = None


async def next_due_at(tx: Tx) -> datetime | None:
    """Return when the next refund is due, None if none is."""
    return (await tx.execute(SOONEST)).scalars().first()
