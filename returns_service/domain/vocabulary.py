"""The closed lists of words that several rooms share: columns, bodies, filters and answers take them from here.

A return's states and triggers are declared in `return_machine`, a refund's statuses in `refund_status`, the codes of
problems in `problems`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar, get_args

EventType = Literal[
    "return.created",
    "return.state_changed",
    "return.updated",
    "return.note_added",
    "return.resolution_due",
    "receipt.created",
    "receipt.reversed",
    "receipt.corrected",
    "refund.created",
    "refund.approved",
    "refund.status_changed",
    "refund.attempt_failed",
    "refund.stuck",
    "payment.updated",
    "payment.overpaid",
    "refund_rate.exceeded",
]
RecordedEventType = Literal[EventType, "ping"]  # `ping` tests one endpoint: in the history, but nobody else is told
Subscription = Literal["*", EventType]
EndpointStatus = Literal["enabled", "disabled"]
DisabledBy = Literal["person", "http_gone", "nothing_arrived"]
DeliveryStatus = Literal["pending", "delivered", "dead"]

Condition = Literal["new", "opened", "damaged", "missing", "wrong_item"]
Disposition = Literal["restock", "inspect", "scrap", "return_to_customer"]
FinalDisposition = Literal["restock", "scrap", "return_to_customer"]  # of units that were inspected
UndeclaredDecision = Literal["accept_as_line", "return_to_customer", "scrap"]

RefundOn = Literal["approval", "receipt", "manual"]
ExternalRefunds = Literal["hold", "ignore"]
ShippingRefunded = Literal["never", "full_return", "always"]
WindowFrom = Literal["purchase", "delivery"]
StripeReason = Literal["requested_by_customer", "duplicate", "fraudulent"]
RefundSource = Literal["return", "standalone", "external"]
SettlementMethod = Literal[
    "bank_transfer", "store_credit", "cash", "exchange", "dashboard_refund", "dispute", "waived"
]  # fmt: skip
Resolution = Literal["refund", "store_credit", "exchange"]  # what the customer wants for their units
AdjustmentKind = Literal["goodwill", "deduction", "shipping"]
BreakdownKind = Literal[
    "line", "restocking_fee", "label", "reduction", "unallocated", "standalone", "exchange_difference", AdjustmentKind
]  # fmt: skip

# Most urgent first: what stops everything, money that may be wrong, customers who wait for us, then for others.
DeskKind = Literal[
    "stripe_refuses",
    "stripe_silent",
    "work_overdue",
    "payment_overpaid",
    "difference",
    "refund_unknown",
    "refund_missing",
    "external_refund",
    "refund_failed",
    "dispute_lost",
    "refund_barred",
    "second_person",
    "resolution_due",
    "return_overpaid",
    "return_to_decide",
    "undeclared_item",
    "unmatched_receipt",
    "refund_unsent",
    "refund_held",
    "refund_rate",
    "stripe_event",
    "webhook_disabled",
    "mail_failed",
    "refund_requires_action",
    "refund_pending",
]
DeskAction = Literal[
    "approve", "decline", "refund", "retry", "settle_outside", "close", "check", "send_again", "cancel", "acknowledge",
    "assign", "reopen",
]  # fmt: skip

MailKind = Literal["requested", "approved", "declined", "received", "refunded", "failed"]
MailText = Literal[MailKind, "settled"]  # `settled`: what was refunded reached the customer another way than by Stripe
StaffMailKind = Literal["refund_failed", "refund_stuck", "refund_rate"]
MailStatus = Literal["pending", "sent", "dropped", "dead"]

FoldOutcome = Literal["folded", "ignored", "other_mode", "unknown_payment", "failed"]  # of one of Stripe's events

RunPhase = Literal["stripe", "open", "done"]
RunStatus = Literal["running", "interrupted", "finished"]
DifferenceCode = Literal[
    "missing_here",
    "missing_at_stripe",
    "other_amount",
    "other_status",
    "two_for_one_intent",
    "external",
    "open",
    "not_rebuilt",
]
DifferenceOutcome = Literal["found", "fixed", "left", "information"]

Scope = Literal["returns:read", "returns:write", "returns:approve", "receipts:write", "refunds:write", "admin"]
Role = Literal["warehouse", "approver", "finance", "admin"]
Way = Literal["password", "link", "badge", "pin", "provider"]  # of signing in

EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
DISABLED_BY: tuple[DisabledBy, ...] = get_args(DisabledBy)
ENDPOINT_STATUSES: tuple[EndpointStatus, ...] = get_args(EndpointStatus)
DELIVERY_STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
EXTERNAL_REFUNDS: tuple[ExternalRefunds, ...] = get_args(ExternalRefunds)
REFUND_ON: tuple[RefundOn, ...] = get_args(RefundOn)
WINDOW_FROM: tuple[WindowFrom, ...] = get_args(WindowFrom)
SHIPPING_REFUNDED: tuple[ShippingRefunded, ...] = get_args(ShippingRefunded)
BREAKDOWN_KINDS: tuple[BreakdownKind, ...] = get_args(BreakdownKind)
STRIPE_REASONS: tuple[StripeReason, ...] = get_args(StripeReason)
REFUND_SOURCES: tuple[RefundSource, ...] = get_args(RefundSource)
MAIL_KINDS: tuple[MailKind, ...] = get_args(MailKind)
MAIL_TEXTS: tuple[MailText, ...] = get_args(MailText)
STAFF_MAIL_KINDS: tuple[StaffMailKind, ...] = get_args(StaffMailKind)
MAIL_STATUSES: tuple[MailStatus, ...] = get_args(MailStatus)
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
DESK_KINDS: tuple[DeskKind, ...] = get_args(DeskKind)
RUN_PHASES: tuple[RunPhase, ...] = get_args(RunPhase)
DIFFERENCE_CODES: tuple[DifferenceCode, ...] = get_args(DifferenceCode)
DIFFERENCE_OUTCOMES: tuple[DifferenceOutcome, ...] = get_args(DifferenceOutcome)
SCOPES: tuple[Scope, ...] = get_args(Scope)
ROLES: tuple[Role, ...] = get_args(Role)
WAYS: tuple[Way, ...] = get_args(Way)

Word = TypeVar("Word", bound=str)


def find_word(words: Iterable[Word], text: object) -> Word | None:
    """Return the word of a closed list that `text` is; None where it is none of them."""
    return next((word for word in words if word == text), None)
