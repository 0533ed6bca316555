"""Stripe's test payment methods and how each of them behaves (docs.stripe.com/testing).

Cards have Stripe's own names (`pm_card_…`). For other methods the simulator takes `pm_<type>`, for example `pm_ideal`
or `pm_sepa_debit`, and `payment_method_data[type]=ideal`. It counts the customer's part (the redirect, the voucher) as
done at the confirmation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Decline:
    """The reason why a card is declined: error code, decline code (if any), message for the customer."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Method:
    """A test payment method.

    `refunds`: how its refunds end. `refund_days`: Stripe refuses a refund later than that after the charge; 0: every
    refund; None: no limit known. `dispute`: the reason of the dispute that follows the charge. `is_delayed`: the
    payment is `processing` before it succeeds. `refunds_wait`: a refund may be asked while the payment is processing.
    `needs_email`: the customer answers an e-mail before a refund. `destination`: the key of a refund's
    `destination_details`.
    """

    type: str = "card"
    last4: str = ""
    brand: str = "visa"
    funding: str = "credit"
    decline: Decline | None = None
    refunds: Literal["at_once", "pending", "fail_later"] = "at_once"
    dispute: str | None = None
    is_inquiry: bool = False
    is_fraud_reported: bool = False
    is_available_at_once: bool = False
    needs_authentication: bool = False
    is_delayed: bool = False
    refunds_wait: bool = False
    needs_email: bool = False
    refund_days: int | None = None
    destination: str | None = "card"

    @property
    def is_card(self) -> bool:
        """Return whether the method is a card."""
        return self.type == "card"


def _card(last4: str, brand: str = "visa", funding: str = "credit", **more: Any) -> Method:
    return Method("card", last4, brand, funding, **more)


_DECLINED = "Your card was declined."
_GENERIC = Decline("card_declined", "generic_decline", _DECLINED)
_NO_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
_TRY_AGAIN = "An error occurred while processing your card. Try again in a little bit."

_CARDS = {
    "pm_card_visa": _card("4242"),
    "pm_card_us": _card("4242"),
    "pm_card_visa_debit": _card("5556", funding="debit"),
    "pm_card_mastercard": _card("4444", "mastercard"),
    "pm_card_mastercard_debit": _card("3222", "mastercard", "debit"),
    "pm_card_mastercard_prepaid": _card("5100", "mastercard", "prepaid"),
    "pm_card_amex": _card("8431", "amex"),
    "pm_card_discover": _card("1117", "discover"),
    "pm_card_diners": _card("0004", "diners"),
    "pm_card_jcb": _card("0505", "jcb"),
    "pm_card_unionpay": _card("0005", "unionpay"),
    "pm_card_bypassPending": _card("0077", is_available_at_once=True),
    "pm_card_pendingRefund": _card("7726", refunds="pending"),
    "pm_card_refundFail": _card("5126", refunds="fail_later"),
    "pm_card_createDispute": _card("0259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": _card("2685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": _card("1976", dispute="fraudulent", is_inquiry=True),
    "pm_card_createIssuerFraudRecord": _card("5423", is_fraud_reported=True),
    "pm_card_threeDSecure2Required": _card("3220", needs_authentication=True),
    "pm_card_chargeDeclined": _card("0002", decline=_GENERIC),
    "pm_card_chargeDeclinedInsufficientFunds": _card("9995", decline=_NO_FUNDS),
    "pm_card_visa_chargeDeclined": _card("0002", decline=_GENERIC),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _card("9995", decline=_NO_FUNDS),
    "pm_card_visa_chargeDeclinedLostCard": _card("9987", decline=Decline("card_declined", "lost_card", _DECLINED)),
    "pm_card_visa_chargeDeclinedStolenCard": _card("9979", decline=Decline("card_declined", "stolen_card", _DECLINED)),
    "pm_card_chargeDeclinedExpiredCard": _card("0069", decline=Decline("expired_card", None, "Your card has expired.")),
    "pm_card_chargeDeclinedIncorrectCvc": _card(
        "0127", decline=Decline("incorrect_cvc", None, "Your card's security code is incorrect.")
    ),
    "pm_card_chargeDeclinedProcessingError": _card("0119", decline=Decline("processing_error", None, _TRY_AGAIN)),
}  # fmt: skip


def _bank(name: str, days: int | None, destination: str | None = None, **more: Any) -> Method:
    return Method(name, refund_days=days, destination=destination, refunds="pending", **more)


# Refund windows: each method's page under docs.stripe.com/payments/, section "Refunds".
OTHER_TYPES = {
    method.type: method
    for method in (
        _bank("affirm", 120, "affirm"),
        _bank("afterpay_clearpay", 120, "afterpay_clearpay"),
        _bank("alipay", 90, "alipay"),
        _bank("amazon_pay", 90, "amazon_pay"),
        _bank("bancontact", 180, "eu_bank_transfer"),
        _bank("boleto", 0),
        _bank("cashapp", None, "cashapp"),
        _bank("eps", 180, "eps"),
        _bank("fpx", 60),
        _bank("grabpay", 90, "grabpay"),
        _bank("ideal", 180, "eu_bank_transfer"),
        _bank("klarna", None, "klarna"),
        _bank("konbini", None, "jp_bank_transfer", needs_email=True),
        _bank("link", None),
        _bank("oxxo", 0),
        _bank("p24", 180, "p24"),
        _bank("paynow", 90, "paynow"),
        _bank("paypal", 180, "paypal"),
        _bank("sepa_debit", 180, "eu_bank_transfer", is_delayed=True),
        _bank("upi", 60),
        _bank("us_bank_account", 180, "us_bank_transfer", is_delayed=True, refunds_wait=True),
        _bank("wechat_pay", 180, "wechat_pay"),
        _bank("zip", 180, "zip"),
    )
}
TYPES = ("card", *OTHER_TYPES)

TEST_METHODS: dict[str, Method] = {**_CARDS, **{f"pm_{name}": method for name, method in OTHER_TYPES.items()}}
