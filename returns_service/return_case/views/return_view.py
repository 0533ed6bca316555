"""A return as it is answered: the decisions, the actions possible now, and why the others are barred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from returns_service.domain import return_machine
from returns_service.domain.policy import to_dict
from returns_service.domain.refund_status import OPEN
from returns_service.domain.refund_windows import RefundWarning
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.rows import counted_units
from returns_service.return_case.views.fields import rfc3339
from returns_service.return_case.views.objects import (
    ApprovalView,
    DueBarredView,
    RefundWarningView,
    ReturnFailureView,
    ReturnLineView,
    ReturnView,
    UnitViews,
    WaitingRefundView,
)
from returns_service.return_case.views.receipt_view import UndeclaredItemView, show_undeclared
from returns_service.return_case.waiting import what_it_waits_for
from returns_service.store.tables import Refund, ReturnLine

USUAL: Mapping[Literal["worker", "answer"], str] = {  # where nothing is in the way
    "worker": "It is not sent yet: a worker sends it, as soon as one runs and Stripe takes calls.",
    "answer": "Stripe has been asked; its answer is not here yet.",
}


def show_lines(case: ReturnCase) -> list[ReturnLineView]:
    """Return the lines of a return, with what of each is counted and refunded."""
    refunded: dict[str | None, int] = {}
    for item in (item for refund in case.refunds if refund.status == "succeeded" for item in refund.breakdown):
        refunded[item["line"]] = refunded.get(item["line"], 0) + item["amount"]
    return [_show_line(line, refunded.get(line.id, 0)) for line in case.lines]


def show_undeclared_items(case: ReturnCase) -> list[UndeclaredItemView]:
    """Return the units that nobody announced, of the receipts that stand."""
    standing = case.standing()
    return [show_undeclared(item) for item in case.undeclared if item.receipt_id in standing]


def show_units(case: ReturnCase) -> UnitViews:
    """Return a return's lines and undeclared items by their ids."""
    return _by_id(show_lines(case), show_undeclared_items(case))


def _by_id(lines: Iterable[ReturnLineView], items: Iterable[UndeclaredItemView]) -> UnitViews:
    return {**{line.id: line for line in lines}, **{item.id: item for item in items}}


def show_change(case: ReturnCase) -> dict[str, Any]:
    """Return what an event keeps of a return: of its lines and items only those that changed since the event before.

    `removed` names the ids of those that are gone since then.
    """
    view, before = show_return(case), case.recorded_units or {}
    case.recorded_units = _by_id(view.lines, view.undeclared)
    view.lines = [line for line in view.lines if before.get(line.id) != line]
    view.undeclared = [item for item in view.undeclared if before.get(item.id) != item]
    removed = sorted(before.keys() - case.recorded_units.keys())
    return {"object": view, "removed": removed} if removed else {"object": view}


def show_return(case: ReturnCase) -> ReturnView:
    """Return a return with what can be done next, what can't, and why."""
    row, refunds = case.row, case.refunds
    facts = case.facts_if_asked()
    failed = case.unresolved_refunds() if row.state == "failed" else []
    barred = return_machine.barred_triggers(row.state, facts)
    return ReturnView(
        id=row.id,
        created=rfc3339(row.created_at),
        updated=rfc3339(row.updated_at),
        livemode=row.livemode,
        order_id=row.order_id,
        slip_code=row.slip_code,
        tracking_numbers=row.tracking_numbers,
        payment=case.payment.id,
        payment_intent=case.payment.payment_intent,
        charge=case.payment.charge,
        currency=row.currency,
        state=row.state,
        reason=row.reason,
        customer_email=row.customer_email,
        customer_name=row.customer_name,
        purchased_at=rfc3339(row.purchased_at),
        delivered_at=rfc3339(row.delivered_at),
        shipping_amount=row.shipping_amount,
        shipping_tax_amount=row.shipping_tax_amount,
        order_units=row.order_units,
        resolution=row.resolution,
        internal_note=row.internal_note,
        lines=show_lines(case),
        undeclared=show_undeclared_items(case),
        amount_authorized=sum(line.total_amount for line in case.lines) + row.shipping_amount,
        amount_estimated=facts.estimate,
        amount_estimated_outside=case.estimate_outside,
        amount_due=facts.due - facts.due_outside,
        amount_due_outside=facts.due_outside,
        amount_open=sum(r.amount for r in refunds if r.status in OPEN),
        amount_refunded=sum(r.amount for r in refunds if r.status == "succeeded"),
        amount_settled_outside=sum(r.amount for r in refunds if r.status == "settled_outside"),
        amount_waived=-sum(part.amount for part in case.committed_rows() if part.kind == "reduction"),
        overpaid_amount=case.overpaid_amount if row.overpaid_since else 0,
        approvals=msgspec.convert(row.approvals, list[ApprovalView]),
        approvals_required=row.approvals_required,
        closed_at=rfc3339(row.closed_at),
        failure=show_failure(failed[-1]) if failed else None,
        refund_barred=msgspec.convert(row.follow_up_barred, DueBarredView | None),
        refunds_waiting=[_show_waiting(refund, case) for refund in refunds if refund.status in OPEN],
        refund_deadline=rfc3339(case.refund_deadline),
        refund_warning=show_refund_warning(case.refund_warning),
        available_actions=return_machine.others_than(barred),
        barred_actions=barred,
        policy=to_dict(case.policy),
        policy_version=row.policy_version,
        version=row.version,
        metadata=row.details,
    )


def _show_waiting(refund: Refund, case: ReturnCase) -> WaitingRefundView:
    code, message = what_it_waits_for(refund, case.payment)
    usual: Literal["worker", "answer"] = "worker" if refund.status == "queued" else "answer"
    return WaitingRefundView(
        refund=refund.id,
        status=refund.status,
        code=code or usual,
        message=message or USUAL[usual],
        next_attempt_at=rfc3339(refund.next_attempt_at),
    )


def show_refund_warning(warning: RefundWarning | None) -> RefundWarningView | None:
    """Return what to know before a refund is promised."""
    return RefundWarningView(code=warning.code, message=warning.message) if warning else None


def _show_line(line: ReturnLine, refunded_amount: int) -> ReturnLineView:
    return ReturnLineView(
        id=line.id,
        sku=line.sku,
        title=line.title,
        reason=line.reason,
        order_line=line.order_line,
        quantity_ordered=line.quantity_ordered,
        barcodes=line.barcodes or [],
        quantity=line.quantity,
        total_amount=line.total_amount,
        tax_amount=line.tax_amount,
        received_quantity=counted_units(line),
        accepted_quantity=sum(line.accepted.values()),
        rejected_quantity=sum(line.rejected.values()),
        inspecting_quantity=line.inspecting,
        resolution=line.resolution,
        refunded_amount=refunded_amount,
    )


def show_failure(refund: Refund) -> ReturnFailureView:
    """Return why a refund failed, in plain words."""
    failure = refund.failure or {}
    return ReturnFailureView(
        code=failure.get("code", refund.status),
        message=failure.get("message", "The refund ended without the money arriving."),
        advice=failure.get("advice"),
        refund=refund.id,
    )
