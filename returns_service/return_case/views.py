"""Rows as the API and the outgoing events show them, field by field. A row itself never leaves the service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from returns_service.domain.policy import to_dict
from returns_service.domain.refund_status import OPEN
from returns_service.return_case.case import ReturnCase, counted
from returns_service.return_case.locked_payment import refundable
from returns_service.return_case.waiting import describe_waiting, waiting_code
from returns_service.store.tables import Event, Payment, Receipt, ReceiptLine, Refund, UndeclaredItem

Answer = dict[str, Any]


def rfc3339(time: datetime | None) -> str | None:
    """Return a time as RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if time else None


def show_return(case: ReturnCase) -> Answer:
    """Return a return with what can be done next, what can't, and why."""
    row, refunds = case.row, case.refunds
    paid = [(item, refund) for refund in refunds if refund.status == "succeeded" for item in refund.breakdown]
    failed = case.unresolved()
    return {
        "id": row.id,
        "object": "return",
        "created": rfc3339(row.created_at),
        "updated": rfc3339(row.updated_at),
        "livemode": row.livemode,
        "order_id": row.order_id,
        "payment": case.payment.id,
        "payment_intent": case.payment.payment_intent,
        "charge": case.payment.charge,
        "currency": row.currency,
        "state": row.state,
        "reason": row.reason,
        "customer_email": row.customer_email,
        "purchased_at": rfc3339(row.purchased_at),
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
        "undeclared": [show_undeclared(item) for item in case.undeclared if is_standing(case, item)],
        "amount_authorized": sum(line.total_amount for line in case.lines) + row.shipping_amount,
        "amount_estimated": case.estimate,
        "amount_due": case.due,
        "amount_open": sum(r.amount for r in refunds if r.status in OPEN),
        "amount_refunded": sum(r.amount for r in refunds if r.status == "succeeded"),
        "amount_settled_outside": sum(r.amount for r in refunds if r.status == "settled_outside"),
        "approvals": row.approvals,
        "approvals_required": row.approvals_required,
        "closed_at": rfc3339(row.closed_at),
        "failure": show_failure(failed[-1]) if row.state == "failed" and failed else None,
        "refund_barred": row.follow_up_barred,
        "available_actions": case.available(),
        "barred_actions": case.barred(),
        "policy": to_dict(case.policy),
        "version": row.version,
        "metadata": row.details,
    }


def is_standing(case: ReturnCase, item: UndeclaredItem) -> bool:
    """Return whether the receipt that counted the item has not been reversed."""
    return any(r.id == item.receipt_id and r.reversed_at is None for r in case.receipts)


def show_failure(refund: Refund) -> Answer:
    """Return why a refund failed, in plain words."""
    failure = refund.failure or {}
    return {
        "code": failure.get("code", refund.status),
        "message": failure.get("message", "The refund ended without the money arriving."),
        "advice": failure.get("advice"),
        "refund": refund.id,
    }


def show_refund(refund: Refund, payment: Payment) -> Answer:
    """Return one intent to move money and what became of it."""
    return {
        "id": refund.id,
        "object": "refund",
        "created": rfc3339(refund.created_at),
        "updated": rfc3339(refund.updated_at),
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
        "first_attempt_at": rfc3339(refund.first_attempt_at),
        "next_attempt_at": rfc3339(refund.next_attempt_at),
        "waiting_code": waiting_code(refund),
        "waits_for": describe_waiting(refund),
        "superseded_by": refund.superseded_by,
        "superseded_at": rfc3339(refund.superseded_at),
        "duplicate_of": refund.duplicate_of,
        "arrival": refund.arrival,
        "metadata": refund.details,
    }


def show_payment(payment: Payment, refunds: list[Refund]) -> Answer:
    """Return a payment with what is refunded, reserved and left, minor units."""
    return {
        "id": payment.id,
        "object": "payment",
        "created": rfc3339(payment.created_at),
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
        "refunds": [show_refund(refund, payment) for refund in refunds],
    }


def show_receipt(receipt: Receipt, lines: list[ReceiptLine], undeclared: list[UndeclaredItem]) -> Answer:
    """Return one count at the dock."""
    return {
        "id": receipt.id,
        "object": "receipt",
        "created": rfc3339(receipt.created_at),
        "return": receipt.return_id,
        "received_by": receipt.received_by,
        "scan_id": receipt.scan_id,
        "reversed": receipt.reversed_at is not None,
        "reversed_at": rfc3339(receipt.reversed_at),
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
        "undeclared": [show_undeclared(item) for item in undeclared if item.receipt_id == receipt.id],
    }


def show_undeclared(item: UndeclaredItem) -> Answer:
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
        "decided_at": rfc3339(item.decided_at),
    }


def show_event(event: Event) -> Answer:
    """Return one entry of the history."""
    return {
        "id": event.id,
        "object": "event",
        "created": rfc3339(event.created_at),
        "type": event.type,
        "return": event.return_id,
        "refund": event.refund_id,
        "payment": event.payment_id,
        "actor": event.actor,
        "request_id": event.request_id,
        "sequence": event.sequence,
        "data": event.data,
    }
