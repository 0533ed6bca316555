"""What left the desk lately by a person's decision, and the returns that a refund made outside may have paid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlmodel import col

from returns_service.store.database import Tx
from returns_service.store.tables import Refund, ReturnAuthorization

MOST_SOLVED: Final = 100
MOST_RETURNS: Final = 50  # on one payment, to choose from


async def solved_refunds(tx: Tx, since: datetime) -> Sequence[tuple[Refund, str | None]]:
    """Return refunds that were dealt with since a moment, newest first, each with its return's order."""
    solved_at = func.coalesce(col(Refund.superseded_at), col(Refund.acknowledged_at))
    chosen = (
        select(Refund, col(ReturnAuthorization.order_id))
        .outerjoin(ReturnAuthorization, col(ReturnAuthorization.id) == col(Refund.return_id))
        .where(or_(col(Refund.superseded_at) >= since, col(Refund.acknowledged_at) >= since))
        .order_by(solved_at.desc(), col(Refund.id).desc())
        .limit(MOST_SOLVED)
    )
    return [(row[0], row[1]) for row in (await tx.execute(chosen)).all()]


async def returns_on_payment(tx: Tx, payment_id: str) -> list[tuple[str, str]]:
    """Return the returns on a payment that a refund can be assigned to: id and order, newest first."""
    row = ReturnAuthorization
    chosen = select(col(row.id), col(row.order_id)).where(
        col(row.payment_id) == payment_id, col(row.state).not_in(("declined", "canceled"))
    )
    found = (await tx.execute(chosen.order_by(col(row.id).desc()).limit(MOST_RETURNS))).all()
    return [(return_id, order_id) for return_id, order_id in found]
