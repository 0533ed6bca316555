"""The desk's kinds of the dock: units that nobody has decided about, and returns that a correction made worth less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, func, literal_column, or_
from sqlmodel import col

from returns_service.domain.return_machine import DORMANT
from returns_service.queries.desk_columns import entry_head
from returns_service.store.columns import among
from returns_service.store.tables import Receipt, ReceiptLine, ReturnAuthorization, UndeclaredItem, UnmatchedReceipt


def of_the_dock() -> Sequence[Any]:
    """Return what the dock holds and nobody has decided about, and returns with money that no refund moves.

    That is what was paid beyond its worth, and what is due outside Stripe.
    """
    row, row_id, payment_id = ReturnAuthorization, col(ReturnAuthorization.id), col(ReturnAuthorization.payment_id)
    open_item = col(UndeclaredItem.decision).is_(None)
    undeclared = (
        entry_head(
            "undeclared_item", col(Receipt.created_at), col(UndeclaredItem.id),
            undeclared_id=col(UndeclaredItem.id), return_id=row_id, payment_id=payment_id,
        )
        .select_from(UndeclaredItem)
        .join(Receipt, col(Receipt.id) == col(UndeclaredItem.receipt_id))
        .join(row, row_id == col(UndeclaredItem.return_id))
        .where(open_item, col(Receipt.reversed_at).is_(None))
    )  # fmt: skip
    # A receipt that holds nothing but undeclared items is on the desk through these.
    holds_units = exists().where(col(ReceiptLine.receipt_id) == col(Receipt.id))
    unexpected = (
        entry_head(
            "return_to_decide", func.min(col(Receipt.created_at)), row_id, return_id=row_id, payment_id=payment_id
        )
        .select_from(Receipt)
        .join(row, row_id == col(Receipt.return_id))
        .where(
            literal_column("receipt.unexpected"),  # as the index has it: SQLite's would be `unexpected = 1`
            col(Receipt.reversed_at).is_(None),
            or_(among(row.state, DORMANT), and_(col(row.closed_at).is_not(None), col(row.state) != "approved")),
            holds_units,
        )
        .group_by(row_id, payment_id)
    )
    overpaid = entry_head(
        "return_overpaid", col(row.overpaid_since), row_id, return_id=row_id, payment_id=payment_id
    ).where(col(row.overpaid_since).is_not(None))
    unmatched = (
        entry_head(
            "unmatched_receipt", col(UnmatchedReceipt.created_at), col(UnmatchedReceipt.id),
            unmatched_id=col(UnmatchedReceipt.id),
        )
        .where(col(UnmatchedReceipt.receipt_id).is_(None))
    )  # fmt: skip
    due_outside = entry_head(
        "resolution_due", col(row.due_outside_since), row_id, return_id=row_id, payment_id=payment_id
    ).where(col(row.due_outside_since).is_not(None))
    return [undeclared, unexpected, overpaid, due_outside, unmatched]
