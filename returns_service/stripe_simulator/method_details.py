"""What charges, payment methods, disputes and refunds say about a payment method (docs.stripe.com/api/charges/object).

The values are made up; a field without a value is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .collection import Json
from .methods import Method

_FIELDS: dict[str, Mapping[str, Any]] = {  # type -> the fields of `payment_method_details[type]`
    "affirm": {"transaction_id": None},
    "afterpay_clearpay": {"order_id": None, "reference": None},
    "alipay": {"fingerprint": None, "transaction_id": None},
    "amazon_pay": {"transaction_id": None},
    "bancontact": dict.fromkeys(
        "bank_code bank_name bic generated_sepa_debit generated_sepa_debit_mandate iban_last4 preferred_language "
        "verified_name".split()
    ),
    "boleto": {"tax_id": "00000000000"},
    "cashapp": {"buyer_id": None, "cashtag": None, "transaction_id": None},
    "eps": {"bank": None, "verified_name": None},
    "fpx": {"account_holder_type": None, "bank": "maybank2u", "transaction_id": None},
    "grabpay": {"transaction_id": None},
    "ideal": dict.fromkeys(
        "bank bic generated_sepa_debit generated_sepa_debit_mandate iban_last4 transaction_id verified_name".split()
    ),
    "klarna": {"payer_details": None, "payment_method_category": None, "preferred_locale": None},
    "konbini": {"store": None},
    "link": {"country": None},
    "oxxo": {"number": None},
    "p24": {"bank": None, "reference": None, "verified_name": None},
    "paynow": {"reference": None},
    "paypal": dict.fromkeys("country payer_email payer_id payer_name seller_protection transaction_id".split()),
    "sepa_debit": {
        "bank_code": "19043", "branch_code": "", "country": "AT", "fingerprint": "fpsepa", "last4": "3201",
        "mandate": None,
    },
    "upi": {"vpa": None},
    "us_bank_account": {
        "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
        "fingerprint": "fpach", "last4": "6789", "payment_reference": None, "routing_number": "110000000",
    },
    "wechat_pay": {"fingerprint": None, "transaction_id": None},
    "zip": {},
}  # fmt: skip
_METHOD_FIELDS: dict[str, tuple[str, ...]] = {  # type -> the fields of a PaymentMethod, where there are any
    "boleto": ("tax_id",),
    "cashapp": ("buyer_id", "cashtag"),
    "eps": ("bank",),
    "fpx": ("account_holder_type", "bank"),
    "ideal": ("bank", "bic"),
    "link": ("email",),
    "p24": ("bank",),
    "paypal": ("country", "payer_email", "payer_id"),
    "sepa_debit": ("bank_code", "branch_code", "country", "fingerprint", "generated_from", "last4"),
    "upi": ("vpa",),
    "us_bank_account": (
        "account_holder_type", "account_type", "bank_name", "financial_connections_account", "fingerprint", "last4",
        "networks", "routing_number", "status_details",
    ),
}  # fmt: skip
_WITH_REFERENCE = (  # destinations of refunds that carry the bank's reference
    "afterpay_clearpay", "eu_bank_transfer", "jp_bank_transfer", "klarna", "p24", "paypal", "us_bank_transfer",
)  # fmt: skip
_REQUESTS = ("multicapture", "incremental_authorization")


def build_charge_details(intent: Mapping[str, Any], method: Method) -> Json:
    """Return a charge's `payment_method_details`; the amount authorized is in minor units."""
    if not method.is_card:
        return {method.type: dict(_FIELDS[method.type]), "type": method.type}
    options = intent["payment_method_options"].get("card", {})
    details = {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        "brand": method.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"fp{method.brand}{method.last4}",
        "funding": method.funding,
        "installments": None,
        "last4": method.last4,
        "mandate": None,
        "network": method.brand,
        "network_token": {"used": False},
        "network_transaction_id": None,
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "transaction_link_id": None,
        "wallet": None,
    }
    if intent["capture_method"] == "manual":
        for name in _REQUESTS:
            status = "available" if options.get(f"request_{name}") == "if_available" else "unavailable"
            details[name] = {"status": status}
    return {"card": details, "type": "card"}


def build_method_details(method: Method) -> Json:
    """Return the part of a PaymentMethod that depends on its type."""
    if not method.is_card:
        fields = _FIELDS[method.type]
        return {method.type: {name: fields.get(name) for name in _METHOD_FIELDS.get(method.type, ())}}
    return {
        "card": {
            "brand": method.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
            "country": "US",
            "display_brand": method.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": f"fp{method.brand}{method.last4}",
            "funding": method.funding,
            "generated_from": None,
            "last4": method.last4,
            "networks": {"available": [method.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    }


def build_dispute_details(charge: Mapping[str, Any], reason: str, *, inquiry: bool) -> Json:
    """Return a dispute's field `payment_method_details`; nothing for other methods than cards."""
    card = charge["payment_method_details"].get("card")
    if card is None:
        return {}
    details = {
        "brand": card["brand"],
        "case_type": "inquiry" if inquiry else "chargeback",
        "network": card["network"],
        "network_reason_code": "10.4" if reason == "fraudulent" else "13.1",
    }
    return {"payment_method_details": {"card": details, "type": "card"}}


def build_destination(method: Method, status: str) -> Json | None:
    """Return a refund's `destination_details` in `status`; None for a method without any."""
    if method.destination is None:
        return None
    if method.is_card:
        if status == "succeeded":
            card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
        else:
            card = {"type": "pending"}
        return {"card": card, "type": "card"}
    place: Json = {"reference": None, "reference_status": "pending"} if method.destination in _WITH_REFERENCE else {}
    if method.destination == "paypal":
        place["network_decline_code"] = None
    return {method.destination: place, "type": method.destination}
