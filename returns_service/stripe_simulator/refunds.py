"""Refunds: when Stripe accepts one, and how its status moves (docs.stripe.com/refunds).

A refund that is pending, waits for the customer or succeeded counts as paid back; a failed or canceled one frees its
money. So for every charge the sum of its refunds that are neither failed nor canceled is at most the captured amount.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import objects
from .cards import TEST_METHODS, format_amount
from .collection import Json
from .ledger import ABSENT, Ledger
from .refusals import not_found_error, state_error

FREED = ("failed", "canceled")
OPEN = ("pending", "requires_action")
REASONS = ("duplicate", "fraudulent", "requested_by_customer")
INSTRUCTIONS_LIFE_SECONDS = 45 * 86400  # the customer has that long to answer a refund that requires action

_UPDATE_EVENTS = ("refund.updated", "charge.refund.updated")


class WrongMove(Exception):
    """A move that Stripe never makes on an object in this state."""


def find_charge_to_refund(ledger: Ledger, charge: str | None, intent: str | None) -> Json:
    """Return the charge `charge`, or that of the PaymentIntent `intent`. Refuses one that took no money."""
    if charge is not None:
        row = ledger.charges.get(charge)
        if row is None:
            raise not_found_error("charge", charge, "charge")
        if row["status"] != "succeeded" or not row["captured"]:
            raise state_error(f"Charge {charge} has not been captured, so it cannot be refunded.", "charge")
        return row
    payment = ledger.payment_intents.get(intent or "")
    if payment is None:
        raise not_found_error("payment_intent", intent or "", "payment_intent")
    if payment["status"] != "succeeded":
        words = f"This PaymentIntent ({intent}) does not have a successful charge to refund."
        raise state_error(words, "payment_intent")
    return ledger.charges[payment["latest_charge"]]


def count_refundable(charge: Json) -> int:
    """Return the rest that can still be refunded, in minor units."""
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    return left


def create(
    ledger: Ledger, charge: Json, amount: int | None, reason: str | None, metadata: dict[str, str], **more: Any
) -> Json:
    """Refund `amount` minor units of `charge` (None: the whole rest)."""
    left, currency = count_refundable(charge), charge["currency"]
    if left == 0:
        words = f"Charge {charge['id']} has already been refunded."
        raise state_error(words, code="charge_already_refunded", charge=charge["id"])
    if not all(ledger.disputes[name]["is_charge_refundable"] for name in ledger.disputes_of.get(charge["id"], [])):
        words = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise state_error(words, code="charge_disputed", charge=charge["id"])
    amount = left if amount is None else amount
    if amount > left:  # Stripe gives no code here
        raise state_error(
            f"Refund amount ({format_amount(amount, currency)}) is greater than unrefunded amount on charge "
            f"({format_amount(left, currency)})", "amount",
        )  # fmt: skip
    if ledger.settings.balance == "short_refuses":
        words = "Insufficient funds in your Stripe account to refund this amount."
        raise state_error(words, code="balance_insufficient")
    refund = objects.build_refund(ledger.new_id("re_3"), ledger.second(), amount, charge, metadata)
    refund.update(reason=reason, **more)
    card = TEST_METHODS[ledger.methods[charge["payment_method"]]]
    if ledger.settings.balance == "short_waits":
        refund.update(status="pending", pending_reason="insufficient_funds")
    elif card.refunds == "pending":
        refund.update(status="pending", pending_reason="processing")
    else:
        refund["status"] = "succeeded"
    _book_money(ledger, refund)
    _set_destination(refund)
    ledger.refunds.add(refund)
    ledger.refunds_of.setdefault(charge["id"], []).append(refund["id"])
    ledger.emit("refund.created", refund)
    ledger.change(charge, _count_refunds(ledger, charge), "charge.refunded")
    if refund["status"] == "succeeded" and card.refunds == "fail_later":
        _schedule(ledger, refund, "refund fails", "succeeded", lambda: fail(ledger, refund, "expired_or_canceled_card"))
    if refund["status"] == "pending" and ledger.settings.balance == "enough":
        _schedule(ledger, refund, "refund settles", "pending", lambda: settle(ledger, refund))
    return refund


def update(ledger: Ledger, refund: Json, metadata: dict[str, str]) -> Json:
    """Replace the refund's metadata."""
    ledger.change(refund, {"metadata": metadata}, *_UPDATE_EVENTS)
    return refund


def settle(ledger: Ledger, refund: Json) -> None:
    """Move a refund from `pending` or `requires_action` to `succeeded`: the money arrived."""
    _must_be(refund, *OPEN)
    _move(ledger, refund, "succeeded")


def pend(ledger: Ledger, refund: Json) -> None:
    """Move a refund from `requires_action` to `pending`: the customer answered."""
    _must_be(refund, "requires_action")
    _move(ledger, refund, "pending", pending_reason="processing")


def require_action(ledger: Ledger, refund: Json) -> None:
    """Move a refund from `pending` or `succeeded` to `requires_action`: the bank needs the customer's help."""
    _must_be(refund, "pending", "succeeded")
    now = ledger.second()
    sent = {"email_sent_at": now, "email_sent_to": "customer@shop.example"}
    details = {"email_sent": sent, "expires_at": now + INSTRUCTIONS_LIFE_SECONDS}
    _move(ledger, refund, "requires_action", next_action={"display_details": details, "type": "display_details"})


def fail(ledger: Ledger, refund: Json, reason: str = "unknown") -> None:
    """Let the bank refuse a refund, also long after `succeeded`; the money returns to the balance."""
    _must_be(refund, *OPEN, "succeeded")
    more = _UPDATE_EVENTS if ledger.settings.failed_sends_updated else ("charge.refund.updated",)
    _free(ledger, refund, "failed", reason, "refund.failed", *more)


def cancel(ledger: Ledger, refund: Json) -> None:
    """Cancel a refund that is `pending` or `requires_action`."""
    _must_be(refund, *OPEN)
    _free(ledger, refund, "canceled", "merchant_request", *_UPDATE_EVENTS)


def set_arn(ledger: Ledger, refund: Json, reference: str | None = None) -> None:
    """Write the bank's reference number (ARN) into a refund; its status stays."""
    number = reference or "".join(ledger.random.choices("0123456789", k=23))
    card = {"reference": number, "reference_status": "available", "reference_type": "acquirer_reference_number"}
    details = {"card": {**card, "type": "refund"}, "type": "card"}
    ledger.change(refund, {"destination_details": details}, *_UPDATE_EVENTS)


def fail_disputed(ledger: Ledger, charge: Json) -> None:
    """Fail the charge's open refunds: a formal dispute takes the money."""
    for name in ledger.refunds_of.get(charge["id"], []):
        if ledger.refunds[name]["status"] in OPEN:
            fail(ledger, ledger.refunds[name], "charge_for_pending_refund_disputed")


def fill_balance(ledger: Ledger) -> None:
    """Fill the balance: the refunds that waited for it settle soon."""
    ledger.settings.balance = "enough"
    for refund in ledger.refunds:
        if refund.get("pending_reason") == "insufficient_funds":
            _schedule(ledger, refund, "refund settles", "pending", _make_settle(ledger, refund))


def _make_settle(ledger: Ledger, refund: Json) -> Callable[[], None]:
    return lambda: settle(ledger, refund)


def _schedule(ledger: Ledger, refund: Json, what: str, status: str, make: Callable[[], None]) -> None:
    """Call `make` after the settling time, if the refund still has `status` then."""

    def make_if_unmoved() -> None:
        if refund["status"] == status:
            make()

    ledger.schedule(ledger.settings.settle_seconds, what, refund["id"], make_if_unmoved)


def _must_be(refund: Json, *statuses: str) -> None:
    if refund["status"] not in statuses:
        raise WrongMove(f"refund {refund['id']} is {refund['status']}, not {' or '.join(statuses)}")


def _move(ledger: Ledger, refund: Json, status: str, **more: Any) -> None:
    after: Json = {**refund, "status": status}
    for name in ("pending_reason", "next_action"):
        after[name] = more.get(name, ABSENT)
    _book_money(ledger, after)
    if "reference" not in refund.get("destination_details", {}).get("card", {}):
        _set_destination(after)
    ledger.change(refund, after, *_UPDATE_EVENTS)


def _book_money(ledger: Ledger, refund: Json) -> None:
    """Take the refund's money off the balance, once."""
    if refund["balance_transaction"] is None and refund.get("pending_reason") != "insufficient_funds":
        line = ledger.book(-refund["amount"], refund["currency"], refund["id"], "refund")
        refund["balance_transaction"] = line


def _set_destination(refund: Json) -> None:
    """Write into the refund where the money goes."""
    if refund["status"] == "succeeded":
        card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
    else:
        card = {"type": "pending"}
    refund["destination_details"] = {"card": card, "type": "card"}


def _free(ledger: Ledger, refund: Json, status: str, reason: str, *event_types: str) -> None:
    changes: Json = {"status": status, "failure_reason": reason, "pending_reason": ABSENT, "next_action": ABSENT}
    if refund["balance_transaction"] is not None:
        line = ledger.book(refund["amount"], refund["currency"], refund["id"], "refund_failure")
        changes["failure_balance_transaction"] = line
    ledger.change(refund, changes, *event_types)
    charge = ledger.charges[refund["charge"]]
    charge.update(_count_refunds(ledger, charge))


def _count_refunds(ledger: Ledger, charge: Json) -> Json:
    """Return the charge's sums over its refunds."""
    rows = (ledger.refunds[name] for name in ledger.refunds_of.get(charge["id"], []))
    amount = sum(row["amount"] for row in rows if row["status"] not in FREED)
    return {"amount_refunded": amount, "refunded": amount == charge["amount_captured"]}
