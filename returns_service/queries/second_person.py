"""Refunds that wait for a second person, and whether somebody may be that person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import col, select

from returns_service.commands.staff_users import persons_of
from returns_service.return_case.rows import is_unapproved
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

MOST_WAITING: Final = 100  # shown at once, the oldest


@dataclass(frozen=True, slots=True)
class UnapprovedRefund:
    """One refund that waits, `order_id` of its return. `decided_it`: the person who looks did, with whatever key."""

    refund: Refund
    payment: Payment
    order_id: str | None
    decided_it: bool


async def unapproved_refunds(tx: Tx, actor: str) -> list[UnapprovedRefund]:
    """Return the oldest refunds that wait for a second person, as `actor` sees them."""
    chosen: Any = (
        select(Refund, Payment, ReturnAuthorization.order_id)
        .join(Payment, col(Payment.id) == col(Refund.payment_id))
        .outerjoin(ReturnAuthorization, col(ReturnAuthorization.id) == col(Refund.return_id))
        .where(col(Refund.unapproved), col(Refund.status) == "queued")
        .order_by(col(Refund.created_at), col(Refund.id))
        .limit(MOST_WAITING)
    )
    found = (await tx.execute(chosen)).all()
    own = await decided_by_person_of(tx, actor, [row[0] for row in found])
    return [UnapprovedRefund(refund, payment, order, refund.id in own) for refund, payment, order in found]


async def decided_by_person_of(tx: Tx, actor: str, refunds: Iterable[Refund]) -> set[str]:
    """Return the ids of those waiting refunds that the person behind `actor` decided."""
    waiting = [refund for refund in refunds if is_unapproved(refund)]
    if not waiting:
        return set()
    persons = await persons_of(tx, sorted({actor, *(refund.created_by for refund in waiting)}))
    return {refund.id for refund in waiting if persons[refund.created_by] == persons[actor]}
