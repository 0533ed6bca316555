"""A return's money: what would be paid, paying it, trying again, settling it by other means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from returns_service.commands import failed_refunds, refunds, settlements
from returns_service.commands.failed_refunds import Part
from returns_service.commands.refund_actions import apply_payment_read
from returns_service.commands.refunds import Adjustment, RefundRequest
from returns_service.commands.settlements import Outside
from returns_service.domain.problems import Problem, ProblemCode
from returns_service.domain.vocabulary import AdjustmentKind, SettlementMethod
from returns_service.return_case.loader import load_case
from returns_service.return_case.views import (
    RefundPreviewView,
    RefundView,
    ReturnView,
    show_refund,
    show_refund_preview,
)
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization
from returns_service.web.operations.ask_stripe import payment_at_stripe, stripe_of, target_of
from returns_service.web.operations.bodies import Body, LineId, Money, Name, Reason, RefundId, Words
from returns_service.web.operations.operation import (
    KEY_REQUIRED,
    Empty,
    Operation,
    OperationCall,
    Reply,
    StripeRead,
    reads,
    writes,
)
from returns_service.web.operations.returns import reply_with

TAG = "Returns"
DASHBOARD_REFUND_ERRORS: tuple[ProblemCode, ...] = (
    "refund_missing", "refund_claimed", "refund_not_external", "refund_amount_differs", "payment_missing",
    "stripe_unavailable", "stripe_refuses_us",
)  # fmt: skip
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


class PartAsked(Body):
    """How much is paid; all that is open where nothing is said. `waive` gives up the rest, for the `reason` named."""

    amount: Money | None = None
    waive: bool = Field(default=False, strict=True)
    reason: Reason | None = None

    def part(self) -> Part:
        """Return it as the command takes it."""
        return Part(self.amount, self.waive, self.reason)


class RetryOne(PartAsked):
    """How much of a failed refund to try again; all that is open of it where nothing is said."""

    override_reason: Reason | None = None
    note: Words | None = None


class RetryRefund(RetryOne):
    """Which failed refund to try again, and for how much; the only one, whole, where nothing is said."""

    refund: RefundId | None = None


class SettleOneOutside(PartAsked):
    """How the failed refund's money reached the customer. No `amount`: all that is open of it."""

    method: SettlementMethod
    reference: Name
    note: Words | None = None

    def outside(self, refund_id: str | None) -> Outside:
        """Return it as the command takes it."""
        return Outside(self.method, self.reference, refund_id, self.part(), self.note)


class SettleOutside(SettleOneOutside):
    """Money that reached the customer by other means. No `amount`: all that is due, or open of the failed refund."""

    refund: RefundId | None = None


async def read_dashboard_refunds(call: OperationCall[Any]) -> StripeRead:
    """Read the payment with all its refunds, where the caller says that a refund made in the Dashboard has paid.

    The fold has a transaction of its own: what Stripe holds is true, even where the operation is then refused.
    """
    if call.body.method != "dashboard_refund":
        return None
    database = call.context.database
    async with database.reading() as tx:
        payment = await _payment_in_path(tx, call.path)
    seen = await payment_at_stripe(call.context, target_of(payment))
    by, observations = stripe_of(call), payment.observations
    await database.run(lambda tx: apply_payment_read(tx, by, call.policy, payment.id, seen, observations))
    return seen


async def _payment_in_path(tx: Tx, path: Mapping[str, str]) -> Payment:
    """Return the payment of the return or refund that the path names. Raises Problem not_found."""
    kind, row_id = (Refund, path["refund_id"]) if "refund_id" in path else (ReturnAuthorization, path["return_id"])
    row: Refund | ReturnAuthorization | None = await tx.get(kind, row_id)
    if row is None:
        raise Problem("not_found", f"There is no {row_id}.")
    return await tx.get_one(Payment, row.payment_id)


def reply_with_refund(refund: Refund, payment: Payment) -> Reply:
    """Answer with the refund, and where it is."""
    return Reply(show_refund(refund, payment), {"Location": f"/v1/refunds/{refund.id}"})


@reads("/v1/returns/{return_id}/refund_preview", TAG, RefundPreviewView, errors=("not_found",))
async def preview_refund(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Show what a refund would pay now, and what bars it."""
    return Reply(show_refund_preview(await load_case(tx, call.policy, call.id("return_id"))))


@writes(
    "/v1/returns/{return_id}/refund", TAG, RefundView,
    if_match=True, scope="refunds:write", body=RefundReturn, status=202, headers=("Location",), key_rule=KEY_REQUIRED,
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
    if_match=True, scope="refunds:write", body=RetryRefund, status=202, headers=("Location",),
    key_rule=KEY_REQUIRED, example={},
    errors=(
        "not_found", "invalid_transition", "which_refund", "no_failed_refund", "refund_not_failed",
        "refund_superseded", "override_required", "amount_exceeds_refundable", "amount_not_a_step", "payment_disputed",
        "external_refund_open", "reason_required",
    ),
)  # fmt: skip
async def retry_return(call: OperationCall[RetryRefund], tx: Tx) -> Reply:
    """Try a return's failed refund again, as a new refund with a new key.

    Less than is open of it leaves the rest failed, to be tried or settled later; `waive` gives it up.
    """
    body = call.body
    made, payment = await failed_refunds.retry(
        tx, call.by, call.policy, call.id("return_id"),
        refund_id=body.refund, part=body.part(), override_reason=body.override_reason, note=body.note,
    )  # fmt: skip
    return reply_with_refund(made, payment)


@writes(
    "/v1/returns/{return_id}/settle_outside", TAG, ReturnView,
    if_match=True, scope="refunds:write", body=SettleOutside, headers=("ETag",), key_rule=KEY_REQUIRED,
    before_transaction=read_dashboard_refunds,
    example={"method": "bank_transfer", "reference": "transfer 2026-04711"},
    errors=(
        "not_found", "invalid_transition", "which_refund", "no_failed_refund", "refund_not_failed",
        "refund_superseded", "amount_exceeds_due", "amount_not_a_step", "reason_required", "refund_in_progress",
        *DASHBOARD_REFUND_ERRORS,
    ),
)  # fmt: skip
async def settle_return_outside(call: OperationCall[SettleOutside], tx: Tx) -> Reply:
    """Record that what is due, or a failed refund, was paid by other means. Stripe moves nothing.

    Less leaves the rest due, or failed; `waive` gives it up. The amount due outside Stripe is settled first, and alone.
    A `dashboard_refund` names a refund made in the Stripe Dashboard, `re_…`, as `reference`: it is read at Stripe, and
    counts in `amount_refunded`.
    """
    outside = call.body.outside(call.body.refund)
    case, _ = await settlements.settle_outside(tx, call.by, call.policy, call.id("return_id"), outside)
    return reply_with(case)


OPERATIONS: tuple[Operation, ...] = (preview_refund, refund_return, retry_return, settle_return_outside)
