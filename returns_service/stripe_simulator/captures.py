"""What follows an authorization: captures, increments, cancellation, expiry (docs.stripe.com/payments/capture-later).

Before 2025-03-31.basil, a partial capture and a cancellation also created a Refund of the released amount; the API
version of the call decides (docs.stripe.com/changelog/basil/2025-03-31/
remove-refund-from-partial-capture-and-payment-cancellation-flow).
"""

from __future__ import annotations

from . import refunds
from .collection import Json
from .ledger import Ledger
from .payments import UNPAID, find_method, finish, take, wrong_status_error
from .refunds import WrongMove
from .refusals import param_error, state_error
from .versions import REFUND_OF_RELEASE_ENDS, is_before

CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


def capture(
    ledger: Ledger, intent: Json, amount: int | None, *, final: bool = True, metadata: dict[str, str] | None = None
) -> Json:
    """Capture `amount` minor units of an authorized payment (None: all).

    A `final` capture releases the rest. Without `final` the PaymentIntent stays in `requires_capture` until all is
    captured (docs.stripe.com/payments/multicapture); it must have asked for multicapture.
    """
    if intent["status"] != "requires_capture":
        raise wrong_status_error(intent, "capture")
    charge = ledger.charges[intent["latest_charge"]]
    capturable = intent["amount_capturable"]
    taken = capturable if amount is None else amount
    if taken > capturable:
        words = "The amount_to_capture must be less than or equal to the capturable amount."
        raise param_error(words, "amount_to_capture", "amount_too_large")
    is_multicapture = _is_available(charge, "multicapture")
    if not final and not is_multicapture:
        raise param_error("The final_capture parameter needs multicapture on this PaymentIntent.", "final_capture")
    if metadata is not None:
        intent["metadata"] = metadata
    rest = capturable - taken
    before = {"captured": charge["captured"], "amount_captured": charge["amount_captured"]}
    if final or rest == 0:
        has_release = rest > 0 and is_before(ledger.api_version, REFUND_OF_RELEASE_ENDS)
        take(ledger, charge, find_method(ledger, charge), taken, rest if has_release else 0)
        ledger.emit("charge.captured", charge, before)
        if has_release:
            refunds.release(ledger, charge, rest, "partial_capture_reversal")
        finish(ledger, intent, charge)
    else:
        take(ledger, charge, find_method(ledger, charge), taken)
        ledger.emit("charge.captured", charge, before)
        intent.update(amount_capturable=rest, amount_received=charge["amount_captured"])
        ledger.emit("payment_intent.amount_capturable_updated", intent)
    if is_multicapture:
        ledger.emit("charge.updated", charge, {"amount_captured": before["amount_captured"]})
    return intent


def increment(ledger: Ledger, intent: Json, amount: int) -> Json:
    """Raise the authorized amount to `amount` minor units (docs.stripe.com/payments/incremental-authorization)."""
    if intent["status"] != "requires_capture":
        raise wrong_status_error(intent, "increment the authorization of")
    charge = ledger.charges[intent["latest_charge"]]
    if not _is_available(charge, "incremental_authorization"):
        raise state_error("This PaymentIntent is not eligible for an incremental authorization.", "payment_intent")
    more = amount - intent["amount"]
    if more <= 0:
        words = "The amount must be greater than the currently authorized amount."
        raise param_error(words, "amount", "parameter_invalid_integer")
    card = {**charge["payment_method_details"]["card"], "amount_authorized": amount}
    details = {**charge["payment_method_details"], "card": card}
    intent.update(amount=amount, amount_capturable=intent["amount_capturable"] + more)
    ledger.change(charge, {"amount": amount, "payment_method_details": details}, "charge.updated")
    ledger.emit("payment_intent.amount_capturable_updated", intent)
    return intent


def cancel(ledger: Ledger, intent: Json, reason: str | None) -> Json:
    """Cancel a PaymentIntent; an authorization is released (docs.stripe.com/api/payment_intents/cancel)."""
    if intent["status"] not in (*UNPAID, "requires_capture"):
        raise wrong_status_error(intent, "cancel")
    if intent["status"] == "requires_capture":
        _release_authorization(ledger, intent, None)
    _end(ledger, intent, reason)
    return intent


def expire(ledger: Ledger, intent: Json) -> None:
    """Let an authorization expire uncaptured."""
    if intent["status"] != "requires_capture":
        raise WrongMove(f"payment {intent['id']} is {intent['status']}, not requires_capture")
    ledger.emit("charge.expired", ledger.charges[intent["latest_charge"]])
    _release_authorization(ledger, intent, "expired_uncaptured_charge")
    _end(ledger, intent, "automatic" if is_before(ledger.api_version, REFUND_OF_RELEASE_ENDS) else "expired")


def _release_authorization(ledger: Ledger, intent: Json, reason: str | None) -> None:
    charge = ledger.charges[intent["latest_charge"]]
    if is_before(ledger.api_version, REFUND_OF_RELEASE_ENDS):
        if not charge["captured"]:
            charge["amount_captured"] = None
        refunds.release(ledger, charge, intent["amount_capturable"], None, reason)


def _end(ledger: Ledger, intent: Json, reason: str | None) -> None:
    intent.update(
        status="canceled",
        canceled_at=ledger.second(),
        cancellation_reason=reason,
        amount_capturable=0,
        next_action=None,
    )
    ledger.emit("payment_intent.canceled", intent)


def _is_available(charge: Json, feature: str) -> bool:
    card = charge["payment_method_details"].get("card", {})
    return bool(card.get(feature, {}).get("status") == "available")
