"""Tables of what the dock counts. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, false
from sqlmodel import Field

from returns_service.domain.vocabulary import Condition, Disposition, UndeclaredDecision
from returns_service.store.columns import StoredRow, defer_foreign_keys, json_object, partial, utc, word


class Receipt(StoredRow, table=True):
    """One count at the dock."""

    __tablename__ = "receipt"
    __table_args__ = (
        Index("uq_receipt_scan", "return_id", "scan_id", unique=True),
        partial("ix_receipt_unexpected", "return_id", where="unexpected AND reversed_at IS NULL"),
    )

    id: str = Field(primary_key=True)
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    received_by: str
    scan_id: str | None = None
    fingerprint: str  # of what was sent: the same scan_id with other counts is another count
    reversed_at: datetime | None = utc(nullable=True)
    reversed_by: str | None = None
    reversed_reason: str | None = None
    # Counted while the return was requested, declined, canceled or closed: until a decision takes it in.
    unexpected: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    created_at: datetime = utc()


class ReceiptLine(StoredRow, table=True):
    """Units of one line in one condition, counted in one receipt."""

    __tablename__ = "receipt_line"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity"),)

    id: str = Field(primary_key=True)
    receipt_id: str = Field(foreign_key="receipt.id", index=True)
    line_id: str = Field(foreign_key="return_line.id", index=True)
    sku: str
    quantity: int
    condition: Condition = word()
    disposition: Disposition = word()
    accepted: bool | None = None  # None: waits for inspection
    uncounted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # of `quantity`: no place on the line
    scanned: str | None = None  # as the scanner read it, where that isn't the SKU


class UndeclaredItem(StoredRow, table=True):
    """Units that nobody announced: a surplus or an unknown SKU."""

    __tablename__ = "undeclared_item"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        partial("ix_undeclared_open", "return_id", where="decision IS NULL"),
        partial("ix_undeclared_waiting", "id", where="decision IS NULL"),
    )

    id: str = Field(primary_key=True)
    receipt_id: str = Field(foreign_key="receipt.id", index=True)
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    sku: str
    quantity: int
    note: str | None = None
    decision: UndeclaredDecision | None = word(None)
    line_id: str | None = Field(default=None, foreign_key="return_line.id")
    surplus_of: str | None = None  # the line that has no place for them
    decided_by: str | None = None
    decided_at: datetime | None = utc(nullable=True)


class UnmatchedReceipt(StoredRow, table=True):
    """A parcel without any authorization, as the dock counted it; attached to a return, it counts there."""

    __tablename__ = "unmatched_receipt"
    __table_args__ = (
        partial("ix_unmatched_open", "created_at", where="receipt_id IS NULL"),
        Index("uq_unmatched_number", "number", unique=True),
    )

    id: str = Field(primary_key=True)
    number: str | None = None  # ten digits, written on the parcel; None: a release before wrote it
    order_id: str | None = Field(default=None, index=True)
    tracking_number: str | None = Field(default=None, index=True)
    tracking_text: str | None = Field(default=None, index=True)  # the number as it is compared (`search_text`)
    note: str | None = None
    items: list[dict[str, Any]] = json_object(list)  # [{sku, quantity, condition}]
    received_by: str
    created_at: datetime = utc()
    receipt_id: str | None = Field(default=None, foreign_key="receipt.id", index=True)  # that counts it on a return
    return_id: str | None = Field(default=None, foreign_key="return_authorization.id", index=True)
    attached_by: str | None = None
    attached_at: datetime | None = utc(nullable=True)


defer_foreign_keys("receipt", "receipt_line", "undeclared_item", "unmatched_receipt")
