"""What people count at the dock before it is a receipt: one row a scan, so that none is lost and each can be undone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from returns_service.domain.vocabulary import Condition
from returns_service.store.columns import StoredRow, defer_foreign_keys, partial, utc, word


class DockScan(StoredRow, table=True):
    """Units counted by a scan, or by hand (then below zero, too). The id is the browser's, so each is counted once."""

    __tablename__ = "dock_scan"
    __table_args__ = (
        CheckConstraint("quantity <> 0", name="quantity"),
        partial("ix_dock_scan_open", "return_id", where="receipt_id IS NULL"),
    )

    id: str = Field(primary_key=True)
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    receipt_id: str | None = Field(default=None, foreign_key="receipt.id")  # None: not done yet
    line_id: str | None = None  # None: put aside; no foreign key, since a request's lines may still be replaced
    code: str  # as it was scanned, cleaned
    condition: Condition = word()
    quantity: int
    surplus: bool = False  # put aside because all units of its line are here already
    note: str | None = None
    scanned_by: str
    scanned_at: datetime = utc()
    undone_at: datetime | None = utc(nullable=True)


defer_foreign_keys("dock_scan")
