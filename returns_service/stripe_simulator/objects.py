"""The shapes of Stripe's objects at API version 2026-10-28.endive, as JSON (docs.stripe.com/api).

A field that Stripe leaves absent until it has a value is absent here too, not null. Amounts are in minor units, times
in seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .collection import Json
from .method_details import build_charge_details, build_dispute_details, build_method_details
from .methods import Method

LIST_OBJECTS = ("list", "search_result")
EMBEDDED_ROWS = 10  # a list inside an object holds at most that many rows

EVIDENCE = (
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal "
    "customer_communication customer_email_address customer_name customer_purchase_ip customer_signature "
    "duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt "
    "refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation "
    "shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number "
    "uncategorized_file uncategorized_text"
).split()


def build_payment_intent(name: str, created: int, amount: int, currency: str, **more: Any) -> Json:
    """Return a PaymentIntent that waits for a payment; `amount` in minor units."""
    return {
        "id": name,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{name}_secret_simulated",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **more,
    }


def build_charge(name: str, created: int, intent: Mapping[str, Any], method: Method) -> Json:
    """Return a charge authorized in full, not captured yet."""
    return {
        "id": name,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "calculated_statement_descriptor": "SIMULATED SHOP",
        "captured": False,
        "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 12,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": build_charge_details(intent, method),
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def build_refund(name: str, created: int, amount: int, charge: Mapping[str, Any], metadata: dict[str, str]) -> Json:
    """Return a refund of `amount` minor units, with no status yet."""
    return {
        "id": name,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "customer": None,
        "customer_account": None,
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": None,
        "transfer_reversal": None,
    }


def build_dispute(name: str, created: int, charge: Mapping[str, Any], reason: str, *, inquiry: bool) -> Json:
    """Return a dispute over the whole captured amount; it waits for the shop's answer."""
    evidence: Json = dict.fromkeys(EVIDENCE)
    return {
        "id": name,
        "object": "dispute",
        "amount": charge["amount_captured"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**evidence, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": created + 9 * 86400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        **build_dispute_details(charge, reason, inquiry=inquiry),
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def build_balance_transaction(
    name: str, created: int, amount: int, currency: str, source: str, kind: str, category: str, available_on: int
) -> Json:
    """Return a line of the account's balance; `amount` is signed, in minor units."""
    return {
        "id": name,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": "payments",
        "created": created,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": amount,
        "reporting_category": category,
        "source": source,
        "status": "available" if available_on <= created else "pending",
        "type": kind,
    }


def build_fraud_warning(name: str, created: int, charge: Mapping[str, Any]) -> Json:
    """Return an early fraud warning by the card's issuer: no dispute, and no money moved."""
    return {
        "id": name,
        "object": "radar.early_fraud_warning",
        "actionable": True,
        "charge": charge["id"],
        "created": created,
        "fraud_type": "misc",
        "livemode": False,
        "payment_intent": charge["payment_intent"],
    }


def build_webhook_endpoint(name: str, created: int, url: str, enabled_events: list[str], **more: Any) -> Json:
    """Return a webhook endpoint without its secret."""
    return {
        "id": name,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": created,
        "description": None,
        "enabled_events": enabled_events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
        **more,
    }


def build_account(name: str) -> Json:
    """Return the one account of this Stripe."""
    return {
        "id": name,
        "object": "account",
        "business_profile": {"name": "Simulated Shop", "url": None},
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@shop.example",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_payments": {"statement_descriptor_prefix": None},
            "dashboard": {"display_name": "Simulated Shop", "timezone": "Etc/UTC"},
            "payments": {
                "statement_descriptor": "SIMULATED SHOP", "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
            },
        },
        "type": "standard",
    }  # fmt: skip


def build_customer(customer_id: str, created: int, **more: Any) -> Json:
    """Return a customer; `more` are its own fields, such as `email`."""
    return {
        "id": customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": created,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": customer_id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **more,
    }  # fmt: skip


def build_payment_method(name: str, created: int, method: Method) -> Json:
    """Return a payment method that no customer keeps."""
    return {
        "id": name,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "created": created,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": method.type,
        **build_method_details(method),
    }


def build_list(url: str, rows: list[Json], has_more: bool) -> Json:
    """Return one page of a list."""
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def build_search_result(url: str, rows: list[Json], next_page: str | None) -> Json:
    """Return one page of a search."""
    has_more = next_page is not None
    return {"object": "search_result", "data": rows, "has_more": has_more, "next_page": next_page, "url": url}
