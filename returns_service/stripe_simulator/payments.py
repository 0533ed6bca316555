"""PaymentIntents and their charges (docs.stripe.com/payments/paymentintents/lifecycle)."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import disputes, objects
from .cards import TEST_METHODS, Card, Decline
from .collection import Json, copy_json
from .ledger import Ledger
from .refusals import Refusal, param_error, state_error

FUNDS_WAIT_SECONDS = 2 * 86400  # a charge's money is available on the balance after two days


def create(ledger: Ledger, amount: int, currency: str, method: str | None, confirm: bool, **more: Any) -> Json:
    """Create a PaymentIntent of `amount` minor units and, with `confirm`, charge its card.

    Raises Refusal with 402 when the card is declined; the PaymentIntent stays and can be confirmed again.
    """
    intent = objects.build_payment_intent(ledger.new_id("pi_3"), ledger.second(), amount, currency, **more)
    if method is not None:
        intent["payment_method"] = attach(ledger, method)
        intent["status"] = "requires_confirmation"
    ledger.payment_intents.add(intent)
    ledger.emit("payment_intent.created", intent)
    if confirm:
        pay(ledger, intent)
    return intent


def attach(ledger: Ledger, method: str) -> str:
    """Return the id of a payment method built from the test card `method`."""
    if method in ledger.methods:
        return method
    name = ledger.new_id("pm_1")
    ledger.methods[name] = method
    return name


def check_method(ledger: Ledger, method: str) -> str:
    """Return `method` if it names a test card or a payment method built from one; refuse it otherwise."""
    if method not in TEST_METHODS and method not in ledger.methods:
        raise Refusal(404, f"No such PaymentMethod: '{method}'", "resource_missing", "payment_method")
    return method


def confirm(ledger: Ledger, intent: Json, method: str | None) -> Json:
    """Charge the PaymentIntent's card, or the card `method`."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        raise _wrong_status_error(intent, "confirm")
    if method is not None:
        intent["payment_method"] = attach(ledger, check_method(ledger, method))
    pay(ledger, intent)
    return intent


def pay(ledger: Ledger, intent: Json) -> None:
    """Charge the card of `intent`."""
    if intent["payment_method"] is None:
        raise state_error(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.", code="payment_intent_unexpected_state",
        )  # fmt: skip
    card = TEST_METHODS[ledger.methods[intent["payment_method"]]]
    charge = objects.build_charge(ledger.new_id("ch_3"), ledger.second(), intent, card)
    ledger.charges.add(charge)
    ledger.charges_of.setdefault(intent["id"], []).append(charge["id"])
    if card.decline is not None:
        raise _decline(ledger, intent, charge, card.decline)
    if intent["capture_method"] == "manual":
        ledger.emit("charge.succeeded", charge)
        ledger.change(
            intent,
            {"status": "requires_capture", "amount_capturable": intent["amount"], "latest_charge": charge["id"]},
        )
        ledger.emit("payment_intent.amount_capturable_updated", intent)
    else:
        _capture(ledger, charge, card, charge["amount"])
        ledger.emit("charge.succeeded", charge)
        _finish(ledger, intent, charge)
    intent["last_payment_error"] = None
    _schedule_aftermath(ledger, charge, card)


def capture(ledger: Ledger, intent: Json, amount: int | None) -> Json:
    """Capture `amount` minor units of an authorized payment (None: all); the rest is released."""
    if intent["status"] != "requires_capture":
        raise _wrong_status_error(intent, "capture")
    charge = ledger.charges[intent["latest_charge"]]
    taken = intent["amount_capturable"] if amount is None else amount
    if taken > intent["amount_capturable"]:
        raise param_error(
            "The amount_to_capture must be less than or equal to the capturable amount.", "amount_to_capture",
            "amount_too_large",
        )  # fmt: skip
    card = TEST_METHODS[ledger.methods[charge["payment_method"]]]
    _capture(ledger, charge, card, taken)
    ledger.emit("charge.captured", charge, {"captured": False, "amount_captured": 0})
    _finish(ledger, intent, charge)
    return intent


def _capture(ledger: Ledger, charge: Json, card: Card, amount: int) -> None:
    available_on = ledger.second() + (0 if card.available_at_once else FUNDS_WAIT_SECONDS)
    line = ledger.book(amount, charge["currency"], charge["id"], "charge", available_on)
    charge.update(captured=True, amount_captured=amount, balance_transaction=line)


def _finish(ledger: Ledger, intent: Json, charge: Json) -> None:
    intent.update(
        status="succeeded",
        amount_received=charge["amount_captured"],
        amount_capturable=0,
        latest_charge=charge["id"],
    )
    ledger.emit("payment_intent.succeeded", intent)


def _decline(ledger: Ledger, intent: Json, charge: Json, decline: Decline) -> Refusal:
    """Write the failed charge and return the refusal, a 402."""
    charge.update(
        status="failed", paid=False, failure_code=decline.code, failure_message=decline.message,
        outcome={
            **charge["outcome"], "network_status": "declined_by_network", "type": "issuer_declined",
            "reason": decline.decline_code or decline.code,
            "seller_message": "The bank did not return any further details with this decline.",
        },
    )  # fmt: skip
    error: Json = {"charge": charge["id"], "code": decline.code, "message": decline.message, "type": "card_error"}
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    intent.update(
        status="requires_payment_method", payment_method=None, latest_charge=charge["id"], last_payment_error=error
    )
    ledger.emit("charge.failed", charge)
    ledger.emit("payment_intent.payment_failed", intent)
    more = {"charge": charge["id"], "payment_intent": copy_json(intent)}
    if decline.decline_code is not None:
        more["decline_code"] = decline.decline_code
    return Refusal(402, decline.message, decline.code, type="card_error", more=more)


def _schedule_aftermath(ledger: Ledger, charge: Json, card: Card) -> None:
    wait = ledger.settings.settle_seconds
    if card.dispute is not None:
        reason, inquiry = card.dispute, card.inquiry
        open_it = partial(disputes.open_if_calm, ledger, charge, reason, inquiry=inquiry)
        ledger.schedule(wait, "dispute", charge["id"], open_it)
    if card.fraud_warning:
        ledger.schedule(wait, "fraud warning", charge["id"], lambda: disputes.warn(ledger, charge))


def _wrong_status_error(intent: Json, verb: str) -> Refusal:
    return state_error(
        f"This PaymentIntent's status is {intent['status']}, so you cannot {verb} it.",
        code="payment_intent_unexpected_state", payment_intent=copy_json(intent),
    )  # fmt: skip
