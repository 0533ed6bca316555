"""Payments: the amounts captured, refunded, on their way, and left."""

from __future__ import annotations

from sqlmodel import col, select

from returns_service.commands.stripe_fold import adopt_payment
from returns_service.domain.problems import Problem
from returns_service.domain.stripe_objects import has_captured
from returns_service.queries.payments import payment_named
from returns_service.return_case.views import PaymentView, show_payment
from returns_service.store.database import Tx
from returns_service.store.tables import Refund
from returns_service.web.operations.ask_stripe import payment_at_stripe, stripe_of, target_named, target_of
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, StripeRead, reads


async def adopt_unless_paid(call: OperationCall[Empty]) -> StripeRead:
    """Ask Stripe for a payment that we never saw, and keep it: what can be refunded is known before a return exists.

    A payment that was not paid when it was last read is read again: no webhook that we need tells of its success.
    """
    name, database = call.id("payment_id"), call.context.database
    known = await database.read(lambda tx: payment_named(tx, name))
    if known is not None and has_captured(known.status, known.captured):
        return None
    target = target_of(known) if known else target_named(name)
    if target is None:
        return None
    try:
        seen = await payment_at_stripe(call.context, target)
    except Problem:
        if known is None:
            raise
        return None  # Stripe can't be asked, or knows it no more: the record is shown
    await database.run(lambda tx: adopt_payment(tx, stripe_of(call), call.policy, seen), safe_to_repeat=True)
    return seen


@reads(
    "/v1/payments/{payment_id}", "Payments", PaymentView,
    before_transaction=adopt_unless_paid,
    errors=("not_found", "payment_missing", "stripe_unavailable", "stripe_refuses_us"),
)  # fmt: skip
async def read_payment(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a payment, by `pay_…` or by Stripe's `pi_…` or `ch_…`, with all its refunds.

    A payment that the service has never seen, or that was not paid so far, is read at Stripe first.
    """
    name = call.id("payment_id")
    payment = await payment_named(tx, name)
    if payment is None:
        raise Problem("not_found", f"There is no payment {name} on record.")
    chosen = select(Refund).where(col(Refund.payment_id) == payment.id).order_by(col(Refund.id))
    return Reply(show_payment(payment, list((await tx.exec(chosen)).all())))


OPERATIONS: tuple[Operation, ...] = (read_payment,)
