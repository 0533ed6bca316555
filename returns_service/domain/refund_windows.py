"""How long a payment can be refunded, by how it was made, and whose refunds wait for the customer's bank details.

The days run from the charge. Each is from the method's page under https://docs.stripe.com/payments/, section "Refunds";
a method that isn't listed here has no limit that Stripe documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

# `payment_method_details.type` -> days; 0: it can't be refunded at all.
REFUND_DAYS = {
    "boleto": 0,  # https://docs.stripe.com/payments/boleto
    "oxxo": 0,  # https://docs.stripe.com/payments/oxxo
    "fpx": 60,  # https://docs.stripe.com/payments/fpx
    "upi": 60,  # https://docs.stripe.com/payments/upi
    "alipay": 90,  # https://docs.stripe.com/payments/alipay
    "amazon_pay": 90,  # https://docs.stripe.com/payments/amazon-pay
    "grabpay": 90,  # https://docs.stripe.com/payments/grabpay
    "paynow": 90,  # https://docs.stripe.com/payments/paynow
    "affirm": 120,  # https://docs.stripe.com/payments/affirm
    "afterpay_clearpay": 120,  # https://docs.stripe.com/payments/afterpay-clearpay
    "bancontact": 180,  # https://docs.stripe.com/payments/bancontact
    "eps": 180,  # https://docs.stripe.com/payments/eps
    "ideal": 180,  # https://docs.stripe.com/payments/ideal
    "p24": 180,  # https://docs.stripe.com/payments/p24
    "paypal": 180,  # https://docs.stripe.com/payments/paypal
    "sepa_debit": 180,  # https://docs.stripe.com/payments/sepa-debit
    "us_bank_account": 180,  # https://docs.stripe.com/payments/ach-direct-debit
    "wechat_pay": 180,  # https://docs.stripe.com/payments/wechat-pay
    "zip": 180,  # https://docs.stripe.com/payments/zip
}
# Stripe asks the customer by e-mail where the money shall go: `instructions_email`,
# https://docs.stripe.com/api/refunds/create#create_refund-instructions_email.
NEEDS_EMAIL = frozenset({"konbini", "promptpay"})
SOON = timedelta(days=14)  # parcels take a week or two: a refund that is decided after they came may be late

RefundWarningCode = Literal["method_not_refundable", "refund_window_over", "refund_window_ends_soon"]


@dataclass(frozen=True, slots=True)
class RefundWarning:
    """Why a refund may not be possible: a code for programs, a sentence for people."""

    code: RefundWarningCode
    message: str

    @property
    def settle_outside(self) -> bool:
        """Whether the money has to reach the customer by other means."""
        return self.code != "refund_window_ends_soon"


def refund_deadline(method_type: str | None, paid_at: datetime | None) -> datetime | None:
    """Return until when (UTC) the payment can be refunded; None: no limit known, or it can't be refunded at all."""
    days = REFUND_DAYS.get(method_type or "")
    return paid_at + timedelta(days=days) if days and paid_at is not None else None


def refund_warning(method_type: str | None, paid_at: datetime | None, now: datetime) -> RefundWarning | None:
    """Return what to know before a refund is promised; None: nothing. Both times carry a zone."""
    name = (method_type or "").replace("_", " ")
    if REFUND_DAYS.get(method_type or "") == 0:
        message = f"Payments by {name} can't be refunded through Stripe: pay the customer another way."
        return RefundWarning("method_not_refundable", message)
    deadline = refund_deadline(method_type, paid_at)
    if deadline is None or now < deadline - SOON:
        return None
    days = REFUND_DAYS[method_type or ""]
    if now > deadline:
        message = f"Payments by {name} can be refunded for {days} days, which are over: pay the customer another way."
        return RefundWarning("refund_window_over", message)
    message = f"Payments by {name} can be refunded for {days} days: until {deadline:%Y-%m-%d %H:%M} UTC."
    return RefundWarning("refund_window_ends_soon", message)
