"""Stripe's test cards and how each of them behaves (docs.stripe.com/testing)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Decline:
    """The reason why a card is declined: error code, decline code (if any), message for the customer."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Card:
    """A test card. `refunds`: how its refunds end; `dispute`: the reason of the dispute that follows the charge."""

    last4: str
    brand: str = "visa"
    funding: str = "credit"
    decline: Decline | None = None
    refunds: Literal["at_once", "pending", "fail_later"] = "at_once"
    dispute: str | None = None
    inquiry: bool = False
    fraud_warning: bool = False
    available_at_once: bool = False


_DECLINED = "Your card was declined."
_TRY_AGAIN = "An error occurred while processing your card. Try again in a little bit."

TEST_METHODS: dict[str, Card] = {
    "pm_card_visa": Card("4242"),
    "pm_card_us": Card("4242"),
    "pm_card_visa_debit": Card("5556", funding="debit"),
    "pm_card_mastercard": Card("4444", "mastercard"),
    "pm_card_mastercard_debit": Card("3222", "mastercard", "debit"),
    "pm_card_mastercard_prepaid": Card("5100", "mastercard", "prepaid"),
    "pm_card_amex": Card("8431", "amex"),
    "pm_card_discover": Card("1117", "discover"),
    "pm_card_diners": Card("0004", "diners"),
    "pm_card_jcb": Card("0505", "jcb"),
    "pm_card_unionpay": Card("0005", "unionpay"),
    "pm_card_bypassPending": Card("0077", available_at_once=True),
    "pm_card_pendingRefund": Card("7726", refunds="pending"),
    "pm_card_refundFail": Card("5126", refunds="fail_later"),
    "pm_card_createDispute": Card("0259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card("2685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": Card("1976", dispute="fraudulent", inquiry=True),
    "pm_card_createIssuerFraudRecord": Card("5423", fraud_warning=True),
    "pm_card_visa_chargeDeclined": Card("0002", decline=Decline("card_declined", "generic_decline", _DECLINED)),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(
        "9995", decline=Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
    ),
    "pm_card_visa_chargeDeclinedLostCard": Card("9987", decline=Decline("card_declined", "lost_card", _DECLINED)),
    "pm_card_visa_chargeDeclinedStolenCard": Card(
        "9979", decline=Decline("card_declined", "stolen_card", _DECLINED)
    ),
    "pm_card_chargeDeclinedExpiredCard": Card(
        "0069", decline=Decline("expired_card", None, "Your card has expired.")
    ),
    "pm_card_chargeDeclinedIncorrectCvc": Card(
        "0127", decline=Decline("incorrect_cvc", None, "Your card's security code is incorrect.")
    ),
    "pm_card_chargeDeclinedProcessingError": Card("0119", decline=Decline("processing_error", None, _TRY_AGAIN)),
}  # fmt: skip

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩", "cad": "CA$", "aud": "A$"}
# Stripe takes amounts of these in whole currency units. Its list has UGX too, but takes UGX in hundredths.
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())


def format_amount(amount: int, currency: str) -> str:
    """Return `amount` (minor units) as Stripe writes it in messages: `$12.34`, `¥500`."""
    digits = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    whole, part = divmod(amount, 10**digits)
    number = f"{whole:,}" + (f".{part:0{digits}}" if digits else "")
    return f"{_SYMBOLS.get(currency, currency.upper() + ' ')}{number}"
