"""A payment's lock, as a value: a function that needs the lock takes a LockedPayment.

The lock comes first, in a statement of its own: READ COMMITTED takes its snapshot before it waits, so refunds that the
locking statement read beside the payment could be stale, and that would over-refund. All that is read after it and
belongs to this payment can't change until the transaction ends: every writer holds this lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import false
from sqlmodel import col, or_, select

from returns_service.domain.policy import Policy
from returns_service.domain.refund_status import FINAL, OPEN
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase


@dataclass
class LockedPayment:
    """A payment, locked to the end of `tx`, with all its refunds, oldest first."""

    tx: Tx
    row: Payment
    refunds: list[Refund]
    cases: dict[str, ReturnCase] = field(default_factory=dict)  # returns loaded under this lock

    def add(self, refund: Refund) -> None:
        """Add a new refund to the payment and to the transaction."""
        self.tx.add(refund)
        self.refunds.append(refund)

    def set_hold(self, policy: Policy) -> bool:
        """Hold the payment while a refund made outside waits for a person; return whether a hold has just ended."""
        was = self.row.external_open
        self.row.external_open = policy.external_refunds == "hold" and any(map(waits_for_person, self.refunds))
        return was and not self.row.external_open

    def refund(self, refund_id: str | None) -> Refund | None:
        """Return a refund of this payment, None where it has no such refund."""
        return next((refund for refund in self.refunds if refund.id == refund_id), None)

    @property
    def refundable(self) -> int:
        """What the payment has left, minor units; negative while an overtaken intent hasn't failed yet."""
        return refundable(self.row, self.refunds)


def waits_for_person(refund: Refund) -> bool:
    """Return whether a refund was made outside and nobody has said yet what it was for."""
    known = refund.return_id is not None or refund.acknowledged_at is not None or refund.duplicate_of is not None
    return refund.source == "external" and refund.status not in FINAL and not known


def refundable(payment: Payment, refunds: Iterable[Refund]) -> int:
    """Return what the payment has left: captured less what was refunded and what is reserved, minor units."""
    return payment.captured - sum(r.amount for r in refunds if r.status in (*OPEN, "succeeded"))


async def lock_payment(tx: Tx, payment_id: str) -> LockedPayment:
    """Lock a payment, then read its refunds. Raises LookupError where there is no such payment."""
    return await _lock_and_read(tx, select(Payment).where(col(Payment.id) == payment_id), payment_id)


async def lock_payment_at_stripe(tx: Tx, *, payment_intent: str | None, charge: str | None) -> LockedPayment | None:
    """Lock a payment by Stripe's ids, then read its refunds; None where we have no such payment."""
    row = await lock_row(
        tx, select(Payment).where(*_name_conditions(payment_intent, charge)).order_by(col(Payment.id)).limit(1)
    )
    return LockedPayment(tx, row, await _refunds(tx, row.id)) if row else None


async def lock_payment_of_refund(tx: Tx, refund_id: str) -> LockedPayment:
    """Lock a refund's payment (which never changes), then read its refunds. Raises LookupError."""
    chosen = select(Payment).join(Refund, col(Refund.payment_id) == col(Payment.id)).where(col(Refund.id) == refund_id)
    return await _lock_and_read(tx, chosen, refund_id)


async def lock_row(tx: Tx, chosen: Any) -> Payment | None:
    """Lock the payment that a statement chooses, and nothing else of what it reads."""
    rows = await select_for_update(tx, chosen, Payment)
    if rows:
        tx.locked_payments.add(rows[0].id)
    return rows[0] if rows else None


def payment_of_return(return_id: str) -> Any:
    """Return the statement for a return's payment: it never changes, so it may be chosen in the locking statement."""
    of_return = col(ReturnAuthorization.payment_id) == col(Payment.id)
    return select(Payment).join(ReturnAuthorization, of_return).where(col(ReturnAuthorization.id) == return_id)


async def find_payment_id(tx: Tx, *, payment_intent: str | None, charge: str | None) -> str | None:
    """Return our id of a payment by Stripe's ids; a charge that has a PaymentIntent is that PaymentIntent's row."""
    chosen = select(Payment.id).where(*_name_conditions(payment_intent, charge)).order_by(col(Payment.id)).limit(1)
    return (await tx.exec(chosen)).first()


def _name_conditions(payment_intent: str | None, charge: str | None) -> list[Any]:
    names = [col(Payment.payment_intent) == payment_intent] if payment_intent else []
    names += [col(Payment.charge) == charge] if charge else []
    return [or_(false(), *names)]


async def _lock_and_read(tx: Tx, chosen: Any, name: str) -> LockedPayment:
    row = await lock_row(tx, chosen)
    if row is None:
        raise LookupError(f"There is no payment for {name}.")
    return LockedPayment(tx, row, await _refunds(tx, row.id))


async def _refunds(tx: Tx, payment_id: str) -> list[Refund]:
    chosen = select(Refund).where(col(Refund.payment_id) == payment_id).order_by(col(Refund.id))
    return list((await tx.exec(chosen.execution_options(populate_existing=True))).all())
