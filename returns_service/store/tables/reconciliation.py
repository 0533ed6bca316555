"""The tables of reconciliation: each comparison with Stripe's ledger, and a row for each difference it met."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from returns_service.domain.vocabulary import (
    DIFFERENCE_CODES,
    DIFFERENCE_OUTCOMES,
    RUN_PHASES,
    DifferenceCode,
    DifferenceOutcome,
    RunPhase,
)
from returns_service.store.columns import StoredRow, json_object, one_of, partial, utc, word


class ReconciliationRun(StoredRow, table=True):
    """One comparison of Stripe's refunds with ours. `cursor`: how far it has come, so that a restart goes on there."""

    __tablename__ = "reconciliation_run"
    __table_args__ = (
        one_of("phase", RUN_PHASES, "phase"),
        partial("ix_reconciliation_run_unfinished", "created_at", where="finished_at IS NULL"),
    )

    id: str = Field(primary_key=True)
    since: datetime = utc()
    fix: bool
    started_by: str
    phase: RunPhase = word("stripe")
    cursor: str | None = None  # phase `stripe`: refunds created from this time on are done; `open`: ids up to this one
    counts: dict[str, int] = json_object()
    differing: int | None = None  # rows that differ and were not repaired; known at the end
    lease_until: datetime | None = utc(nullable=True)
    created_at: datetime = utc()
    finished_at: datetime | None = utc(nullable=True)


class ReconciliationDifference(StoredRow, table=True):
    """One difference that a run met: its code, its cause in words, its outcome, and the advice for people.

    Ids are kept as words, without foreign keys, since the rows they name may be missing here. Amounts in minor units.
    """

    __tablename__ = "reconciliation_difference"
    __table_args__ = (
        one_of("code", DIFFERENCE_CODES, "code"),
        one_of("outcome", DIFFERENCE_OUTCOMES, "outcome"),
        Index("uq_reconciliation_difference", "run_id", "code", "subject", unique=True),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="reconciliation_run.id", index=True)
    code: DifferenceCode = word()
    subject: str  # Stripe's refund, or ours where Stripe has none: a run that goes on tells nothing twice
    differs: bool
    outcome: DifferenceOutcome = word()
    cause: str = Field(sa_type=Text)
    advice: str | None = Field(default=None, sa_type=Text)
    payment_intent: str | None = None
    charge: str | None = None
    stripe_refund: str | None = None
    refund_id: str | None = None
    return_id: str | None = None
    currency: str | None = None
    amount_here: int | None = Field(default=None, sa_type=BigInteger)
    amount_at_stripe: int | None = Field(default=None, sa_type=BigInteger)
    status_here: str | None = None
    status_at_stripe: str | None = None
    created_at: datetime = utc()
