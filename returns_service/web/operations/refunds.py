"""Refunds by themselves: standalone ones, those found at Stripe, and what finance does about each."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlmodel import col, select

from returns_service.commands import external_refunds, refund_actions
from returns_service.commands.assignments import AssignedUnits
from returns_service.commands.refund_metadata import merge_metadata
from returns_service.commands.refunds import check_reason, refund_payment
from returns_service.commands.stripe_fold import NO_OBSERVATIONS, adopt_payment
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import STATUSES
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, Refused, has_captured
from returns_service.queries.refunds import refund_ids, with_payments
from returns_service.return_case.loader import load_cases
from returns_service.return_case.locked_payment import find_payment_id, lock_payment_at_stripe
from returns_service.return_case.views import RefundView, ReturnView, show_payment, show_refund, show_return
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund
from returns_service.web.operations.ask_stripe import Target, payment_at_stripe, stripe_of, target_of, usable_or_503
from returns_service.web.operations.bodies import (
    MOST_LINES,
    Body,
    LineId,
    Metadata,
    Money,
    Name,
    Reason,
    ReturnId,
    Units,
    Words,
)
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
from returns_service.web.operations.parameters import CREATED_AND_UPDATED, METADATA, id_of, several_of
from returns_service.web.operations.query_string import ListView
from returns_service.web.operations.return_refunds import (
    DASHBOARD_REFUND_ERRORS,
    RetryOne,
    SettleOneOutside,
    read_dashboard_refunds,
    reply_with_refund,
)

TAG = "Refunds"
EXPANDABLE = ("return", "payment")


class CreateRefund(Target):
    """A refund of no return. No `amount`: all that is left on the payment.

    `reason`: of the catalogue (`GET /v1/policy`), or one of Stripe's.
    """

    amount: Money | None = None
    reason: Name | None = None
    note: Words | None = None
    metadata: Metadata | None = None
    override_reason: Reason | None = None


class SendAgain(Body):
    """Why it may be sent under a new key."""

    reason: Reason


class AssignedLine(Body):
    """Units of a line that the refund paid."""

    line: LineId
    units: Units


class AssignRefund(Body):
    """The return that a refund made outside was for, and the units that it paid where somebody knows."""

    return_id: ReturnId = Field(alias="return")
    lines: list[AssignedLine] = Field(default_factory=list, min_length=1, max_length=MOST_LINES)


class Acknowledge(Body):
    """The agreement about a refund, in words."""

    reason: Reason


async def read_payment_unless_paid(call: OperationCall[CreateRefund]) -> StripeRead:
    """Read at Stripe a payment that we never saw, or that was not paid when we saw it.

    A known payment that was paid is not read: its intent can be written while Stripe is away, and sent afterwards.
    """
    body = call.body
    async with call.context.database.reading() as tx:
        known = await find_payment_id(tx, payment_intent=body.payment_intent, charge=body.charge)
        row = await tx.get(Payment, known) if known else None
    is_meant = row and body.payment_intent in (None, row.payment_intent) and body.charge in (None, row.charge)
    if row is not None and is_meant and has_captured(row.status, row.captured):
        return None
    return await payment_at_stripe(call.context, body)


@writes(
    "/v1/refunds", TAG, RefundView,
    scope="refunds:write", body=CreateRefund, status=202, headers=("Location",), key_rule=KEY_REQUIRED,
    before_transaction=read_payment_unless_paid,
    example={"payment_intent": "pi_3PxExample", "amount": 1500, "reason": "requested_by_customer"},
    errors=(
        "amount_exceeds_refundable", "charge_already_refunded", "amount_not_a_step", "payment_missing",
        "charge_mismatch", "payment_not_succeeded", "payment_disputed", "connect_not_supported", "metadata_reserved",
        "metadata_invalid", "stripe_unavailable", "stripe_refuses_us", "external_refund_open", "unknown_reason",
    ),
)  # fmt: skip
async def create_refund(call: OperationCall[CreateRefund], tx: Tx) -> Reply:
    """Refund a payment without a return.

    The answer is the intent: Stripe is asked afterwards, and again until it has answered; where the policy asks for a
    second person, once that one has approved it.
    """
    body = call.body
    check_reason(body.reason, call.policy)
    if isinstance(call.stripe_read, PaymentSnapshot):
        locked = await adopt_payment(tx, stripe_of(call), call.policy, call.stripe_read)
    else:
        names = {"payment_intent": body.payment_intent, "charge": body.charge}
        known = await lock_payment_at_stripe(tx, **names)
        if known is None:
            raise LookupError("The payment was known before this transaction, and payments are never deleted.")
        locked = known
    metadata = merge_metadata({}, body.metadata or {})
    reason = call.policy.stripe_reason(body.reason) if body.reason else None
    row = await refund_payment(
        locked, call.by, call.policy, amount=body.amount, reason=reason, metadata=metadata,
        note=body.note, description=body.reason, override_reason=body.override_reason,
    )  # fmt: skip
    return reply_with_refund(row, locked.row)


@reads(
    "/v1/refunds", TAG, ListView[RefundView], paged=True,
    parameters={
        "payment_intent": id_of("pi", "Only refunds of this PaymentIntent."),
        "charge": id_of("ch", "Only refunds of this charge."),
        "return": id_of("ret", "Only refunds of this return."),
        "status": several_of("Only refunds with this status.", STATUSES),
        "metadata": METADATA,
        **CREATED_AND_UPDATED,
    },
    expandable=EXPANDABLE, errors=("unknown_filter",),
)  # fmt: skip
async def list_refunds(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List refunds, newest first, those made in the Stripe Dashboard too."""
    query = call.query
    chosen = refund_ids(
        payment_intent=query.get("payment_intent"),
        charge=query.get("charge"),
        return_id=query.get("return"),
        metadata=query.keyed.get("metadata", {}),
    )
    made_at, updated_at = (Refund.created_at, Refund.stripe_created_at), Refund.updated_at
    late = query.learnt_late(query.within(chosen, Refund.id, "rfd", updated=updated_at), Refund.id, "rfd", *made_at)
    chosen = query.within(chosen, Refund.id, "rfd", created=Refund.created_at, updated=updated_at)
    branches = [one for part in (chosen, *late) for one in query.updated_since(part, Refund.id, "rfd", updated_at)]
    ids = query.window_of(branches, Refund.id, "rfd", Refund.status, query.several_of("status", STATUSES))
    found = (await tx.execute(query.window(with_payments(ids), Refund.id, "rfd"))).all()
    rows, has_more = query.page([(row[0], row[1]) for row in found])
    views = await expand_refunds(tx, call, rows)
    return Reply(ListView(url="/v1/refunds", has_more=has_more, data=views))


async def expand_refunds(tx: Tx, call: OperationCall[Any], rows: list[tuple[Refund, Payment]]) -> list[RefundView]:
    """Return refunds as they are answered, with what `expand[]` asks for."""
    views = [show_refund(refund, payment) for refund, payment in rows]
    if "return" in call.query.expand:
        ids = sorted({refund.return_id for refund, _ in rows if refund.return_id})
        of: dict[str | None, ReturnView] = {
            case.row.id: show_return(case) for case in await load_cases(tx, call.policy, ids)
        }
        for view, (refund, _) in zip(views, rows, strict=True):
            view.return_ = of.get(refund.return_id)
    if "payment" in call.query.expand:
        chosen = select(Refund).where(col(Refund.payment_id).in_([payment.id for _, payment in rows]))
        siblings = (await tx.exec(chosen.order_by(col(Refund.id)))).all()
        for view, (_, payment) in zip(views, rows, strict=True):
            view.payment = show_payment(payment, [r for r in siblings if r.payment_id == payment.id])
    return views


async def refund_with_payment(tx: Tx, refund_id: str) -> tuple[Refund, Payment]:
    """Return a refund and its payment, to look at. Raises Problem not_found."""
    refund = await refund_actions.get_refund(tx, refund_id)
    return refund, await tx.get_one(Payment, refund.payment_id)


@reads("/v1/refunds/{refund_id}", TAG, RefundView, expandable=EXPANDABLE, errors=("not_found",))
async def read_refund(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a refund: its amount, its breakdown, and what became of it."""
    (view,) = await expand_refunds(tx, call, [await refund_with_payment(tx, call.id("refund_id"))])
    return Reply(view)


async def read_at_stripe(call: OperationCall[Any]) -> StripeRead:
    """Read the refund at Stripe and fold it at once; where Stripe gave it no id yet, read its payment with all refunds.

    The fold has a transaction of its own: what Stripe holds is true, even where the operation is then refused.
    """
    database, refund_id = call.context.database, call.id("refund_id")
    async with database.reading() as tx:
        row, payment = await refund_with_payment(tx, refund_id)
    read: RefundSnapshot | PaymentSnapshot | Missing | Refused
    if row.stripe_refund is not None:
        observations = row.observations
        read = usable_or_503(await call.context.gateway.retrieve_refund(row.stripe_refund))
    else:
        read, observations = await payment_at_stripe(call.context, target_of(payment)), payment.observations
    if not isinstance(read, RefundSnapshot | PaymentSnapshot):
        raise Problem("payment_missing", f"Stripe knows no refund {row.stripe_refund}.")
    seen = read
    await database.run(
        lambda tx: refund_actions.apply_read(tx, stripe_of(call), call.policy, refund_id, seen, observations)
    )
    return seen


@writes(
    "/v1/refunds/{refund_id}/check", TAG, RefundView,
    scope="refunds:write", body=Empty, example={}, before_transaction=read_at_stripe,
    errors=("not_found", "payment_missing", "stripe_unavailable", "stripe_refuses_us"),
)  # fmt: skip
async def check_refund(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Ask Stripe now what became of a refund."""
    return Reply(show_refund(*await refund_with_payment(tx, call.id("refund_id"))))


@writes(
    "/v1/refunds/{refund_id}/retry", TAG, RefundView,
    if_match=True, scope="refunds:write", body=RetryOne, status=202, headers=("Location",), key_rule=KEY_REQUIRED,
    example={},
    errors=(
        "not_found", "invalid_transition", "refund_not_failed", "refund_superseded", "override_required",
        "amount_exceeds_refundable", "amount_not_a_step", "payment_disputed", "charge_already_refunded",
        "external_refund_open", "reason_required",
    ),
)  # fmt: skip
async def retry_refund(call: OperationCall[RetryOne], tx: Tx) -> Reply:
    """Try a failed refund again, as a new refund with a new key.

    Less than is open of it leaves the rest failed, to be tried or settled later; `waive` gives it up.
    """
    body, refund_id = call.body, call.id("refund_id")
    made, payment = await refund_actions.retry_refund(
        tx, call.by, call.policy, refund_id, part=body.part(), override_reason=body.override_reason, note=body.note
    )
    return reply_with_refund(made, payment)


@writes(
    "/v1/refunds/{refund_id}/settle_outside", TAG, RefundView,
    if_match=True, scope="refunds:write", body=SettleOneOutside, headers=("Location",), key_rule=KEY_REQUIRED,
    before_transaction=read_dashboard_refunds,
    example={"method": "bank_transfer", "reference": "transfer 2026-04711"},
    errors=(
        "not_found", "invalid_transition", "refund_not_failed", "refund_superseded", "amount_exceeds_due",
        "amount_not_a_step", "reason_required", *DASHBOARD_REFUND_ERRORS,
    ),
)  # fmt: skip
async def settle_refund_outside(call: OperationCall[SettleOneOutside], tx: Tx) -> Reply:
    """Record that a failed refund was paid by other means; answers the refund that says so.

    Less than is open of it leaves the rest failed; `waive` gives it up.
    """
    refund_id = call.id("refund_id")
    outside = call.body.outside(refund_id)
    return reply_with_refund(*await refund_actions.settle_refund_outside(tx, call.by, call.policy, refund_id, outside))


async def cancel_at_stripe(call: OperationCall[Empty]) -> StripeRead:
    """Ask Stripe to cancel a refund that waits for the customer; look for a queued one that was ever in doubt.

    Returns the canceled refund; None where Stripe was not asked to cancel. Raises Problem refund_not_cancelable.
    """
    async with call.context.database.reading() as tx:
        row, _ = await refund_with_payment(tx, call.id("refund_id"))
    if row.status == "queued" and row.ever_unknown:
        await read_at_stripe(call)
    if row.status != "requires_action" or row.stripe_refund is None:
        return None
    # Each call has a new key. A second cancel is harmless; but Stripe stores a refusal under its key, and a refund that
    # was `pending` at the refusal may wait for its customer again.
    gateway, key = call.context.gateway, call.context.database.ids.new("cancel", call.context.database.now())
    read = usable_or_503(await gateway.cancel_refund(row.stripe_refund, key=key))
    if isinstance(read, RefundSnapshot):
        return read
    seen = await gateway.retrieve_refund(row.stripe_refund)
    if isinstance(seen, RefundSnapshot) and seen.status == "canceled":  # by an earlier cancel whose answer was lost
        return seen
    said = read.message if isinstance(read, Refused | Missing) else None
    raise Problem("refund_not_cancelable", said, refund_status=row.status)


@writes(
    "/v1/refunds/{refund_id}/cancel", TAG, RefundView,
    scope="refunds:write", body=Empty, example={}, before_transaction=cancel_at_stripe,
    errors=("not_found", "refund_not_cancelable", "payment_missing", "stripe_unavailable", "stripe_refuses_us"),
)  # fmt: skip
async def cancel_refund(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Cancel a refund that was not sent yet, or that waits for the customer."""
    refund_id = call.id("refund_id")
    if isinstance(call.stripe_read, RefundSnapshot):
        await refund_actions.apply_read(tx, stripe_of(call), call.policy, refund_id, call.stripe_read, NO_OBSERVATIONS)
        return Reply(show_refund(*await refund_with_payment(tx, refund_id)))
    return Reply(show_refund(*await refund_actions.cancel_unsent(tx, call.by, call.policy, refund_id)))


async def check_missing_at_stripe(call: OperationCall[SendAgain]) -> StripeRead:
    """Look for the refund at Stripe, since only one that Stripe does not have is sent again.

    Raises Problem refund_found where Stripe has it, and refund_not_unknown or too_early before Stripe is asked.
    """
    database, refund_id = call.context.database, call.id("refund_id")
    async with database.reading() as tx:
        row, _ = await refund_with_payment(tx, refund_id)
        refund_actions.check_sendable_again(tx, row)
    read = await read_at_stripe(call)
    async with database.reading() as tx:
        row, _ = await refund_with_payment(tx, refund_id)
    if row.stripe_refund is not None:
        raise Problem("refund_found", stripe_refund=row.stripe_refund, refund_status=row.status)
    return read


@writes(
    "/v1/refunds/{refund_id}/send_again", TAG, RefundView,
    if_match=True, scope="refunds:write", body=SendAgain, status=202, headers=("Location",), key_rule=KEY_REQUIRED,
    before_transaction=check_missing_at_stripe,
    example={"reason": "Stripe support says it never arrived."},
    errors=(
        "not_found", "refund_not_unknown", "too_early", "refund_found", "payment_disputed", "payment_missing",
        "stripe_unavailable", "stripe_refuses_us", "already_refunded",
    ),
)  # fmt: skip
async def send_refund_again(call: OperationCall[SendAgain], tx: Tx) -> Reply:
    """Send a refund of unknown outcome again, under a new key.

    At least 15 minutes after its last attempt, and only when Stripe, asked once more, has no such refund. It goes out
    a minute later, after one more look.
    """
    return reply_with_refund(
        *await refund_actions.send_again(tx, call.by, call.policy, call.id("refund_id"), call.body.reason)
    )


@writes(
    "/v1/refunds/{refund_id}/acknowledge", TAG, RefundView,
    scope="refunds:write", body=Acknowledge,
    example={"reason": "The customer has sent 15.00 USD back, transfer 2026-04711."},
    errors=("not_found", "refund_not_second", "refund_superseded"),
)  # fmt: skip
async def acknowledge_refund(call: OperationCall[Acknowledge], tx: Tx) -> Reply:
    """Say that a refund made outside is of no return, or what was agreed about a second one for an intent.

    No money moves. It leaves the desk, and what it held goes on; an assignment is undone.
    """
    row, payment = await external_refunds.acknowledge(tx, call.by, call.policy, call.id("refund_id"), call.body.reason)
    return Reply(show_refund(row, payment))


@writes(
    "/v1/refunds/{refund_id}/assign", TAG, RefundView,
    scope="refunds:write", body=AssignRefund, example={"return": "ret_01h455vb4pex5vsknk084sn02q"},
    errors=("not_found", "refund_not_external", "payment_mismatch", "invalid_transition", "unknown_line"),
)  # fmt: skip
async def assign_refund(call: OperationCall[AssignRefund], tx: Tx) -> Reply:
    """Count a refund made outside, in the Stripe Dashboard say, as a return's.

    It counts in the return's `amount_refunded`; what it held goes on. Assigning it again moves it.
    """
    body = call.body
    units = [AssignedUnits(line.line, line.units) for line in body.lines]
    row, payment = await external_refunds.assign(tx, call.by, call.policy, call.id("refund_id"), body.return_id, units)
    return Reply(show_refund(row, payment))


OPERATIONS: tuple[Operation, ...] = (
    create_refund, list_refunds, read_refund, check_refund, retry_refund, settle_refund_outside, cancel_refund,
    send_refund_again, acknowledge_refund, assign_refund,
)  # fmt: skip
