"""Find refunds: the filters of lists."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from returns_service.domain.refund_status import RefundStatus
from returns_service.store.tables import Payment, Refund


def refunds_with_payment(
    *,
    payment_intent: str | None = None,
    charge: str | None = None,
    return_id: str | None = None,
    status: RefundStatus | None = None,
) -> Any:
    """Return the statement for (refund, payment) pairs that meet every filter given; the caller orders and limits."""
    chosen: Any = select(Refund, Payment).join(Payment, col(Payment.id) == col(Refund.payment_id))
    wanted = (
        (Payment.payment_intent, payment_intent),
        (Payment.charge, charge),
        (Refund.return_id, return_id),
        (Refund.status, status),
    )
    for column, value in wanted:
        if value is not None:
            chosen = chosen.where(col(column) == value)
    return chosen
