"""What each type of event means, and what its `data` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from returns_service.domain.refund_status import RefundStatus
from returns_service.domain.return_machine import State
from returns_service.domain.vocabulary import RecordedEventType
from returns_service.return_case.views.fields import Currency, EndpointId, ReceiptId, RefundId, Time, minor_units
from returns_service.return_case.views.objects import PaymentView, RefundView, ReturnView
from returns_service.return_case.views.receipt_view import ReceiptView

FROM = {"from_": "from"}
Removed = (
    Annotated[
        list[Annotated[str, Meta(pattern="^(rli|und)_[0-9a-z]{26}$")]],
        Meta(description="Lines and undeclared items that were told of before and that the return has no longer."),
    ]
    | UnsetType
)

OverrideReason = (
    Annotated[str, Meta(description="Beside `reason`: why in spite of what would have barred it.")] | UnsetType
)


class ReturnCreatedData(Struct, kw_only=True, rename=FROM):
    """The return as it was made, with all its lines."""

    object: ReturnView
    from_: None
    to: State
    trigger: Literal["create"]


class ReturnStateChangedData(Struct, kw_only=True, rename=FROM):
    """The return in its new state with the lines that changed, and the trigger that led there."""

    object: ReturnView
    from_: State
    to: State
    trigger: str
    reason: str | None
    override_reason: OverrideReason = UNSET
    removed: Removed = UNSET


class ReturnUpdatedData(Struct, kw_only=True, rename=FROM):
    """The return as it is now with the lines that changed, or the receipt inspected; what happened stands beside it."""

    object: ReturnView | ReceiptView
    from_: State | UnsetType = UNSET
    to: State | UnsetType = UNSET
    trigger: Annotated[str, Meta(description="What happened, where it led back to the same state.")] | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    override_reason: OverrideReason = UNSET
    changed: Annotated[list[str], Meta(description="The fields that were corrected.")] | UnsetType = UNSET
    inspected: ReceiptId | UnsetType = UNSET
    overpaid_amount: Annotated[int, minor_units("What was acknowledged.")] | UnsetType = UNSET
    removed: Removed = UNSET


class ReturnNoteAddedData(Struct, kw_only=True):
    """The return as it is now, and what a colleague wrote about it."""

    object: ReturnView
    text: str


class ReturnResolutionDueData(Struct, kw_only=True):
    """The return, and what is due for units that the customer wants no refund for."""

    object: ReturnView
    amount_due_outside: Annotated[int, minor_units("To be given as store credit or in an exchange.")]
    removed: Removed = UNSET


class ReceiptCreatedData(Struct, kw_only=True):
    """The count."""

    object: ReceiptView


class ReceiptReversedData(Struct, kw_only=True):
    """The count that was a mistake."""

    object: ReceiptView
    reason: str


class ReceiptCorrectedData(Struct, kw_only=True):
    """The count as it is now, with the lines that changed."""

    object: ReceiptView
    reason: str
    overpaid_amount: Annotated[int, minor_units("Paid on the return, and worth less since.")]


class RefundCreatedData(Struct, kw_only=True):
    """The intent, before Stripe is asked; `found_at`: a refund that somebody else made."""

    object: RefundView
    found_at: Literal["stripe"] | UnsetType = UNSET


class RefundApprovedData(Struct, kw_only=True):
    """The refund, which a second person has agreed to: it is sent now."""

    object: RefundView
    note: str | None


class RefundStatusChangedData(Struct, kw_only=True, rename=FROM):
    """The refund in its new status."""

    object: RefundView
    from_: RefundStatus | None
    to: RefundStatus


class RefundAttemptData(Struct, kw_only=True):
    """The refund after an attempt that settled nothing, and when the next one is made."""

    object: RefundView
    code: str | None
    message: str | None
    next_attempt_at: Time | None


class PaymentUpdatedData(Struct, kw_only=True):
    """The payment as it is now; `acknowledged`: the refund that a person agreed about, with the reason."""

    object: PaymentView
    acknowledged: RefundId | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class PaymentOverpaidData(Struct, kw_only=True):
    """The second refund that was found for one intent."""

    object: RefundView
    found_at: Literal["stripe"]
    duplicate_of: RefundId


class RefundRateData(Struct, kw_only=True):
    """The day (in the policy's zone), what was refunded and charged on it, and the limit it is above.

    `so_far`: the day was not over yet, and more was refunded than the limit allows on a day such as the one before.
    """

    day: Annotated[str, Meta(extra_json_schema={"format": "date"})]
    time_zone: str
    so_far: bool
    currency: Currency
    amount_refunded: Annotated[int, minor_units("What Stripe refunded on the day.")]
    amount_charged: Annotated[int, minor_units("What the day's charges captured.")]
    refund_rate: Annotated[
        float | None, Meta(description="The one divided by the other; null: nothing was charged yet.")
    ]
    refund_rate_alert: Annotated[float, Meta(description="The policy's limit.")]


class PingData(Struct, kw_only=True):
    """The endpoint that is tested."""

    endpoint: EndpointId


@dataclass(frozen=True, slots=True)
class EventKind:
    """What an event of one type says, and what its data holds."""

    meaning: str
    data: type[Struct]


EVENT_KINDS: Mapping[RecordedEventType, EventKind] = {
    "return.created": EventKind("A return was asked for.", ReturnCreatedData),
    "return.state_changed": EventKind("A return has another state.", ReturnStateChangedData),
    "return.updated": EventKind("A return changed, its state did not.", ReturnUpdatedData),
    "return.note_added": EventKind("Somebody wrote a note about a return.", ReturnNoteAddedData),
    "return.resolution_due": EventKind("More is due as store credit or in an exchange.", ReturnResolutionDueData),
    "receipt.created": EventKind("The dock counted units of a return.", ReceiptCreatedData),
    "receipt.reversed": EventKind("A count was a mistake and is undone.", ReceiptReversedData),
    "receipt.corrected": EventKind("Counted units have another condition.", ReceiptCorrectedData),
    "refund.created": EventKind("A refund was decided, or found at Stripe.", RefundCreatedData),
    "refund.approved": EventKind("A second person agreed to a refund.", RefundApprovedData),
    "refund.status_changed": EventKind("A refund has another status.", RefundStatusChangedData),
    "refund.attempt_failed": EventKind("An attempt at Stripe settled nothing; another follows.", RefundAttemptData),
    "refund.stuck": EventKind("Many attempts settled nothing: a person should look.", RefundAttemptData),
    "payment.updated": EventKind("A payment was captured, disputed, or spoken about.", PaymentUpdatedData),
    "payment.overpaid": EventKind("Stripe made two refunds for one intent.", PaymentOverpaidData),
    "refund_rate.exceeded": EventKind("A day's refunds are above the policy's limit.", RefundRateData),
    "ping": EventKind("Somebody tests the endpoint.", PingData),
}
