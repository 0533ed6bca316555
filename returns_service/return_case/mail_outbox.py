"""Mail to customers and staff, written in the transaction of what happened: never lost, never of what is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from returns_service.domain.vocabulary import MailKind, SettlementMethod, StaffMailKind, find_word
from returns_service.store.database import Tx
from returns_service.store.tables import Event, Mail, StaffMail

# Ways in which a customer got what they get. Nothing was given where it is waived; Stripe tells of its own refunds.
TOLD_METHODS: Final[tuple[SettlementMethod, ...]] = ("store_credit", "exchange", "bank_transfer", "cash", "dispute")


def queue_mail(tx: Tx, event: Event) -> None:
    """Write the mails that an event is worth, where mail is on."""
    staff_kind = staff_mail_kind(event.type, event.data)
    if tx.database.mails_staff and staff_kind is not None:
        tx.add(
            StaffMail(
                id=tx.new_id("eml"), event_id=event.id, kind=staff_kind, next_attempt_at=tx.now, created_at=tx.now
            )
        )
    kind = mail_kind(event.type, event.data)
    if tx.database.sends_mail and kind is not None and event.return_id is not None:
        tx.add(
            Mail(
                id=tx.new_id("eml"),
                event_id=event.id,
                return_id=event.return_id,
                kind=kind,
                next_attempt_at=tx.now,
                created_at=tx.now,
            )
        )


def mail_kind(event_type: str, data: Mapping[str, Any]) -> MailKind | None:
    """Return which mail to the customer an event is worth; None for most."""
    trigger, to = data.get("trigger"), data.get("to")
    if event_type == "return.created" and trigger == "create":
        return "requested"
    if event_type == "receipt.created":
        return "received"
    if event_type == "refund.status_changed" and to == "succeeded":
        return "refunded"
    if event_type == "refund.created":
        return "refunded" if settled_by(data) else None
    # Beside another refund that is under way, one that fails leaves the return where it is. What a person withdrew
    # before it was sent has failed nobody: they retry it, or settle it otherwise.
    if trigger == "fail" and to in ("failed", "refunding"):
        return "failed"
    if event_type != "return.state_changed":
        return None
    if trigger == "approve":
        return "approved"
    return "declined" if to == "declined" else None


def settled_by(data: Mapping[str, Any]) -> SettlementMethod | None:
    """Return by which way a customer got what an event of a refund tells of, where that was not by Stripe."""
    refund = data.get("object") or {}
    if refund.get("status") != "settled_outside":
        return None
    return find_word(TOLD_METHODS, refund.get("method"))


def staff_mail_kind(event_type: str, data: Mapping[str, Any]) -> StaffMailKind | None:
    """Return which mail to staff an event is worth; None for most."""
    if event_type == "refund.status_changed" and data.get("to") == "failed":
        return "refund_failed"
    if event_type == "refund.stuck":
        return "refund_stuck"
    return "refund_rate" if event_type == "refund_rate.exceeded" else None
