"""What the desk says about what is held: due, or decided, and not sent until something else is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from returns_service.domain import return_machine
from returns_service.domain.return_machine import Facts
from returns_service.domain.vocabulary import DeskAction
from returns_service.queries.desk import DeskEntry
from returns_service.queries.desk_explanation import Explanation
from returns_service.queries.system_health import SystemHealth
from returns_service.return_case.waiting import HOLDS
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund

READ_BY_ITSELF = (
    "It is read by itself as long as a worker runs and Stripe answers; then it goes on, or a person is asked."
)
OTHER_ACCOUNT = "Check which Stripe account and mode STRIPE_SECRET_KEY belongs to. It is asked again by itself."


def refund_of(entry: DeskEntry) -> tuple[Refund, Payment]:
    """Return the refund that a thing on the desk is about, and its payment. Raises LookupError where it has none."""
    if entry.refund is None:
        raise LookupError(f"{entry.id} is of a refund and came without it")
    return entry.refund, payment_of(entry)


def payment_of(entry: DeskEntry) -> Payment:
    """Return the payment that a thing on the desk is about. Raises LookupError where it has none."""
    if entry.payment is None:
        raise LookupError(f"{entry.id} is of a payment and came without it")
    return entry.payment


def describe_barred(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    """Return what bars the refund of what a return is due, and what gets it on."""
    barred = (entry.case.follow_up_barred if entry.case else None) or {}
    due = due_amount(entry)
    facts: dict[str, Any] = {"amount": due}
    if entry.payment is not None and entry.payment.disputed:
        facts["answer_by"] = _answer_by(entry.payment)
        advice = f"{_on_the_dispute(entry.payment)} It is refunded by itself once the dispute is won."
    elif barred.get("code") == "failed_refund_open":
        advice = "Settle it outside with the method `waived` if it stays taken off, or refund it after all."
    elif barred.get("code") == "external_refund_open" and entry.payment is not None and entry.payment.held_until_read:
        return _describe_unread(entry.payment, ways_out(entry), facts)
    elif barred.get("code") == "external_refund_open":
        advice = "Assign that refund to its return, or acknowledge it: what is due after that is refunded by itself."
    else:
        advice = (
            "It is tried again by itself when the payment has more left. Or refund what is left, or settle it outside."
        )
    return Explanation(
        barred.get("code", "barred"),
        barred.get("reason", "A refund is due and can't be made."),
        advice,
        ways_out(entry),
        facts,
    )


def _describe_unread(
    payment: Payment, actions: Sequence[DeskAction], facts: Mapping[str, Any] | None = None
) -> Explanation:
    """Return what a hold until a read waits for: Stripe may say that there is nothing to read."""
    if payment.missing_since is None:
        return Explanation("payment_unread", HOLDS["payment_unread"], READ_BY_ITSELF, actions, facts or {})
    message = f"{HOLDS['payment_unread']} But Stripe says it knows no such payment."
    return Explanation("payment_missing", message, OTHER_ACCOUNT, actions, facts or {})


def _answer_by(payment: Payment) -> str | None:
    """Return until when the payment's dispute waits for the shop's evidence; None: there is nothing to send."""
    by: str | None = (payment.dispute or {}).get("answer_by")
    return by


def _on_the_dispute(payment: Payment) -> str:
    by = _answer_by(payment)
    if by is None:
        return "The bank decides the dispute; see Stripe's Dashboard."
    return f"Answer the dispute in Stripe's Dashboard before {to_the_minute(by)}: without an answer it is lost."


def to_the_minute(time: str) -> str:
    """Return an RFC 3339 time in UTC as people read it, to the minute."""
    return f"{time[:10]}, {time[11:16]} UTC"


def due_amount(entry: DeskEntry) -> int:
    """Return the amount whose refund is barred, minor units."""
    barred = (entry.case.follow_up_barred if entry.case else None) or {}
    return int(barred.get("due", 0))


def ways_out(entry: DeskEntry) -> list[DeskAction]:
    """Return what gets a barred refund on: less of it from the payment, or all of it by other means."""
    case = entry.whole
    if case is None:
        return []
    facts = case.facts()
    less = replace(facts, amount=max(0, min(facts.amount, case.refundable)))
    ways: list[tuple[Literal["refund", "settle_outside"], Facts]] = [("refund", less)]
    if not facts.due_outside:  # else that is settled first
        ways.append(("settle_outside", facts))
    return [way for way, facts in ways if way in return_machine.available(case.row.state, facts)]


def describe_held(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    """Return what holds a refund that is decided and not sent."""
    refund, payment = refund_of(entry)
    if not payment.disputed and payment.held_until_read:
        return _describe_unread(payment, ["cancel"] if refund.status == "queued" else [])
    if not payment.disputed:
        return Explanation(
            "external_refund_open",
            "A refund made outside this service waits for a person: this refund is held, and nothing has moved.",
            "Assign that refund to its return, or acknowledge it. Or cancel this one, and refund with an override.",
            ["cancel"] if refund.status == "queued" else [],
        )
    return Explanation(
        "payment_disputed",
        "The payment is disputed: this refund is held, and nothing has moved.",
        f"{_on_the_dispute(payment)} Won, it is sent by itself; lost, settle it outside as `dispute`.",
        ["cancel"] if refund.status == "queued" else [],
        {"answer_by": _answer_by(payment)},
    )
