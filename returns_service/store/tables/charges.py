"""The table of what Stripe charged: sums that the refund rate is held against."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from returns_service.store.columns import StoredRow, minor_units, utc


class ChargeTotal(StoredRow, table=True):
    """The charges of one quarter of an hour in one currency, as Stripe lists them: how many, and what they captured.

    Quarters, since the day of every time zone begins with one: the policy's zone may change.
    """

    __tablename__ = "charge_total"

    begins_at: datetime = utc(primary_key=True)
    currency: str = Field(primary_key=True)
    number: int
    amount: int = minor_units()
