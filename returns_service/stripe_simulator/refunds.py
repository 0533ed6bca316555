"""Refunds: what may be asked, and how a refund's status moves.

Money counts as given back while a refund is pending, waits for the customer, or succeeded; a failed or canceled one
frees it. So for every charge: the sum of its refunds that are neither failed nor canceled is <= captured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import objects
from .cards import TEST_METHODS, words_for
from .ledger import ABSENT, Ledger
from .refusals import missing, refused
from .shelf import Json

FREED = ("failed", "canceled")
OPEN = ("pending", "requires_action")
REASONS = ("duplicate", "fraudulent", "requested_by_customer")
INSTRUCTIONS_LIFE_SECONDS = 45 * 86400  # the customer's time to answer a refund that requires action

_TOLD = ("refund.updated", "charge.refund.updated")


class WrongMove(Exception):
    """Stripe never moves this object that way."""


def charge_to_refund(ledger: Ledger, charge: str | None, intent: str | None) -> Json:
    """Return the charge of `charge` or of the PaymentIntent `intent`; refuses if there is none that took money."""
    if charge is not None:
        row = ledger.charges.get(charge)
        if row is None:
            raise missing("charge", charge, "charge")
        if row["status"] != "succeeded" or not row["captured"]:
            raise refused(f"Charge {charge} has not been captured, so it cannot be refunded.", "charge")
        return row
    payment = ledger.payment_intents.get(intent or "")
    if payment is None:
        raise missing("payment_intent", intent or "", "payment_intent")
    if payment["status"] != "succeeded":
        raise refused(f"This PaymentIntent ({intent}) does not have a successful charge to refund.", "payment_intent")
    return ledger.charges[payment["latest_charge"]]


def refundable(charge: Json) -> int:
    """Return what is left to refund, in minor units."""
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    return left


def create(
    ledger: Ledger, charge: Json, amount: int | None, reason: str | None, metadata: dict[str, str], **given: Any
) -> Json:
    """Refund `amount` minor units of `charge` (None: all that is left)."""
    left, currency = refundable(charge), charge["currency"]
    if left == 0:
        words = f"Charge {charge['id']} has already been refunded."
        raise refused(words, code="charge_already_refunded", charge=charge["id"])
    if not all(ledger.disputes[name]["is_charge_refundable"] for name in ledger.disputes_of.get(charge["id"], [])):
        words = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise refused(words, code="charge_disputed", charge=charge["id"])
    amount = left if amount is None else amount
    if amount > left:  # Stripe gives no code here
        raise refused(
            f"Refund amount ({words_for(amount, currency)}) is greater than unrefunded amount on charge "
            f"({words_for(left, currency)})", "amount",
        )  # fmt: skip
    if ledger.settings.balance == "short_refuses":
        words = "Insufficient funds in your Stripe account to refund this amount."
        raise refused(words, code="balance_insufficient")
    refund = objects.refund(ledger.new_id("re_3"), ledger.second(), amount, charge, metadata)
    refund.update(reason=reason, **given)
    card = TEST_METHODS[ledger.methods[charge["payment_method"]]]
    if ledger.settings.balance == "short_waits":
        refund.update(status="pending", pending_reason="insufficient_funds")
    elif card.refunds == "pending":
        refund.update(status="pending", pending_reason="processing")
    else:
        refund["status"] = "succeeded"
    _pays(ledger, refund)
    _place(refund)
    ledger.refunds.add(refund)
    ledger.refunds_of.setdefault(charge["id"], []).append(refund["id"])
    ledger.tell("refund.created", refund)
    ledger.change(charge, _counted(ledger, charge), "charge.refunded")
    if refund["status"] == "succeeded" and card.refunds == "fail_later":
        _later(ledger, refund, "refund fails", "succeeded", lambda: fail(ledger, refund, "expired_or_canceled_card"))
    if refund["status"] == "pending" and ledger.settings.balance == "enough":
        _later(ledger, refund, "refund settles", "pending", lambda: settle(ledger, refund))
    return refund


def update(ledger: Ledger, refund: Json, metadata: dict[str, str]) -> Json:
    """Replace the refund's metadata."""
    ledger.change(refund, {"metadata": metadata}, *_TOLD)
    return refund


def settle(ledger: Ledger, refund: Json) -> None:
    """The money arrived: from `pending` or `requires_action` to `succeeded`."""
    _must_be(refund, *OPEN)
    _move(ledger, refund, "succeeded")


def pend(ledger: Ledger, refund: Json) -> None:
    """The customer answered: from `requires_action` to `pending`."""
    _must_be(refund, "requires_action")
    _move(ledger, refund, "pending", pending_reason="processing")


def require_action(ledger: Ledger, refund: Json) -> None:
    """The bank wants something of the customer, or sent the money back: from `pending` or `succeeded`."""
    _must_be(refund, "pending", "succeeded")
    now = ledger.second()
    sent = {"email_sent_at": now, "email_sent_to": "customer@shop.example"}
    shown = {"email_sent": sent, "expires_at": now + INSTRUCTIONS_LIFE_SECONDS}
    _move(ledger, refund, "requires_action", next_action={"display_details": shown, "type": "display_details"})


def fail(ledger: Ledger, refund: Json, reason: str = "unknown") -> None:
    """The bank refused it, also long after `succeeded`; the money is back on the balance."""
    _must_be(refund, *OPEN, "succeeded")
    told = (*_TOLD,) if ledger.settings.failed_sends_updated else ("charge.refund.updated",)
    _free(ledger, refund, "failed", reason, "refund.failed", *told)


def cancel(ledger: Ledger, refund: Json) -> None:
    """Somebody called it off while it was `pending` or `requires_action`."""
    _must_be(refund, *OPEN)
    _free(ledger, refund, "canceled", "merchant_request", *_TOLD)


def set_arn(ledger: Ledger, refund: Json, reference: str | None = None) -> None:
    """The bank's reference number (ARN) has come; the status stays."""
    number = reference or "".join(ledger.random.choices("0123456789", k=23))
    card = {"reference": number, "reference_status": "available", "reference_type": "acquirer_reference_number"}
    ledger.change(refund, {"destination_details": {"card": {**card, "type": "refund"}, "type": "card"}}, *_TOLD)


def fail_disputed(ledger: Ledger, charge: Json) -> None:
    """A formal dispute takes the money: what is still open fails."""
    for name in ledger.refunds_of.get(charge["id"], []):
        if ledger.refunds[name]["status"] in OPEN:
            fail(ledger, ledger.refunds[name], "charge_for_pending_refund_disputed")


def fill_balance(ledger: Ledger) -> None:
    """There is money again: what waited for it settles soon."""
    ledger.settings.balance = "enough"
    for refund in ledger.refunds:
        if refund.get("pending_reason") == "insufficient_funds":
            _later(ledger, refund, "refund settles", "pending", _settling(ledger, refund))


def _settling(ledger: Ledger, refund: Json) -> Callable[[], None]:
    return lambda: settle(ledger, refund)


def _later(ledger: Ledger, refund: Json, what: str, status: str, make: Callable[[], None]) -> None:
    """Let `make` happen after the settling time, if the refund still has `status` then."""

    def unless_moved() -> None:
        if refund["status"] == status:
            make()

    ledger.schedule(ledger.settings.settle_seconds, what, refund["id"], unless_moved)


def _must_be(refund: Json, *statuses: str) -> None:
    if refund["status"] not in statuses:
        raise WrongMove(f"refund {refund['id']} is {refund['status']}, not {' or '.join(statuses)}")


def _move(ledger: Ledger, refund: Json, status: str, **more: Any) -> None:
    after: Json = {**refund, "status": status}
    for name in ("pending_reason", "next_action"):
        after[name] = more.get(name, ABSENT)
    _pays(ledger, after)
    if "reference" not in refund.get("destination_details", {}).get("card", {}):
        _place(after)
    ledger.change(refund, after, *_TOLD)


def _pays(ledger: Ledger, refund: Json) -> None:
    """Take the money off the balance, once."""
    if refund["balance_transaction"] is None and refund.get("pending_reason") != "insufficient_funds":
        line = ledger.enter(-refund["amount"], refund["currency"], refund["id"], "refund")
        refund["balance_transaction"] = line


def _place(refund: Json) -> None:
    """Write where the money goes."""
    if refund["status"] == "succeeded":
        card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
    else:
        card = {"type": "pending"}
    refund["destination_details"] = {"card": card, "type": "card"}


def _free(ledger: Ledger, refund: Json, status: str, reason: str, *told: str) -> None:
    changes: Json = {"status": status, "failure_reason": reason, "pending_reason": ABSENT, "next_action": ABSENT}
    if refund["balance_transaction"] is not None:
        line = ledger.enter(refund["amount"], refund["currency"], refund["id"], "refund_failure")
        changes["failure_balance_transaction"] = line
    ledger.change(refund, changes, *told)
    charge = ledger.charges[refund["charge"]]
    charge.update(_counted(ledger, charge))


def _counted(ledger: Ledger, charge: Json) -> Json:
    """Return the charge's sums as its refunds make them."""
    rows = (ledger.refunds[name] for name in ledger.refunds_of.get(charge["id"], []))
    amount = sum(row["amount"] for row in rows if row["status"] not in FREED)
    return {"amount_refunded": amount, "refunded": amount == charge["amount_captured"]}
