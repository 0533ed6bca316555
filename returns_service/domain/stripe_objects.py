"""What Stripe can say, in our own words: the only form in which the rest of the code meets Stripe.

Amounts are minor units, times are timezone-aware UTC, statuses are Stripe's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# The events that a webhook endpoint at Stripe has to send us.
NEEDED_EVENTS = (
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.captured",
    "charge.updated",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)


@dataclass(frozen=True, slots=True)
class RefundSnapshot:
    """A refund as Stripe holds it, from an answer, a list or a webhook."""

    id: str
    status: str  # pending, requires_action, succeeded, failed, canceled
    amount: int
    currency: str
    payment_intent: str | None
    charge: str | None
    created: datetime
    reason: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str | None = None  # expired_or_canceled_card, declined, … with failed and canceled only
    pending_reason: str | None = None  # processing, insufficient_funds, charge_pending
    next_action: Mapping[str, Any] | None = None  # what the customer must do, with requires_action
    arrival_reference: str | None = None  # the bank's reference (ARN), once known
    arrival_kind: str | None = None  # refund, reversal, pending: how a card refund travels
    replayed: bool = False  # a stored answer: the refund as it was when the key was first used, not as it is now


@dataclass(frozen=True, slots=True)
class DisputeSnapshot:
    """A dispute or an inquiry (`warning_*`)."""

    id: str
    status: str  # needs_response, under_review, won, lost, warning_…
    charge: str
    payment_intent: str | None
    amount: int
    currency: str
    bars_refunds: bool  # formal and not won: Stripe's `is_charge_refundable` is false
    answer_by: datetime | None = None  # to be answered by then, or it is lost; None: it waits for no answer


DISPUTE_ENDS = ("won", "lost", "prevented", "warning_closed")


def may_be_older(news: str, known: str | None) -> bool:
    """Return whether a dispute's status may be older than the known one: then only a read tells.

    An inquiry comes before its formal dispute, and that before its appeal. An end may turn, or its news come late.
    """
    if known is None or known in DISPUTE_ENDS:
        return known is not None
    if known.startswith("appeal_"):
        return not news.startswith("appeal_")
    return news.startswith("warning_") and not known.startswith("warning_")


def gave_money_back(status: str | None, *, bars_refunds: bool) -> bool:
    """Return whether a dispute has ended with the money at the customer: lost, or settled before it was filed."""
    return status == "lost" or (status == "prevented" and bars_refunds)


@dataclass(frozen=True, slots=True)
class PaymentSnapshot:
    """A PaymentIntent with its charge and *all* refunds, or a bare charge (`payment_intent` None)."""

    payment_intent: str | None
    charge: str | None
    currency: str
    status: str  # the PaymentIntent's (or the charge's) status
    captured: int  # so far, without what was released
    livemode: bool
    disputed: bool  # by a formal dispute that bars refunds; an inquiry doesn't
    connect: bool  # has a transfer or an application fee
    amount_refunded: int  # as Stripe counts: pending ones too; without `released`
    refunds: tuple[RefundSnapshot, ...] = ()  # without releases
    method: str | None = None  # for people: "Visa ending 4242"
    method_type: str | None = None  # card, sepa_debit, …
    paid_at: datetime | None = None  # when the charge was made
    authorized: int = 0  # what the charge is over, captured or not
    released: int = 0  # kept by Stripe as a refund of what was not captured: no money came back to the customer
    dispute: DisputeSnapshot | None = None  # of all there are, the one that decides


def has_captured(status: str, captured: int) -> bool:
    """Return whether something of a payment can be refunded; `captured` in minor units.

    A PaymentIntent that is captured in parts stays in `requires_capture` meanwhile, and can be refunded up to what is
    captured: https://docs.stripe.com/payments/multicapture.
    """
    return captured > 0 and status in ("succeeded", "requires_capture")


def describe_unpaid(status: str) -> str:
    """Return why a payment in this status can't be refunded, and what to do: one or two sentences for people."""
    return {
        "canceled": "The payment was canceled, and nothing of it was captured: there is nothing to refund.",
        "processing": "The payment is still processing: bank debits take days. Ask again once it succeeded.",
        "requires_capture": "Nothing of the payment is captured yet: capture it first, or cancel it.",
        "failed": "The payment failed: there is nothing to refund.",
    }.get(status, f"The customer has not paid: the payment is `{status}`.")


@dataclass(frozen=True, slots=True)
class ChargeSnapshot:
    """A charge as a webhook tells it: without its refunds."""

    id: str
    payment_intent: str | None
    currency: str
    captured: int
    amount_refunded: int


@dataclass(frozen=True, slots=True)
class ListedCharge:
    """A charge in Stripe's list, as far as sums need it."""

    created: datetime
    currency: str
    captured: int  # minor units; 0 unless it succeeded


@dataclass(frozen=True, slots=True)
class StripeEventData:
    """One Stripe event; `object` is None where its type says nothing about refunds."""

    id: str
    type: str
    created: datetime
    livemode: bool
    account: str | None
    object: RefundSnapshot | ChargeSnapshot | DisputeSnapshot | None
    raw: str  # the body as received
    names: tuple[str | None, str | None] = (None, None)  # PaymentIntent and charge, where its object can't be read
    unreadable: str | None = None  # why a genuine event couldn't be understood; it is kept and shown all the same


@dataclass(frozen=True, slots=True)
class Refused:
    """A known, final no: nothing moved under this key. `may_pass` tells a no that a later key may turn."""

    code: str  # Stripe's code, or `over_refund` for the answer that has none
    message: str  # Stripe's own words
    advice: str  # ours, for people: what to do
    http_status: int
    request_id: str | None = None
    may_pass: bool = False  # balance_insufficient: not moved, may pass later with a new key
    reread: bool = False  # charge_already_refunded, over-refund, disputed: the payment changed behind our back


@dataclass(frozen=True, slots=True)
class TryLater:
    """Nothing was executed: rate limits, a key in use, no connection, a bad key. The same key may be sent again."""

    code: str
    message: str
    after_seconds: float | None = None  # Stripe's wish, where it said one
    everyone: bool = False  # not this refund's fault (401, 403, no connection): all calls should pause
    slow_down: bool = False  # 429 `rate_limit`: send fewer calls
    refuses_us: bool = False  # 401, 403: the key is not known, expired, or may not make this call
    key_refused: bool = False  # 401: not this call alone
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none that can be believed: the money may or may not have moved."""

    code: str
    message: str
    replayed: bool = False  # a stored 500 came back with `Idempotent-Replayed: true`: asking again says nothing new
    request_id: str | None = None
    after_seconds: float | None = None  # Stripe's wish, where a 5xx said one


@dataclass(frozen=True, slots=True)
class Missing:
    """Stripe knows no such object."""

    message: str
