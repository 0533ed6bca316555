"""A refund as it is answered: one intent to move money, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from returns_service.domain.money import Row
from returns_service.return_case.rows import open_amount, rows_of
from returns_service.return_case.views.fields import rfc3339
from returns_service.return_case.views.objects import (
    ArrivalView,
    BreakdownRowView,
    NextActionView,
    RefundFailureView,
    RefundView,
)
from returns_service.return_case.waiting import what_it_waits_for
from returns_service.store.tables import Payment, Refund


def show_refund(refund: Refund, payment: Payment) -> RefundView:
    """Return one intent to move money and what became of it."""
    waiting, waits_for = what_it_waits_for(refund, payment)
    return RefundView(
        id=refund.id,
        created=rfc3339(refund.created_at),
        updated=rfc3339(refund.updated_at),
        livemode=refund.livemode,
        return_=refund.return_id,
        payment=payment.id,
        payment_intent=payment.payment_intent,
        charge=payment.charge,
        amount=refund.amount,
        tax_amount=sum(refund.taxes or ()),
        currency=refund.currency,
        reason=refund.reason,
        note=refund.note,
        status=refund.status,
        source=refund.source,
        method=refund.method,
        reference=refund.reference,
        stripe_refund=refund.stripe_refund,
        failure=_show_refund_failure(refund.failure) if refund.failure is not None else None,
        breakdown=show_breakdown(rows_of(refund)),
        attempts=refund.attempts,
        generation=refund.generation,
        first_attempt_at=rfc3339(refund.first_attempt_at),
        next_attempt_at=rfc3339(refund.next_attempt_at),
        waiting_code=waiting,
        waits_for=waits_for,
        approved_by=refund.approved_by,
        approved_at=rfc3339(refund.approved_at),
        amount_open=open_amount(refund),
        superseded_by=refund.superseded_by,
        superseded_at=rfc3339(refund.superseded_at),
        supersedes=refund.supersedes,
        duplicate_of=refund.duplicate_of,
        arrival=msgspec.convert(refund.arrival, ArrivalView | None),
        next_action=msgspec.convert(refund.next_action, NextActionView | None),
        metadata=refund.details,
    )


def _show_refund_failure(failure: Mapping[str, Any]) -> RefundFailureView:
    """Return why a refund failed; an end of our own has no code of Stripe's."""
    usual = dict.fromkeys(("stripe_code", "failure_reason", "advice"))
    return msgspec.convert(usual | dict(failure), RefundFailureView)


def show_breakdown(rows: Iterable[Row]) -> list[BreakdownRowView]:
    """Return the parts of an amount, minor units."""
    return [BreakdownRowView(**row.to_dict(), tax_amount=row.tax_amount) for row in rows]
