"""Rows as the API and the outgoing events show them, field by field. A row itself never leaves the service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from returns_service.commands.case import Case, counted, refundable
from returns_service.domain.policy import to_dict
from returns_service.domain.refund_status import OPEN
from returns_service.store.tables import Event, Payment, Receipt, ReceiptLine, Refund, UndeclaredItem

Answer = dict[str, Any]


def when(time: datetime | None) -> str | None:
    """Return a time as RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if time else None


def shown_return(case: Case) -> Answer:
    """Return a return with what can be done next, what can't, and why."""
    row, refunds = case.row, case.refunds
    paid = [(item, refund) for refund in refunds if refund.status == "succeeded" for item in refund.breakdown]
    failed = case.unresolved()
    return {
        "id": row.id,
        "object": "return",
        "created": when(row.created_at),
        "updated": when(row.updated_at),
        "livemode": row.livemode,
        "order_id": row.order_id,
        "payment": case.payment.id,
        "payment_intent": case.payment.payment_intent,
        "charge": case.payment.charge,
        "currency": row.currency,
        "state": row.state,
        "reason": row.reason,
        "customer_email": row.customer_email,
        "purchased_at": when(row.purchased_at),
        "shipping_amount": row.shipping_amount,
        "internal_note": row.internal_note,
        "lines": [
            {
                "id": line.id,
                "object": "return_line",
                "sku": line.sku,
                "title": line.title,
                "reason": line.reason,
                "order_line": line.order_line,
                "quantity_ordered": line.quantity_ordered,
                "quantity": line.quantity,
                "total_amount": line.total_amount,
                "received_quantity": counted(line),
                "accepted_quantity": sum(line.accepted.values()),
                "rejected_quantity": sum(line.rejected.values()),
                "inspecting_quantity": line.inspecting,
                "refunded_amount": sum(item["amount"] for item, _ in paid if item["line"] == line.id),
            }
            for line in case.lines
        ],
        "undeclared": [shown_undeclared(item) for item in case.undeclared if stands(case, item)],
        "amount_authorized": sum(line.total_amount for line in case.lines) + row.shipping_amount,
        "amount_estimated": case.estimate,
        "amount_due": case.due,
        "amount_open": sum(r.amount for r in refunds if r.status in OPEN),
        "amount_refunded": sum(r.amount for r in refunds if r.status == "succeeded"),
        "amount_settled_outside": sum(r.amount for r in refunds if r.status == "settled_outside"),
        "approvals": row.approvals,
        "approvals_required": row.approvals_required,
        "closed_at": when(row.closed_at),
        "failure": shown_failure(failed[-1]) if row.state == "failed" and failed else None,
        "refund_barred": row.follow_up_barred,
        "available_actions": case.available(),
        "barred_actions": case.barred(),
        "policy": to_dict(case.policy),
        "version": row.version,
        "metadata": row.details,
    }


def stands(case: Case, item: UndeclaredItem) -> bool:
    """Return whether the receipt that counted the item has not been reversed."""
    return any(r.id == item.receipt_id and r.reversed_at is None for r in case.receipts)


def shown_failure(refund: Refund) -> Answer:
    """Return why a refund failed, in plain words."""
    failure = refund.failure or {}
    return {
        "code": failure.get("code", refund.status),
        "message": failure.get("message", "The refund ended without the money arriving."),
        "advice": failure.get("advice"),
        "refund": refund.id,
    }


def shown_refund(refund: Refund, payment: Payment) -> Answer:
    """Return one intent to move money and what became of it."""
    return {
        "id": refund.id,
        "object": "refund",
        "created": when(refund.created_at),
        "updated": when(refund.updated_at),
        "livemode": refund.livemode,
        "return": refund.return_id,
        "payment": payment.id,
        "payment_intent": payment.payment_intent,
        "charge": payment.charge,
        "amount": refund.amount,
        "currency": refund.currency,
        "reason": refund.reason,
        "note": refund.note,
        "status": refund.status,
        "source": refund.source,
        "method": refund.method,
        "reference": refund.reference,
        "stripe_refund": refund.stripe_refund,
        "failure": refund.failure,
        "breakdown": refund.breakdown,
        "attempts": refund.attempts,
        "generation": refund.generation,
        "first_attempt_at": when(refund.first_attempt_at),
        "next_attempt_at": when(refund.next_attempt_at),
        "waits_for": refund.waits_for,
        "superseded_by": refund.superseded_by,
        "superseded_at": when(refund.superseded_at),
        "duplicate_of": refund.duplicate_of,
        "arrival": refund.arrival,
        "metadata": refund.details,
    }


def shown_payment(payment: Payment, refunds: list[Refund]) -> Answer:
    """Return a payment with what is refunded, reserved and left, minor units."""
    return {
        "id": payment.id,
        "object": "payment",
        "created": when(payment.created_at),
        "livemode": payment.livemode,
        "payment_intent": payment.payment_intent,
        "charge": payment.charge,
        "currency": payment.currency,
        "status": payment.status,
        "method": payment.method,
        "captured": payment.captured,
        "refunded": sum(r.amount for r in refunds if r.status == "succeeded"),
        "reserved": sum(r.amount for r in refunds if r.status in OPEN),
        "refundable": refundable(payment, refunds),
        "disputed": payment.disputed,
        "dispute": payment.dispute,
        "refunds": [shown_refund(refund, payment) for refund in refunds],
    }


def shown_receipt(receipt: Receipt, lines: list[ReceiptLine], undeclared: list[UndeclaredItem]) -> Answer:
    """Return one count at the dock."""
    return {
        "id": receipt.id,
        "object": "receipt",
        "created": when(receipt.created_at),
        "return": receipt.return_id,
        "received_by": receipt.received_by,
        "scan_id": receipt.scan_id,
        "reversed": receipt.reversed_at is not None,
        "reversed_at": when(receipt.reversed_at),
        "reversed_by": receipt.reversed_by,
        "reversed_reason": receipt.reversed_reason,
        "lines": [
            {
                "line": row.line_id,
                "sku": row.sku,
                "quantity": row.quantity,
                "condition": row.condition,
                "disposition": row.disposition,
                "accepted": row.accepted,
            }
            for row in lines
            if row.receipt_id == receipt.id
        ],
        "undeclared": [shown_undeclared(item) for item in undeclared if item.receipt_id == receipt.id],
    }


def shown_undeclared(item: UndeclaredItem) -> Answer:
    """Return units that nobody announced."""
    return {
        "id": item.id,
        "object": "undeclared_item",
        "receipt": item.receipt_id,
        "sku": item.sku,
        "quantity": item.quantity,
        "note": item.note,
        "decision": item.decision,
        "line": item.line_id,
        "decided_by": item.decided_by,
        "decided_at": when(item.decided_at),
    }


def shown_event(event: Event) -> Answer:
    """Return one entry of the history."""
    return {
        "id": event.id,
        "object": "event",
        "created": when(event.created_at),
        "type": event.type,
        "return": event.return_id,
        "refund": event.refund_id,
        "payment": event.payment_id,
        "actor": event.actor,
        "request_id": event.request_id,
        "sequence": event.sequence,
        "data": event.data,
    }
