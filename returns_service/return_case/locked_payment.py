"""A payment's lock, as a value: a function that needs the lock takes a LockedPayment.

The lock comes first, in a statement of its own: READ COMMITTED takes its snapshot before it waits, so refunds that the
locking statement read beside the payment could be stale, and that would over-refund. All that is read after it and
belongs to this payment can't change until the transaction ends: every writer holds this lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, false
from sqlmodel import SQLModel, col, or_, select

from returns_service.domain.policy import Policy
from returns_service.domain.refund_explanations import describe_lost
from returns_service.domain.refund_status import FINAL, OPEN, UNANSWERED
from returns_service.domain.search_text import metadata_word
from returns_service.return_case.rows import has_failed
from returns_service.store.database import Tx, for_update, insert_or_none, select_locked
from returns_service.store.tables import Payment, Refund, RefundWord, ReturnAuthorization

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase


@dataclass
class LockedPayment:
    """A payment, locked to the end of `tx`, with all its refunds, oldest first."""

    tx: Tx
    row: Payment
    refunds: list[Refund]
    cases: dict[str, ReturnCase] = field(default_factory=dict)  # returns loaded under this lock
    is_new: bool = False  # made by `tx`: nobody else has seen it yet, and no return is on it

    def add(self, refund: Refund) -> None:
        """Add a new refund to the payment and to the transaction."""
        self.tx.add(refund)
        self.tx.add_all(words_of(refund))
        self.refunds.append(refund)

    def set_hold(self, policy: Policy, *, has_been_read: bool = False) -> bool:
        """Hold the payment while a refund made outside waits for a person; return whether a hold has just ended.

        `has_been_read`: a fresh read has just told what was refunded. Only such a read, or a policy that holds nothing,
        ends a hold until a read.
        """
        was, holds = is_held(self.row), policy.external_refunds == "hold"
        self.row.held_until_read = self.row.held_until_read and holds and not has_been_read
        self.row.external_open = holds and any(map(waits_for_person, self.refunds))
        return was and not is_held(self.row)

    def end_overrides(self) -> None:
        """Drop the unanswered refunds' overrides of a hold: no person who gave one knew of the hold that begins now."""
        for refund in self.refunds:
            if refund.status in UNANSWERED:
                refund.overrides_hold = False

    def refund(self, refund_id: str | None) -> Refund | None:
        """Return a refund of this payment, None where it has no such refund."""
        return next((refund for refund in self.refunds if refund.id == refund_id), None)

    def is_second(self, refund: Refund) -> bool:
        """Return whether a refund is one too many for its intent: it isn't where it pays instead of a failed one."""
        first = self.refund(refund.duplicate_of)
        pays_instead = first is not None and has_failed(first) and refund.superseded_at is None
        return refund.duplicate_of is not None and not pays_instead

    @property
    def refundable(self) -> int:
        """What the payment has left, minor units; negative while an overtaken intent hasn't failed yet."""
        return refundable(self.row, self.refunds)


def words_of(refund: Refund) -> list[RefundWord]:
    """Return the words by which a refund is found."""
    found = (metadata_word(key, value) for key, value in refund.details.items())
    return [RefundWord(refund_id=refund.id, word=word) for word in sorted(found)]


def is_held(payment: Payment) -> bool:
    """Return whether a refund made outside, known or only suspected, holds what is not sent of a payment."""
    return payment.external_open or payment.held_until_read


def describe_lost_dispute(payment: Payment) -> Mapping[str, str]:
    """Return why a payment's dispute that gave the customer money withdraws its refunds."""
    return describe_lost(payment.dispute, payment.captured, payment.currency)


def waits_for_person(refund: Refund) -> bool:
    """Return whether a refund was made outside and nobody has said yet what it was for."""
    known = refund.return_id is not None or refund.acknowledged_at is not None or refund.duplicate_of is not None
    return refund.source == "external" and refund.status not in FINAL and not known


def refundable(payment: Payment, refunds: Iterable[Refund]) -> int:
    """Return what the payment has left: captured less what was refunded and what is reserved, minor units."""
    return payment.captured - sum(r.amount for r in refunds if r.status in (*OPEN, "succeeded"))


# Chosen by what never changes, so that the statement that locks may join it. Built once: each command runs one.
BY_ID = for_update(select(Payment).where(col(Payment.id) == bindparam("name")), Payment)
OF_RETURN = for_update(
    select(Payment)
    .join(ReturnAuthorization, col(ReturnAuthorization.payment_id) == col(Payment.id))
    .where(col(ReturnAuthorization.id) == bindparam("name")),
    Payment,
)
OF_REFUND = for_update(
    select(Payment).join(Refund, col(Refund.payment_id) == col(Payment.id)).where(col(Refund.id) == bindparam("name")),
    Payment,
)
REFUNDS = (
    select(Refund)
    .where(col(Refund.payment_id) == bindparam("payment_id"))
    .order_by(col(Refund.id))
    .execution_options(populate_existing=True)
)


async def lock_payment(tx: Tx, payment_id: str) -> LockedPayment:
    """Lock a payment, then read its refunds. Raises LookupError where there is no such payment."""
    return await _lock_and_read(tx, BY_ID, payment_id)


async def lock_payment_at_stripe(tx: Tx, *, payment_intent: str | None, charge: str | None) -> LockedPayment | None:
    """Lock a payment by Stripe's ids, then read its refunds; None where we have no such payment."""
    names = _names(payment_intent, charge)
    row = await lock_row(tx, _at_stripe(*names), **names)
    return LockedPayment(tx, row, await _refunds(tx, row.id)) if row else None


async def insert_payment(tx: Tx, payment: Payment) -> LockedPayment | None:
    """Insert a payment, which locks it; None where one with its ids is there already.

    Waits for another transaction that is just making it.
    """
    row = await insert_or_none(tx, payment)
    if row is None:
        return None
    tx.locked_payments.add(row.id)
    return LockedPayment(tx, row, [], is_new=True)


async def lock_payment_of_refund(tx: Tx, refund_id: str) -> LockedPayment:
    """Lock a refund's payment (which never changes), then read its refunds. Raises LookupError."""
    return await _lock_and_read(tx, OF_REFUND, refund_id)


async def lock_row(tx: Tx, statement: Any, **names: str) -> Payment | None:
    """Lock the payment that a `for_update` statement chooses by `names`, and nothing else of what it reads."""
    rows = await select_locked(tx, statement, names)
    if rows:
        tx.locked_payments.add(rows[0].id)
    return rows[0] if rows else None


async def find_payment_id(tx: Tx, *, payment_intent: str | None, charge: str | None) -> str | None:
    """Return our id of a payment by Stripe's ids; a charge that has a PaymentIntent is that PaymentIntent's row."""
    names = _names(payment_intent, charge)
    chosen = select(Payment.id).where(_match_any(*names)).order_by(col(Payment.id)).limit(1)
    found: str | None = (await tx.execute(chosen, names)).scalars().first()
    return found


def _names(payment_intent: str | None, charge: str | None) -> dict[str, str]:
    return {column: name for column, name in (("payment_intent", payment_intent), ("charge", charge)) if name}


def _match_any(*columns: str) -> Any:
    table = SQLModel.metadata.tables["payment"]
    return or_(false(), *(table.c[column] == bindparam(column) for column in columns))


@cache
def _at_stripe(*columns: str) -> Any:
    """Return the statement that locks the payment with these of Stripe's ids."""
    return for_update(select(Payment).where(_match_any(*columns)).order_by(col(Payment.id)).limit(1), Payment)


async def _lock_and_read(tx: Tx, statement: Any, name: str) -> LockedPayment:
    row = await lock_row(tx, statement, name=name)
    if row is None:
        raise LookupError(f"There is no payment for {name}.")
    return LockedPayment(tx, row, await _refunds(tx, row.id))


async def _refunds(tx: Tx, payment_id: str) -> list[Refund]:
    return list((await tx.execute(REFUNDS, {"payment_id": payment_id})).scalars().all())
