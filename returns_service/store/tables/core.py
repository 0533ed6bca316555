"""Tables of returns, their money and their history; what the dock counts is in `receipts.py`.

Amounts are minor units, times are UTC. `version` of a return counts its events: it is their sequence and the ETag.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, false
from sqlmodel import Field

from returns_service.domain.refund_status import ENDED, STATUSES, UNANSWERED, RefundStatus
from returns_service.domain.return_machine import STATES, State
from returns_service.domain.vocabulary import (
    REFUND_SOURCES,
    FoldOutcome,
    RecordedEventType,
    RefundSource,
    Resolution,
    SettlementMethod,
)
from returns_service.store.columns import (
    DUE_SQL,
    StoredRow,
    bytewise,
    defer_foreign_keys,
    json_object,
    json_or_null,
    metadata_column,
    minor_units,
    one_of,
    partial,
    utc,
    word,
)
from returns_service.tracing import current_traceparent


class Payment(StoredRow, table=True):
    """One Stripe PaymentIntent, or one bare charge. Its row lock is taken before anything of it is decided."""

    __tablename__ = "payment"
    __table_args__ = (
        CheckConstraint("captured >= 0", name="captured"),
        CheckConstraint("payment_intent IS NOT NULL OR charge IS NOT NULL", name="named"),
        partial("ix_payment_read_due", "read_at", where="read_at IS NOT NULL"),
        partial("ix_payment_disputed", "id", where="disputed"),
        partial("ix_payment_external_open", "id", where="external_open"),
        partial("ix_payment_held_until_read", "id", where="held_until_read"),
    )

    id: str = Field(primary_key=True)
    payment_intent: str | None = Field(default=None, unique=True)
    charge: str | None = Field(default=None, unique=True)
    currency: str
    captured: int = minor_units()
    authorized: int | None = Field(default=None, sa_type=BigInteger)  # what the charge is over; None: not read since
    # What a partial capture gave back of the authorization, in the form that Stripe used before 2025-03-31.basil.
    released: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    amount_refunded: int = minor_units(0)  # as Stripe counts, pending ones included: compared, never trusted
    status: str
    livemode: bool
    connect: bool = False
    disputed: bool = False  # a formal dispute bars refunds
    # A refund made outside waits to be assigned or acknowledged: what is queued is held until then.
    external_open: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    # Stripe tells of more refunded than is known here: nothing is sent before the payment is read, in spite of nothing.
    held_until_read: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    dispute: dict[str, Any] | None = json_or_null()  # {"id", "status", "amount", "answer_by"} of the one that decides
    method: str | None = None  # "Visa ending 4242"
    method_type: str | None = None  # Stripe's `payment_method_details.type`: card, sepa_debit, …
    paid_at: datetime | None = utc(nullable=True)  # when the charge was made: a method's time to refund runs from it
    busy_until: datetime | None = utc(nullable=True)  # a call about it is under way: Stripe locks per charge
    read_at: datetime | None = utc(nullable=True)  # when to list its refunds at Stripe again
    missing_since: datetime | None = utc(nullable=True)  # a read of it is answered: there is no such payment
    # How often Stripe told of the payment itself.
    observations: int = Field(default=0, sa_column_kwargs={"name": "news"})
    created_at: datetime = utc()


# Returns that may wait with their parcel here: few beside all there are.
PARCEL_HERE_STATES: tuple[State, ...] = ("approved", "refunding", "failed")
PARCEL_HERE_SQL = f"arrived_at IS NOT NULL AND state IN ({', '.join(map(repr, PARCEL_HERE_STATES))})"


class ReturnAuthorization(StoredRow, table=True):
    """A return, from the shop's request to the customer's money."""

    __tablename__ = "return_authorization"
    __table_args__ = (
        one_of("state", STATES, "state"),
        CheckConstraint("shipping_amount >= 0", name="shipping_amount"),
        Index("uq_return_slip_code", "slip_code", unique=True),
        Index("ix_return_state", "state", "id"),
        Index("ix_return_currency", "currency", "id"),
        Index("ix_return_updated", "updated_at", "id"),
        partial("ix_return_parcel_here", "id", where=PARCEL_HERE_SQL),
        partial("ix_return_follow_up", "follow_up_at", where="follow_up_at IS NOT NULL"),
        partial("ix_return_overpaid", "overpaid_since", where="overpaid_since IS NOT NULL"),
        partial("ix_return_past_emails", "id", where="past_email_texts IS NOT NULL"),
        partial("ix_return_due_outside", "due_outside_since", where="due_outside_since IS NOT NULL"),
    )

    id: str = Field(primary_key=True)
    order_id: str = Field(index=True)
    payment_id: str = Field(foreign_key="payment.id", index=True)
    currency: str
    livemode: bool
    state: State = word("requested")
    reason: str | None = None
    internal_note: str | None = None
    customer_email: str | None = None
    email_text: str | None = Field(default=None, index=True)  # the address as it is compared (`search_text`)
    past_email_texts: list[str] | None = json_or_null()  # addresses before it was corrected, as they are compared
    customer_name: str | None = None
    # Unique; null only where a release before it made the return, until a worker gives it one.
    slip_code: str | None = None
    tracking_numbers: list[str] = json_object(list, server_default=True)
    purchased_at: datetime | None = utc(nullable=True)
    delivered_at: datetime | None = utc(nullable=True)
    shipping_amount: int = minor_units(0)
    shipping_tax_amount: int | None = Field(default=None, sa_type=BigInteger)  # of it
    order_units: int | None = None  # of the whole order, over all its returns
    resolution: Resolution = word("refund", server_default=True)  # of the lines that say nothing else
    policy: dict[str, Any] | None = json_or_null()  # the snapshot, from approval on
    policy_version: str | None = None  # its name; None: not approved, or by a release that named none
    approvals: list[dict[str, Any]] = json_object(list)  # [{by, at, note?, override_reason?}]
    approvals_required: int = 1
    follow_up_at: datetime | None = utc(nullable=True)  # when a refund that a guard barred is tried again
    follow_up_barred: dict[str, Any] | None = json_or_null()  # {code, reason}: on the desk
    overpaid_since: datetime | None = utc(nullable=True)  # a correction left paid units worth less: on the desk
    # The amount due for units that the customer wants no refund for, as last told, and since when: on the desk.
    due_outside: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    due_outside_since: datetime | None = utc(nullable=True)
    # The amount due as refund that the last event told, minor units; None: a release before wrote that event.
    amount_due: int | None = Field(default=None, sa_type=BigInteger)
    arrived_at: datetime | None = utc(nullable=True)  # when the dock first counted something of it, reversed or not
    closed_at: datetime | None = utc(nullable=True)
    details: dict[str, Any] = metadata_column()
    version: int = 0
    created_at: datetime = utc()
    updated_at: datetime = utc()


class ReturnLine(StoredRow, table=True):
    """Units of one SKU that may come back; counts are of standing (not reversed) receipts."""

    __tablename__ = "return_line"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("total_amount >= 0", name="total_amount"),
        CheckConstraint("quantity_ordered IS NULL OR quantity_ordered > 0", name="quantity_ordered"),
        CheckConstraint("inspecting >= 0", name="inspecting"),
    )

    id: str = Field(primary_key=True)
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    position: int
    sku: str
    title: str | None = None
    reason: str | None = None
    order_line: str | None = Field(default=None, index=True)
    quantity_ordered: int | None = None
    quantity: int
    total_amount: int = minor_units()  # what the customer paid for these units: discounts in, tax in
    accepted: dict[str, int] = json_object()  # condition -> units
    rejected: dict[str, int] = json_object()  # condition -> units
    inspecting: int = 0
    barcodes: list[str] | None = json_or_null()  # what a scan may read instead of the SKU
    resolution: Resolution = word("refund", server_default=True)
    tax_amount: int | None = Field(default=None, sa_type=BigInteger)  # of `total_amount`


class SearchWord(StoredRow, table=True):
    """A word by whose prefixes a return is found."""

    __tablename__ = "search_word"
    __table_args__ = (Index("ix_search_word_word", "word", "return_id"),)

    return_id: str = Field(primary_key=True, foreign_key="return_authorization.id")
    word: str = bytewise(primary_key=True)


UNANSWERED_SQL = f"status IN ({', '.join(repr(s) for s in UNANSWERED)})"
UNRESOLVED_SQL = f"status IN ({', '.join(repr(s) for s in ENDED)}) AND superseded_at IS NULL"


class Refund(StoredRow, table=True):
    """One intent to move money, and a row of the worker's queue: when it is due next, under which lease."""

    __tablename__ = "refund"
    __table_args__ = (
        one_of("status", STATUSES, "status"),
        one_of("source", REFUND_SOURCES, "source"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("generation > 0", name="generation"),
        # Two clicks can't both queue a refund of one return. Never a bar to what Stripe says: it has no such statuses.
        partial("uq_refund_unanswered", "return_id", where=f"return_id IS NOT NULL AND {UNANSWERED_SQL}", unique=True),
        partial("ix_refund_due", "next_attempt_at", "id", where=DUE_SQL),
        Index("ix_refund_status", "status", "id"),
        Index("ix_refund_updated", "updated_at", "id"),
        partial("ix_refund_unresolved", "id", where=UNRESOLVED_SQL),
        partial("ix_refund_superseded", "superseded_at", where="superseded_at IS NOT NULL"),
        partial("ix_refund_acknowledged", "acknowledged_at", where="acknowledged_at IS NOT NULL"),
        partial("ix_refund_at_stripe", "stripe_created_at", "id", where="stripe_created_at IS NOT NULL"),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payment.id", index=True)
    return_id: str | None = Field(default=None, foreign_key="return_authorization.id", index=True)
    source: RefundSource = word()
    status: RefundStatus = word()
    amount: int = minor_units()
    currency: str
    livemode: bool
    reason: str | None = None  # Stripe's code
    note: str | None = None  # the caller's words
    breakdown: list[dict[str, Any]] = json_object(list)  # rows that sum to the amount
    taxes: list[int] | None = json_or_null()  # the tax in each row; None: in none
    details: dict[str, Any] = metadata_column()
    created_by: str
    created_at: datetime = utc()
    updated_at: datetime = utc()
    # What a person decided beyond what was due anyway: it counts against what one person may decide alone.
    decided_amount: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    # Over that limit, and no second person has agreed: never sent while it is so.
    unapproved: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    approved_by: str | None = None  # the second person
    approved_at: datetime | None = utc(nullable=True)
    # what Stripe is asked
    generation: int = 1  # the key is `<id>:<generation>`
    parameters: dict[str, Any] = json_object()  # exactly what is sent under this generation's key
    past_parameters: list[dict[str, Any]] = json_object(list)  # of earlier generations, with their times
    first_attempt_at: datetime | None = utc(nullable=True)  # of this generation
    attempts: int = 0
    failures_in_a_row: int = Field(default=0, sa_column_kwargs={"name": "tries"})  # what the back-off counts
    ever_unknown: bool = False
    lookups_only: bool = False  # a stored 500 is replayed: asking again says nothing new
    # the queue
    next_attempt_at: datetime | None = utc(nullable=True)
    next_is_read: bool = False  # a fresh read was asked for by news
    lease_until: datetime | None = utc(nullable=True)
    lease_token: int = 0
    # How often Stripe told of it: a read is fresh if this has not grown since its claim.
    observations: int = Field(default=0, sa_column_kwargs={"name": "news"})
    # what Stripe said
    stripe_refund: str | None = Field(default=None, unique=True)
    stripe_created_at: datetime | None = utc(nullable=True)  # its place in Stripe's list: what a comparison goes by
    failure: dict[str, Any] | None = json_or_null()
    arrival: dict[str, Any] | None = json_or_null()
    next_action: dict[str, Any] | None = json_or_null()  # {"type", "email_sent_at", "expires_at"}, with requires_action
    waiting_code: str | None = None  # what it waits for, as a code; `return_case/waiting.py` makes the sentence
    waiting_detail: str | None = None  # what the sentence quotes
    waits_for: str | None = None  # a sentence that a release before these codes wrote
    # how it ended otherwise
    superseded_at: datetime | None = utc(nullable=True)
    superseded_by: str | None = Field(default=None, foreign_key="refund.id")
    supersedes: str | None = Field(default=None, foreign_key="refund.id")  # a failed one, whole or in part
    # Of a failed one: what no part has paid and is still due; None: nobody has worked it out, all of it.
    amount_open: int | None = Field(default=None, sa_type=BigInteger)
    overrides_hold: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # decided in spite of one
    acknowledged_at: datetime | None = utc(nullable=True)  # of one made outside: it is of no return
    duplicate_of: str | None = Field(default=None, foreign_key="refund.id")
    method: SettlementMethod | None = word(None)  # settled outside
    reference: str | None = None
    # The span that decided it: a worker's call and Stripe's webhook go on with its trace. None: traces are off.
    traceparent: str | None = Field(default_factory=current_traceparent)


class RefundWord(StoredRow, table=True):
    """A word by which a refund is found: one of its metadata."""

    __tablename__ = "refund_word"
    __table_args__ = (Index("ix_refund_word_word", "word", "refund_id"),)

    refund_id: str = Field(primary_key=True, foreign_key="refund.id", ondelete="CASCADE")
    word: str = bytewise(primary_key=True)


class Event(StoredRow, table=True):
    """What happened to what, who did it, and when: append-only."""

    __tablename__ = "event"
    __table_args__ = (
        Index("uq_event_sequence", "return_id", "sequence", unique=True),
        Index("ix_event_type", "type", "position"),
        partial("ix_event_unplaced", "id", where="position IS NULL"),
    )

    id: str = Field(primary_key=True)
    # Given after commit, by who reads the feed: a number drawn inside a transaction could become visible after a
    # higher one, and a reader would skip it for ever.
    position: int | None = Field(default=None, sa_type=BigInteger, unique=True)
    type: RecordedEventType = word()
    return_id: str | None = Field(default=None, foreign_key="return_authorization.id")
    refund_id: str | None = Field(default=None, foreign_key="refund.id", index=True)
    payment_id: str | None = Field(default=None, foreign_key="payment.id", index=True)
    sequence: int | None = None  # per return, from 1
    actor: str
    request_id: str | None = None
    data: dict[str, Any] = json_object()
    created_at: datetime = utc()


class StripeEvent(StoredRow, table=True):
    """The inbox: each Stripe event once, raw."""

    __tablename__ = "stripe_event"
    __table_args__ = (partial("ix_stripe_event_due", "next_attempt_at", where=DUE_SQL),)

    id: str = Field(primary_key=True)
    type: str
    payload: str = Field(sa_type=Text)
    received_at: datetime = utc(index=True)
    processed_at: datetime | None = utc(nullable=True)
    outcome: FoldOutcome | None = word(None)
    error: str | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = utc(nullable=True)


class IdempotencyKey(StoredRow, table=True):
    """A key, the request it came with and the answer it got: one transaction with the effect."""

    __tablename__ = "idempotency_key"

    scope: str = Field(primary_key=True)  # API key, the first one where it was rotated, and path
    key: str = Field(primary_key=True)
    fingerprint: str
    status: int | None = None
    headers: dict[str, str] = json_object()
    body: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = utc(index=True)


class StripePace(StoredRow, table=True):
    """One row: how fast all workers together may write to Stripe, and whether Stripe is down."""

    __tablename__ = "stripe_pace"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True)
    writes_a_second: float
    next_slot_at: datetime = utc()
    slowed_at: datetime | None = utc(nullable=True)  # the last 429
    failures: int = 0  # in a row, without a success
    open_until: datetime | None = utc(nullable=True)  # the breaker: no calls before this
    open_reason: str | None = None


class Sweep(StoredRow, table=True):
    """How far a sweep has come, so that a restart goes on there."""

    __tablename__ = "sweep"

    name: str = Field(primary_key=True)
    cursor: str | None = None
    done_at: datetime | None = utc(nullable=True)  # when it last got through; at first, when it began
    next_at: datetime = utc()
    lease_until: datetime | None = utc(nullable=True)


defer_foreign_keys(
    "return_authorization",
    "return_line",
    "search_word",
    "refund",
    "refund_word",
    "event",
)
