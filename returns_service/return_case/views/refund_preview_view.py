"""What a refund of a return would pay now, as it is answered: its rows, and what bars it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from returns_service.domain import money, return_machine
from returns_service.domain.problems import ProblemCode
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.views.fields import Currency, ReturnId, Time, minor_units, rfc3339
from returns_service.return_case.views.objects import BreakdownRowView, RefundWarningView
from returns_service.return_case.views.refund_view import show_breakdown
from returns_service.return_case.views.return_view import show_refund_warning


class RefundBarredView(Struct, kw_only=True):
    """What bars a refund."""

    code: ProblemCode
    message: str


class RefundPreviewView(Struct, kw_only=True, tag_field="object", tag="refund_preview", rename={"return_": "return"}):
    """What a refund would pay now."""

    return_: ReturnId
    amount: Annotated[int, minor_units("What it would pay.")]
    currency: Currency
    breakdown: list[BreakdownRowView]
    refundable: Annotated[int, minor_units("What the payment has left.")]
    barred: RefundBarredView | None
    refund_deadline: Annotated[
        Time | None, Meta(description="Until then its payment method can be refunded; null: no limit known, or never.")
    ]
    refund_warning: RefundWarningView | None


def show_refund_preview(case: ReturnCase) -> RefundPreviewView:
    """Return the breakdown that a refund would pay now, and what bars it, if anything."""
    state, facts = case.row.state, case.facts()
    barring = return_machine.unmet("refund", state, facts)
    barred = None
    if not return_machine.edges("refund", state):
        barred = RefundBarredView(code="invalid_transition", message=f"Not possible while the return is {state}.")
    elif barring:
        barred = RefundBarredView(code=barring[0].code, message=barring[0].reason)
    rows = case.due_rows().refund if facts.amount > 0 else []
    return RefundPreviewView(
        return_=case.row.id,
        amount=money.total(rows),
        currency=case.row.currency,
        breakdown=show_breakdown(case.with_taxes(rows)),
        refundable=max(0, case.refundable),
        barred=barred,
        refund_deadline=rfc3339(case.refund_deadline),
        refund_warning=show_refund_warning(case.refund_warning),
    )
