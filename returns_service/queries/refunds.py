"""Find refunds: the filters of lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlmodel import col, select

from returns_service.domain.search_text import metadata_word
from returns_service.store.metadata_value import MetadataValue
from returns_service.store.tables import Payment, Refund, RefundWord


def refund_ids(
    *,
    payment_intent: str | None = None,
    charge: str | None = None,
    return_id: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Return the statement for the ids of refunds that meet every filter given; the caller orders and limits it."""
    chosen: Any = select(Refund.id)
    for column, value in ((Payment.payment_intent, payment_intent), (Payment.charge, charge)):
        if value is not None:
            payment = select(Payment.id).where(col(column) == value).scalar_subquery()  # its name is unique
            chosen = chosen.where(col(Refund.payment_id) == payment)
    if return_id is not None:
        chosen = chosen.where(col(Refund.return_id) == return_id)
    for key, text in metadata.items():
        chosen = chosen.where(*has_metadata(key, text))
    return chosen


def has_metadata(key: str, text: str) -> tuple[Any, Any]:
    """Return the conditions of refunds that have `text` under `key` of their metadata."""
    indexed = select(RefundWord.refund_id).where(col(RefundWord.word) == metadata_word(key, text))
    return col(Refund.id).in_(indexed), MetadataValue(Refund.details, key) == text


def with_payments(ids: Any) -> Any:
    """Return the statement for the (refund, payment) pairs of the refunds that a statement for ids chooses."""
    pairs: Any = select(Refund, Payment).join(Payment, col(Payment.id) == col(Refund.payment_id))
    return pairs.where(col(Refund.id).in_(ids.subquery().select()))
