"""What a return, a refund and a payment look like: in one file, since `expand[]` shows each inside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from returns_service.domain.refund_attempt import RefundWaitingCode
from returns_service.domain.refund_status import RefundStatus
from returns_service.domain.refund_windows import RefundWarningCode
from returns_service.domain.return_machine import PublicTrigger, State
from returns_service.domain.vocabulary import BreakdownKind, RefundSource, Resolution, SettlementMethod
from returns_service.return_case.views.event_view import EventView
from returns_service.return_case.views.fields import (
    ChargeId,
    Count,
    Currency,
    PaymentId,
    PaymentIntentId,
    PolicyVersionId,
    RefundId,
    ReturnId,
    ReturnLineId,
    SlipCode,
    StripeRefundId,
    Time,
    minor_units,
)
from returns_service.return_case.views.receipt_view import UndeclaredItemView


class ReturnLineView(Struct, kw_only=True, tag_field="object", tag="return_line"):
    """Units of one SKU that may come back."""

    id: ReturnLineId
    sku: str
    title: str | None
    reason: str | None
    order_line: str | None
    quantity_ordered: Count | None
    barcodes: list[str]
    quantity: Count
    total_amount: Annotated[int, minor_units("What the customer paid for these units.")]
    tax_amount: Annotated[int | None, minor_units("The tax in it.")]
    received_quantity: Count
    accepted_quantity: Count
    rejected_quantity: Count
    inspecting_quantity: Count
    refunded_amount: Annotated[int, minor_units("Refunded for this line.")]
    resolution: Annotated[Resolution, Meta(description="What the customer wants for units that are not paid yet.")]


class ApprovalView(Struct, kw_only=True):
    """One person's approval, or the policy's."""

    by: str
    at: Time
    note: str | UnsetType = UNSET
    override_reason: str | UnsetType = UNSET
    warning: Annotated[RefundWarningCode, Meta(description="What the approver was warned of.")] | UnsetType = UNSET


class DueBarredView(Struct, kw_only=True):
    """What bars that what is due is refunded by itself, and the two amounts it is about."""

    code: str
    reason: str
    due: Annotated[int, minor_units("What would be refunded.")] | UnsetType = UNSET
    refundable: Annotated[int, minor_units("What the payment has left.")] | UnsetType = UNSET


class ReturnFailureView(Struct, kw_only=True):
    """Why its refund failed."""

    code: str
    message: str
    advice: str | None
    refund: RefundId


class WaitingRefundView(Struct, kw_only=True):
    """What an open refund of the return waits for, and when it is looked at next."""

    refund: RefundId
    status: RefundStatus
    code: Literal[RefundWaitingCode, "worker", "answer"]
    message: str
    next_attempt_at: Time | None


class RefundWarningView(Struct, kw_only=True):
    """Why a refund through Stripe may not be possible."""

    code: RefundWarningCode
    message: str


UnitViews = Mapping[str, ReturnLineView | UndeclaredItemView]  # by id


class ReturnView(Struct, kw_only=True, tag_field="object", tag="return"):
    """A return authorization."""

    id: ReturnId
    created: Time
    updated: Time
    livemode: bool
    order_id: str
    slip_code: Annotated[
        SlipCode | None,
        Meta(description="Null only on a return that the release before made, until a worker has given it one."),
    ]
    tracking_numbers: list[str]
    payment: PaymentId | PaymentView
    payment_intent: PaymentIntentId | None
    charge: ChargeId | None
    currency: Currency
    state: State
    reason: str | None
    customer_email: str | None
    customer_name: str | None
    purchased_at: Time | None
    delivered_at: Time | None
    shipping_amount: Annotated[int, minor_units("What the customer paid for the order's shipping.")]
    shipping_tax_amount: Annotated[int | None, minor_units("The tax in it.")]
    order_units: Annotated[int, Meta(ge=0, description="Of the whole order, over all its returns.")] | None
    resolution: Annotated[Resolution, Meta(description="What the customer wants; a line may say otherwise.")]
    internal_note: str | None
    lines: list[ReturnLineView]
    undeclared: list[UndeclaredItemView]
    amount_authorized: Annotated[int, minor_units("What the lines and shipping cost.")]
    amount_estimated: Annotated[int, minor_units("What is refunded if all comes back as new.")]
    amount_estimated_outside: Annotated[int, minor_units("What is then due as store credit or in an exchange.")]
    amount_due: Annotated[int, minor_units("What is still to be refunded for what was received.")]
    amount_due_outside: Annotated[int, minor_units("What is still to be settled outside, for units not refunded.")]
    amount_open: Annotated[int, minor_units("On its way.")]
    amount_refunded: Annotated[int, minor_units("Refunded through Stripe.")]
    amount_settled_outside: Annotated[int, minor_units("Paid by other means.")]
    amount_waived: Annotated[int, minor_units("Given up, by the reductions of what was paid.")]
    overpaid_amount: Annotated[int, minor_units("Paid, or in doubt, beyond the return's worth: told, never taken.")]
    approvals: list[ApprovalView]
    approvals_required: Count
    closed_at: Time | None
    failure: ReturnFailureView | None
    refund_barred: DueBarredView | None
    refunds_waiting: Annotated[
        list[WaitingRefundView], Meta(description="Its open refunds, the oldest first, and what each waits for.")
    ]
    refund_deadline: Annotated[
        Time | None, Meta(description="Until then its payment method can be refunded; null: no limit known, or never.")
    ]
    refund_warning: RefundWarningView | None
    available_actions: list[PublicTrigger]
    barred_actions: Annotated[dict[PublicTrigger, str], Meta(description="What can't be done now, and why.")]
    policy: Annotated[
        dict[str, Any], Meta(description="The policy it was approved under; before that, the one in force.")
    ]
    policy_version: Annotated[
        PolicyVersionId | None, Meta(description="The version of the policy it was approved under; null before.")
    ]
    version: Annotated[int, Meta(ge=1, description="Its ETag.")]
    metadata: dict[str, str]
    refunds: Annotated[list[RefundView], Meta(description="Only with `expand[]=refunds`.")] | UnsetType = UNSET
    events: (
        Annotated[list[EventView], Meta(description="Only with `expand[]=events`: the last 10, the oldest first.")]
        | UnsetType
    ) = UNSET
    has_more_events: (
        Annotated[bool, Meta(description="Whether there are events before those: `GET /v1/returns/{id}/events`.")]
        | UnsetType
    ) = UNSET


class RefundFailureView(Struct, kw_only=True):
    """Why it failed, in plain words, and what to do."""

    code: str
    message: str
    stripe_code: str | None
    failure_reason: str | None
    advice: str | None
    by: str | UnsetType = UNSET


class BreakdownRowView(Struct, kw_only=True):
    """A part of the amount; the parts sum to it."""

    kind: BreakdownKind
    line: ReturnLineId | None
    units: Count
    amount: Annotated[int, minor_units("Negative where it is taken away.")]
    tax_amount: Annotated[int, minor_units("The tax in it.")]
    description: str
    adjustment: bool


class ArrivalView(Struct, kw_only=True):
    """How the customer can trace it."""

    reference: str | None
    kind: str | None
    expected: str | None


class NextActionView(Struct, kw_only=True):
    """What the customer has to do before the bank moves the money."""

    type: str | None
    email_sent_at: Time | None
    expires_at: Annotated[Time | None, Meta(description="Without an answer by then Stripe cancels the refund.")]


class RefundView(Struct, kw_only=True, tag_field="object", tag="refund", rename={"return_": "return"}):
    """One intent to move money, and what became of it."""

    id: RefundId
    created: Time
    updated: Time
    livemode: bool
    return_: ReturnId | ReturnView | None
    payment: PaymentId | PaymentView
    payment_intent: PaymentIntentId | None
    charge: ChargeId | None
    amount: Annotated[int, minor_units("What is moved.")]
    tax_amount: Annotated[int, minor_units("The tax in it, as far as the return's lines tell theirs.")]
    currency: Currency
    reason: str | None
    note: str | None
    status: RefundStatus
    source: RefundSource
    method: SettlementMethod | None
    reference: str | None
    stripe_refund: StripeRefundId | None
    failure: RefundFailureView | None
    breakdown: list[BreakdownRowView]
    attempts: Count
    generation: Count
    first_attempt_at: Time | None
    next_attempt_at: Time | None
    waiting_code: RefundWaitingCode | None
    waits_for: str | None
    approved_by: Annotated[str | None, Meta(description="The second person, where it needed one.")]
    approved_at: Time | None
    amount_open: Annotated[int, minor_units("Of a failed one: what is neither paid otherwise nor given up.")]
    superseded_by: RefundId | None
    superseded_at: Time | None
    supersedes: Annotated[RefundId | None, Meta(description="The failed refund whose place it takes, or a part.")]
    duplicate_of: RefundId | None
    arrival: ArrivalView | None
    next_action: NextActionView | None
    metadata: dict[str, str]


class DisputeView(Struct, kw_only=True):
    """A dispute of a payment, or an inquiry about it (`warning_…`)."""

    id: str
    status: str
    amount: Annotated[int, minor_units("What is disputed.")]
    answer_by: Time | UnsetType | None = UNSET


class PaymentView(Struct, kw_only=True, tag_field="object", tag="payment"):
    """A Stripe payment and what is left of it."""

    id: PaymentId
    created: Time
    livemode: bool
    payment_intent: PaymentIntentId | None
    charge: ChargeId | None
    currency: Currency
    status: str
    method: str | None
    captured: Annotated[int, minor_units("Captured.")]
    released: Annotated[int, minor_units("What a partial capture gave back, where Stripe keeps it as a refund.")]
    refunded: Annotated[int, minor_units("Refunded.")]
    reserved: Annotated[int, minor_units("On its way.")]
    refundable: Annotated[int, minor_units("Left; below zero while an overtaken refund has not failed yet.")]
    disputed: bool
    dispute: DisputeView | None
    refunds: list[RefundView]
