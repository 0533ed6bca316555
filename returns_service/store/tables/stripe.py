"""What Stripe said of this service itself: whose account its key is of, and which of its calls the key may not make."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from returns_service.store.columns import StoredRow, utc


class StripeRefusal(StoredRow, table=True):
    """A kind of call that Stripe answers with 401 or 403, from the first such answer until the next success."""

    __tablename__ = "stripe_refusal"

    subject: str = Field(primary_key=True)  # `key`: every call; else what the call is about, as in /v1/<subject>
    code: str
    message: str  # Stripe's own sentence
    since: datetime = utc()


class StripeAccount(StoredRow, table=True):
    """One row: the account that the key in force belongs to."""

    __tablename__ = "stripe_account"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True)
    account: str  # acct_…
    learnt_at: datetime = utc()
