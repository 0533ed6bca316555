"""Payments: the amounts captured, refunded, on their way, and left."""

from __future__ import annotations

from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.return_case.locked_payment import find_payment_id
from returns_service.return_case.views import PaymentView, show_payment
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads


@reads("/v1/payments/{payment_id}", "Payments", PaymentView, errors=("not_found",))
async def read_payment(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a payment, by `pay_…` or by Stripe's `pi_…` or `ch_…`, with all its refunds."""
    name = call.id("payment_id")
    ours = name if name.startswith("pay_") else await find_payment_id(tx, payment_intent=name, charge=name)
    payment = await tx.get(Payment, ours) if ours else None
    if payment is None:
        raise Problem("not_found", f"There is no payment {name} on record.")
    chosen = select(Refund).where(col(Refund.payment_id) == payment.id).order_by(col(Refund.id))
    return Reply(show_payment(payment, list((await tx.exec(chosen)).all())))


OPERATIONS: tuple[Operation, ...] = (read_payment,)
