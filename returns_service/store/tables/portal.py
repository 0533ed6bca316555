"""Tables of the customer's portal: what a link offers, what the customer has ticked so far, and their photos."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary
from sqlmodel import Field

from returns_service.store.columns import StoredRow, defer_foreign_keys, json_object, json_or_null, minor_units, utc


class PortalSession(StoredRow, table=True):
    """An order's items that a signed link lets its customer send back. The link itself is kept nowhere."""

    __tablename__ = "portal_session"

    id: str = Field(primary_key=True)
    order_id: str = Field(index=True)
    payment_id: str = Field(foreign_key="payment.id", index=True)
    currency: str
    lines: list[dict[str, Any]] = json_object(list)  # [{sku, title, quantity, total_amount, order_line, …}]
    shipping_amount: int = minor_units(0)
    purchased_at: datetime | None = utc(nullable=True)
    delivered_at: datetime | None = utc(nullable=True)
    customer_email: str | None = None
    email_text: str | None = Field(default=None, index=True)  # the address as it is compared (`search_text`)
    customer_name: str | None = None
    locale: str | None = None  # of the customer, where the shop or they themselves said it
    resolutions: list[str] | None = json_or_null()  # that the customer may choose from; null: all of them
    picks: list[dict[str, Any]] = json_object(list)  # [{line, quantity, reason, resolution}]: ticked so far, or sent
    return_id: str | None = Field(default=None, foreign_key="return_authorization.id", unique=True)
    created_by: str
    created_at: datetime = utc()
    expires_at: datetime = utc(index=True)  # of the first link; a mail may carry a later one


class Photo(StoredRow, table=True):
    """A photo of a customer or of the dock, as it was encoded anew. Staff alone see it."""

    __tablename__ = "photo"
    __table_args__ = (Index("ix_photo_size_bytes", "size_bytes"),)  # summed without reading the pictures

    id: str = Field(primary_key=True)
    portal_session_id: str | None = Field(default=None, foreign_key="portal_session.id", index=True)
    return_id: str | None = Field(default=None, foreign_key="return_authorization.id", index=True)
    line: int | None = None  # the place of its line in the session's list
    about_id: str | None = Field(default=None, index=True)  # the dock's: of a scan, item, receipt or parcel of nobody
    added_by: str | None = None  # an actor; None: the customer
    media_type: str
    width: int
    height: int
    size_bytes: int
    content: bytes = Field(sa_type=LargeBinary, repr=False)
    created_at: datetime = utc()


defer_foreign_keys("portal_session", "photo")
