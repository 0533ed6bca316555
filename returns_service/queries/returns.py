"""Find returns: the filters and the search of lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import col, func, or_, select

from returns_service.domain.return_machine import State
from returns_service.store.tables import Payment, ReturnAuthorization, ReturnLine


def return_ids(
    *,
    state: State | None = None,
    order_id: str | None = None,
    customer_email: str | None = None,
    payment_intent: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    words: str | None = None,
) -> Any:
    """Return the statement for the ids of returns that meet every filter given; the caller orders and limits it."""
    row = ReturnAuthorization
    chosen: Any = select(row.id)
    if state is not None:
        chosen = chosen.where(col(row.state) == state)
    if order_id is not None:
        chosen = chosen.where(col(row.order_id) == order_id)
    if customer_email is not None:
        chosen = chosen.where(func.lower(col(row.customer_email)) == customer_email.lower())
    if payment_intent is not None:
        chosen = chosen.join(Payment, col(Payment.id) == col(row.payment_id))
        chosen = chosen.where(col(Payment.payment_intent) == payment_intent)
    if created_from is not None:
        chosen = chosen.where(col(row.created_at) >= created_from)
    if created_before is not None:
        chosen = chosen.where(col(row.created_at) < created_before)
    return chosen.where(search_condition(words)) if words else chosen


def search_condition(words: str) -> Any:
    """Return the condition for what a person types to find a return: an id, an order, an SKU, an e-mail address."""
    low = words.strip().lower()
    lines = select(ReturnLine.return_id).where(func.lower(col(ReturnLine.sku)).contains(low, autoescape=True))
    return or_(
        col(ReturnAuthorization.id).startswith(low, autoescape=True),
        func.lower(col(ReturnAuthorization.order_id)).contains(low, autoescape=True),
        func.lower(col(ReturnAuthorization.customer_email)).contains(low, autoescape=True),
        col(ReturnAuthorization.id).in_(lines),
    )
