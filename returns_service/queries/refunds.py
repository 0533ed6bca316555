"""Find refunds: the filters of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlmodel import col, select

from returns_service.domain.refund_status import RefundStatus
from returns_service.store.metadata_value import MetadataValue
from returns_service.store.tables import Payment, Refund


def refunds_with_payment(
    *,
    payment_intent: str | None = None,
    charge: str | None = None,
    return_id: str | None = None,
    statuses: Sequence[RefundStatus] | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Return the statement for (refund, payment) pairs that meet every filter given; the caller orders and limits."""
    chosen: Any = select(Refund, Payment).join(Payment, col(Payment.id) == col(Refund.payment_id))
    wanted = (
        (Payment.payment_intent, payment_intent),
        (Payment.charge, charge),
        (Refund.return_id, return_id),
    )
    for column, value in wanted:
        if value is not None:
            chosen = chosen.where(col(column) == value)
    if statuses is not None:
        chosen = chosen.where(col(Refund.status).in_(statuses))
    for key, text in metadata.items():
        chosen = chosen.where(MetadataValue(Refund.details, key) == text)
    return chosen
