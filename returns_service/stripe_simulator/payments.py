"""PaymentIntents and their charges, up to the charge (docs.stripe.com/payments/paymentintents/lifecycle).

`captures` has what follows an authorization: capture, cancellation, expiry.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from . import disputes, objects, refunds
from .collection import Json, copy_json
from .currencies import check_minimum, check_step
from .ledger import Ledger
from .methods import TEST_METHODS, Decline, Method
from .refunds import WrongMove
from .refusals import Refusal, param_error, state_error

FUNDS_WAIT_SECONDS = 2 * 86400  # a charge's money is available on the balance after two days
UNPAID = ("requires_payment_method", "requires_confirmation", "requires_action")

_FAILED_DEBIT = Decline("payment_method_provider_decline", None, "The customer's bank returned the debit.")
_NOT_AUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    None,
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod "
    "to attempt to fulfill this PaymentIntent again.",
)


def create(ledger: Ledger, amount: int, currency: str, method: str | None, confirm: bool, **more: Any) -> Json:
    """Create a PaymentIntent of `amount` minor units and, with `confirm`, charge its method.

    Raises Refusal with 402 when the card is declined; the PaymentIntent stays and can be confirmed again.
    """
    intent = objects.build_payment_intent(ledger.new_id("pi_3"), ledger.second(), amount, currency, **more)
    if method is not None:
        _set_method(ledger, intent, method)
        intent["status"] = "requires_confirmation"
    ledger.payment_intents.add(intent)
    ledger.emit("payment_intent.created", intent)
    if confirm:
        _start(ledger, intent)
    return intent


def attach(ledger: Ledger, method: str) -> str:
    """Return the id of a payment method built from the test method `method`."""
    if method in ledger.methods:
        return method
    name = ledger.new_id("pm_1")
    ledger.methods[name] = method
    ledger.payment_methods.add(objects.build_payment_method(name, ledger.second(), TEST_METHODS[method]))
    return name


def find_method(ledger: Ledger, row: Json) -> Method:
    """Return the test method that pays a PaymentIntent or charge."""
    return TEST_METHODS[ledger.methods[row["payment_method"]]]


def check_method(ledger: Ledger, method: str) -> str:
    """Return `method` if it names a test method or a payment method built from one; refuse it otherwise."""
    if method not in TEST_METHODS and method not in ledger.methods:
        raise Refusal(404, f"No such PaymentMethod: '{method}'", "resource_missing", "payment_method")
    return method


def update(ledger: Ledger, intent: Json, changes: Json) -> Json:
    """Write `changes` into a PaymentIntent. Amount, currency and method can change only before it is paid."""
    early = [name for name in ("amount", "currency", "payment_method") if name in changes]
    if early and intent["status"] not in UNPAID:
        raise state_error(
            f"This PaymentIntent's {early[0]} could not be updated because it has a status of {intent['status']}. You "
            f"may only update the {early[0]} of a PaymentIntent with one of the following statuses: "
            f"{', '.join(UNPAID)}.", early[0], "payment_intent_unexpected_state", payment_intent=copy_json(intent),
        )  # fmt: skip
    after = {**intent, **changes}
    check_step(after["amount"], after["currency"])
    check_minimum(after["amount"], after["currency"])
    method = changes.pop("payment_method", None)
    intent.update(changes)
    if method is not None:
        _set_method(ledger, intent, method)
        intent.update(status="requires_confirmation", next_action=None)
    return intent


def confirm(ledger: Ledger, intent: Json, method: str | None, options: Json | None = None) -> Json:
    """Charge the PaymentIntent's method, or the method `method`. `options`: its `payment_method_options`."""
    if intent["status"] not in UNPAID:
        raise wrong_status_error(intent, "confirm")
    if method is not None:
        _set_method(ledger, intent, check_method(ledger, method))
    if options is not None:
        intent["payment_method_options"] = {**intent["payment_method_options"], **options}
    _start(ledger, intent)
    return intent


def _set_method(ledger: Ledger, intent: Json, method: str) -> None:
    intent["payment_method"] = attach(ledger, method)
    intent["payment_method_types"] = [find_method(ledger, intent).type]


def _start(ledger: Ledger, intent: Json) -> None:
    """Charge the method of `intent`, or wait for the customer's authentication."""
    if intent["payment_method"] is None:
        raise state_error(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.", code="payment_intent_unexpected_state",
        )  # fmt: skip
    method = find_method(ledger, intent)
    if intent["capture_method"] == "manual" and not method.is_card:
        raise param_error(f"The payment method {method.type} cannot be captured later.", "capture_method")
    if method.needs_authentication:
        action = {"redirect_to_url": {"return_url": None, "url": f"https://stripe.test/{intent['id']}"}}
        intent.update(status="requires_action", next_action={**action, "type": "redirect_to_url"})
        ledger.emit("payment_intent.requires_action", intent)
    else:
        _charge(ledger, intent)


def authenticate(ledger: Ledger, intent: Json) -> None:
    """Let the customer authenticate: the charge goes on."""
    _must_be(intent, "requires_action")
    intent["next_action"] = None
    _charge(ledger, intent)


def fail_authentication(ledger: Ledger, intent: Json) -> None:
    """Let the customer fail to authenticate: the PaymentIntent waits for another method."""
    _must_be(intent, "requires_action")
    intent["next_action"] = None
    _reject(ledger, intent, _NOT_AUTHENTICATED, None)


def _charge(ledger: Ledger, intent: Json) -> None:
    method = find_method(ledger, intent)
    charge = objects.build_charge(ledger.new_id("ch_3"), ledger.second(), intent, method)
    ledger.charges.add(charge)
    ledger.charges_of.setdefault(intent["id"], []).append(charge["id"])
    if method.decline is not None:
        raise _decline(ledger, intent, charge, method.decline)
    intent["last_payment_error"] = None
    if intent["capture_method"] == "manual":
        ledger.emit("charge.succeeded", charge)
        ledger.change(
            intent,
            {"status": "requires_capture", "amount_capturable": intent["amount"], "latest_charge": charge["id"]},
        )
        ledger.emit("payment_intent.amount_capturable_updated", intent)
    elif method.is_delayed:
        charge.update(status="pending", paid=False, captured=True, amount_captured=charge["amount"])
        intent.update(status="processing", latest_charge=charge["id"])
        ledger.emit("charge.pending", charge)
        ledger.emit("payment_intent.processing", intent)
        _schedule_settlement(ledger, intent)
    else:
        take(ledger, charge, method, charge["amount"])
        ledger.emit("charge.succeeded", charge)
        finish(ledger, intent, charge)
    _schedule_aftermath(ledger, charge, method)


def take(ledger: Ledger, charge: Json, method: Method, amount: int, released: int = 0) -> None:
    """Book `amount` minor units of a charge as captured, and `released` more that a refund takes back at once."""
    available_on = ledger.second() + (0 if method.is_available_at_once else FUNDS_WAIT_SECONDS)
    kind = "charge" if method.is_card else "payment"
    line = ledger.book(amount + released, charge["currency"], charge["id"], kind, available_on=available_on)
    charge.update(captured=True, amount_captured=charge["amount_captured"] + amount, balance_transaction=line)
    charge["refunded"] = False  # also if earlier captures were refunded in full


def finish(ledger: Ledger, intent: Json, charge: Json) -> None:
    """Let a PaymentIntent succeed with what its charge captured."""
    intent.update(
        status="succeeded",
        amount_received=charge["amount_captured"],
        amount_capturable=0,
        latest_charge=charge["id"],
    )
    ledger.emit("payment_intent.succeeded", intent)


def settle(ledger: Ledger, intent: Json) -> None:
    """Let a bank debit that is `processing` succeed; the refunds that waited for it settle soon."""
    _must_be(intent, "processing")
    charge = ledger.charges[intent["latest_charge"]]
    charge.update(status="succeeded", paid=True, amount_captured=0)
    take(ledger, charge, find_method(ledger, charge), charge["amount"])
    ledger.emit("charge.succeeded", charge)
    finish(ledger, intent, charge)
    refunds.start_waiting(ledger, charge)


def fail(ledger: Ledger, intent: Json) -> None:
    """Let a bank debit that is `processing` fail; the refunds that waited for it are canceled."""
    _must_be(intent, "processing")
    charge = ledger.charges[intent["latest_charge"]]
    charge.update(captured=False, amount_captured=0)
    _mark_failed(charge, _FAILED_DEBIT)
    refunds.cancel_waiting(ledger, charge)
    ledger.emit("charge.failed", charge)
    _reject(ledger, intent, _FAILED_DEBIT, charge)


def _decline(ledger: Ledger, intent: Json, charge: Json, decline: Decline) -> Refusal:
    """Write the failed charge and return the refusal, a 402."""
    _mark_failed(charge, decline)
    ledger.emit("charge.failed", charge)
    _reject(ledger, intent, decline, charge)
    more = {"charge": charge["id"], "payment_intent": copy_json(intent)}
    if decline.decline_code is not None:
        more["decline_code"] = decline.decline_code
    return Refusal(402, decline.message, decline.code, type="card_error", more=more)


def _mark_failed(charge: Json, decline: Decline) -> None:
    charge.update(
        status="failed", paid=False, failure_code=decline.code, failure_message=decline.message,
        outcome={
            **charge["outcome"], "network_status": "declined_by_network", "type": "issuer_declined",
            "reason": decline.decline_code or decline.code,
            "seller_message": "The bank did not return any further details with this decline.",
        },
    )  # fmt: skip


def _reject(ledger: Ledger, intent: Json, decline: Decline, charge: Json | None) -> None:
    """Let a PaymentIntent wait for another method, and emit why."""
    kind = "card_error" if charge is None or "card" in charge["payment_method_details"] else "invalid_request_error"
    error: Json = {"code": decline.code, "message": decline.message, "type": kind}
    if charge is not None:
        error = {"charge": charge["id"], **error}
        intent["latest_charge"] = charge["id"]
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
    ledger.emit("payment_intent.payment_failed", intent)


def _schedule_settlement(ledger: Ledger, intent: Json) -> None:
    def settle_if_processing() -> None:
        if intent["status"] == "processing":
            settle(ledger, intent)

    ledger.schedule(ledger.settings.settle_seconds, "payment settles", intent["id"], settle_if_processing)


def _schedule_aftermath(ledger: Ledger, charge: Json, method: Method) -> None:
    """Schedule the dispute or the fraud warning that a test card brings."""
    wait = ledger.settings.settle_seconds
    if method.dispute is not None:
        open_it = partial(disputes.open_if_calm, ledger, charge, method.dispute, inquiry=method.is_inquiry)
        ledger.schedule(wait, "dispute", charge["id"], open_it)
    if method.is_fraud_reported:
        ledger.schedule(wait, "fraud warning", charge["id"], partial(disputes.warn, ledger, charge))


def wrong_status_error(intent: Json, verb: str) -> Refusal:
    """400: the PaymentIntent's status forbids to `verb` it."""
    return state_error(
        f"This PaymentIntent's status is {intent['status']}, so you cannot {verb} it.",
        code="payment_intent_unexpected_state", payment_intent=copy_json(intent),
    )  # fmt: skip


def _must_be(intent: Json, status: str) -> None:
    if intent["status"] != status:
        raise WrongMove(f"payment {intent['id']} is {intent['status']}, not {status}")
