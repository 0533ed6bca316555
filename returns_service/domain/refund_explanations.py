"""What Stripe says about a refund, explained for people: why it failed, what it waits for, how the money arrives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from returns_service.domain.money import format_amount
from returns_service.domain.refund_attempt import WaitingCode
from returns_service.domain.stripe_objects import RefundSnapshot

# What a person reads first; Stripe's own word travels beside it. https://docs.stripe.com/refunds#failed-refunds
FAILURES = {
    "lost_or_stolen_card": (
        "The card was reported lost or stolen.",
        "Ask the customer for another way, and settle it outside.",
    ),
    "expired_or_canceled_card": (
        "The card is expired or canceled.",
        "Ask the customer for another way, and settle it outside.",
    ),
    "charge_for_pending_refund_disputed": (
        "The customer disputed the payment meanwhile.",
        "Wait for the dispute's end: if it is lost, the customer has the money already.",
    ),
    "insufficient_funds": ("The Stripe balance was too low.", "Top up the Stripe balance, then retry."),
    "declined": ("The customer's bank declined the refund.", "Retry once, or settle it outside."),
    "merchant_request": (
        "It was canceled on the shop's request.",
        "Retry it if that was a mistake, or settle it outside.",
    ),
    "unknown": ("The bank gave no reason.", "Retry once, or settle it outside."),
}

DISPUTE_WON: Final[Mapping[str, str]] = {
    "code": "dispute_won",
    "message": "The dispute ended in the shop's favour: the customer does not have the money.",
    "advice": "Retry it, or settle it outside another way.",
}


def describe_lost(dispute: Mapping[str, Any] | None, captured: int, currency: str) -> Mapping[str, str]:
    """Return why a dispute that ended withdraws a refund: the customer has the money, or some of it.

    `dispute` is what is known of it, its amount and `captured` in minor units.
    """
    known = dispute or {}
    how = "was settled before it was filed" if known.get("status") == "prevented" else "is lost"
    amount = known.get("amount") or captured
    if amount >= captured:
        message = f"The dispute {how}: the bank has given the customer the money back."
        advice = "Settle it outside with the method `dispute`: the customer has the money already."
    else:
        part, whole = format_amount(amount, currency), format_amount(captured, currency)
        message = f"The dispute over {part} of {whole} {how}: the bank has given the customer that much."
        advice = "Settle outside with the method `dispute` what that covers, and what it doesn't by another method."
    return {"code": "dispute_lost", "message": message, "advice": advice}


def describe_arrival(seen: RefundSnapshot) -> dict[str, Any] | None:
    """Return how the customer can trace the money, once the bank gave a reference."""
    if not (seen.arrival_reference or seen.arrival_kind):
        return None
    days = {"reversal": "now", "refund": "5-10 business days"}.get(seen.arrival_kind or "")
    return {"reference": seen.arrival_reference, "kind": seen.arrival_kind, "expected": days}


def describe_next_action(seen: RefundSnapshot) -> dict[str, Any] | None:
    """Return what the customer has to do and until when, without their address.

    https://docs.stripe.com/api/refunds/object#refund_object-next_action
    """
    if seen.status != "requires_action" or seen.next_action is None:
        return None
    details = seen.next_action.get("display_details")
    details = details if isinstance(details, dict) else {}
    sent = details.get("email_sent")
    return {
        "type": kind if isinstance(kind := seen.next_action.get("type"), str) else None,
        "email_sent_at": _unix_time(sent.get("email_sent_at") if isinstance(sent, dict) else None),
        "expires_at": _unix_time(details.get("expires_at")),
    }


def _unix_time(seconds: object) -> str | None:
    """Return Unix seconds as RFC 3339 in UTC; None for what is no time."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if type(seconds) is int else None
    except (ValueError, OverflowError, OSError):
        return None


def waiting_code_of(seen: RefundSnapshot) -> WaitingCode | None:
    """Return what a refund that is open at Stripe waits for."""
    if seen.status == "requires_action":
        return "customer_action"
    if seen.status != "pending":
        return None
    reasons: dict[str, WaitingCode] = {"insufficient_funds": "balance_too_low", "charge_pending": "payment_unsettled"}
    return reasons.get(seen.pending_reason or "", "bank_processing")


def describe_failure(seen: RefundSnapshot) -> dict[str, Any]:
    """Return why Stripe says the refund failed or was canceled, for people."""
    word = seen.failure_reason or ("merchant_request" if seen.status == "canceled" else "unknown")
    message, advice = FAILURES.get(word, FAILURES["unknown"])
    code = "refund_canceled" if seen.status == "canceled" else "refund_failed"
    return {
        "code": code,
        "message": f"{message} The money is back on the Stripe balance.",
        "stripe_code": None,
        "failure_reason": word,
        "advice": advice,
    }
