"""A payment with its refunds: those of its returns, of none, and those made in the Stripe Dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select

from returns_service.return_case.locked_payment import find_payment_id
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization


@dataclass(frozen=True, slots=True)
class PaymentRefund:
    """One refund of a payment, with the order of its return."""

    refund: Refund
    order_id: str | None


async def payment_named(tx: Tx, name: str) -> Payment | None:
    """Return the payment with an id of ours or of Stripe's; None where the service has never seen it."""
    ours = name if name.startswith("pay_") else await find_payment_id(tx, payment_intent=name, charge=name)
    return await tx.get(Payment, ours) if ours else None


async def refunds_of_payment(tx: Tx, payment_id: str) -> Sequence[PaymentRefund]:
    """Return a payment's refunds, newest first."""
    chosen: Any = (
        select(Refund, ReturnAuthorization.order_id)
        .outerjoin(ReturnAuthorization, col(ReturnAuthorization.id) == col(Refund.return_id))
        .where(col(Refund.payment_id) == payment_id)
        .order_by(col(Refund.id).desc())
    )
    return [PaymentRefund(refund, order_id) for refund, order_id in (await tx.execute(chosen)).all()]
