"""A payment as it is answered: the amounts refunded, on their way and left."""

from __future__ import annotations

import msgspec

from returns_service.domain.refund_status import OPEN
from returns_service.return_case.locked_payment import refundable
from returns_service.return_case.views.fields import rfc3339
from returns_service.return_case.views.objects import DisputeView, PaymentView
from returns_service.return_case.views.refund_view import show_refund
from returns_service.store.tables import Payment, Refund


def show_payment(payment: Payment, refunds: list[Refund]) -> PaymentView:
    """Return a payment with what is refunded, reserved and left, minor units."""
    return PaymentView(
        id=payment.id,
        created=rfc3339(payment.created_at),
        livemode=payment.livemode,
        payment_intent=payment.payment_intent,
        charge=payment.charge,
        currency=payment.currency,
        status=payment.status,
        method=payment.method,
        captured=payment.captured,
        released=payment.released,
        refunded=sum(r.amount for r in refunds if r.status == "succeeded"),
        reserved=sum(r.amount for r in refunds if r.status in OPEN),
        refundable=refundable(payment, refunds),
        disputed=payment.disputed,
        dispute=msgspec.convert(payment.dispute, DisputeView | None),
        refunds=[show_refund(refund, payment) for refund in refunds],
    )
