"""A return's money: what would be paid, paying it, trying again, settling it by other means."""

from __future__ import annotations

from pydantic import Field

from returns_service.commands import refunds, returns
from returns_service.commands.refund_actions import RefundPreviewView, preview
from returns_service.commands.refunds import Adjustment, RefundRequest
from returns_service.commands.returns import Outside
from returns_service.domain.vocabulary import AdjustmentKind, SettlementMethod
from returns_service.return_case.loader import load_case
from returns_service.return_case.views import RefundView, ReturnView, show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund
from returns_service.web.operations.bodies import Body, LineId, Money, Name, Reason, RefundId, Words
from returns_service.web.operations.operation import KEY_REQUIRED, Empty, Operation, OperationCall, Reply, reads, writes
from returns_service.web.operations.returns import reply_with

TAG = "Returns"
MOST_ADJUSTMENTS = 100


class AdjustmentAsked(Body):
    """A person's decision beside what is due; the kind decides the sign."""

    kind: AdjustmentKind
    amount: Money
    description: Reason
    line: LineId | None = None


class RefundReturn(Body):
    """A refund by hand. No `amount`: all that is due.

    `reason`: of the catalogue (`GET /v1/policy`), or one of Stripe's.
    """

    amount: Money | None = None
    reason: Name | None = None
    note: Words | None = None
    adjustments: list[AdjustmentAsked] = Field(default_factory=list, max_length=MOST_ADJUSTMENTS)
    override_reason: Reason | None = None

    def refund_request(self) -> RefundRequest:
        """Return it as the command takes it."""
        adjustments = [Adjustment(**adjustment.model_dump()) for adjustment in self.adjustments]
        return RefundRequest(self.amount, self.reason, self.note, adjustments, self.override_reason)


class RetryRefund(Body):
    """Which failed refund to try again, and for how much; the only one, whole, where nothing is said."""

    refund: RefundId | None = None
    amount: Money | None = None
    override_reason: Reason | None = None
    note: Words | None = None


class SettleOutside(Body):
    """Money that reached the customer by other means. No `amount`: all that is due, or the failed refund's."""

    refund: RefundId | None = None
    amount: Money | None = None
    method: SettlementMethod
    reference: Name
    note: Words | None = None


def reply_with_refund(refund: Refund, payment: Payment) -> Reply:
    """Answer with the refund, and where it is."""
    return Reply(show_refund(refund, payment), {"Location": f"/v1/refunds/{refund.id}"})


@reads("/v1/returns/{return_id}/refund_preview", TAG, RefundPreviewView, errors=("not_found",))
async def preview_refund(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Show what a refund would pay now, and what bars it."""
    return Reply(preview(await load_case(tx, call.policy, call.id("return_id"))))


@writes(
    "/v1/returns/{return_id}/refund", TAG, RefundView,
    scope="refunds:write", body=RefundReturn, status=202, headers=("Location",), key_rule=KEY_REQUIRED,
    example={"amount": 3333, "reason": "too_small", "note": "Customer called."},
    errors=(
        "not_found", "invalid_transition", "nothing_due", "amount_exceeds_refundable", "amount_not_a_step",
        "override_required", "payment_disputed", "refund_in_progress", "failed_refund_open", "unknown_line",
        "external_refund_open", "unknown_reason",
    ),
)  # fmt: skip
async def refund_return(call: OperationCall[RefundReturn], tx: Tx) -> Reply:
    """Refund what is due, or an amount decided by hand.

    Less than is due adds a reduction with its reason; more needs an `override_reason`. The answer is the intent: Stripe
    is asked afterwards, and again until it has answered.
    """
    return reply_with_refund(
        *await refunds.refund(tx, call.by, call.policy, call.id("return_id"), call.body.refund_request())
    )


@writes(
    "/v1/returns/{return_id}/retry", TAG, RefundView,
    scope="refunds:write", body=RetryRefund, status=202, headers=("Location",), key_rule=KEY_REQUIRED, example={},
    errors=(
        "not_found", "invalid_transition", "which_refund", "no_failed_refund", "refund_not_failed",
        "refund_superseded", "override_required", "amount_exceeds_refundable", "amount_not_a_step", "payment_disputed",
        "external_refund_open",
    ),
)  # fmt: skip
async def retry_return(call: OperationCall[RetryRefund], tx: Tx) -> Reply:
    """Try a return's failed refund again, as a new refund with a new key."""
    body = call.body
    made, payment = await refunds.retry(
        tx, call.by, call.policy, call.id("return_id"),
        refund_id=body.refund, amount=body.amount, override_reason=body.override_reason, note=body.note,
    )  # fmt: skip
    return reply_with_refund(made, payment)


@writes(
    "/v1/returns/{return_id}/settle_outside", TAG, ReturnView,
    scope="refunds:write", body=SettleOutside, headers=("ETag",), key_rule=KEY_REQUIRED,
    example={"method": "bank_transfer", "reference": "transfer 2026-04711"},
    errors=(
        "not_found", "invalid_transition", "which_refund", "no_failed_refund", "refund_not_failed",
        "refund_superseded", "amount_exceeds_due", "amount_not_a_step",
    ),
)  # fmt: skip
async def settle_return_outside(call: OperationCall[SettleOutside], tx: Tx) -> Reply:
    """Record that what is due, or a failed refund, was paid by other means. Stripe is not asked."""
    outside = Outside(**call.body.model_dump())
    return reply_with(await returns.settle_outside(tx, call.by, call.policy, call.id("return_id"), outside))


OPERATIONS: tuple[Operation, ...] = (preview_refund, refund_return, retry_return, settle_return_outside)
