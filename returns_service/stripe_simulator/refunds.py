"""Refunds: when Stripe accepts one, and how its status moves (docs.stripe.com/refunds).

A refund that is pending, waits for the customer or succeeded counts as paid back; a failed or canceled one frees its
money. So for every charge the sum of its refunds that are neither failed nor canceled is at most the captured amount.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from . import objects
from .collection import Json
from .currencies import check_step, format_amount
from .ledger import ABSENT, Ledger
from .method_details import build_destination
from .methods import DAY_SECONDS, TEST_METHODS, Method
from .refusals import not_found_error, param_error, state_error

FREED = ("failed", "canceled")
OPEN = ("pending", "requires_action")
REASONS = ("duplicate", "fraudulent", "requested_by_customer")
INSTRUCTIONS_LIFE_SECONDS = 45 * DAY_SECONDS  # the customer has that long to answer a refund that requires action

_UPDATE_EVENTS = ("refund.updated", "charge.refund.updated")


class WrongMove(Exception):
    """A move that Stripe never makes on an object in this state."""


def find_charge_to_refund(ledger: Ledger, charge: str | None, intent: str | None) -> Json:
    """Return the charge `charge`, or that of the PaymentIntent `intent`. Refuses one that took no money.

    A debit that is still processing can be refunded if its method lets refunds wait.
    """
    if charge is not None:
        row = ledger.charges.get(charge)
        if row is None:
            raise not_found_error("charge", charge, "charge")
        if not _took_money(ledger, row):
            raise state_error(f"Charge {charge} has not been captured, so it cannot be refunded.", "charge")
        return row
    payment = ledger.payment_intents.get(intent or "")
    if payment is None:
        raise not_found_error("payment_intent", intent or "", "payment_intent")
    row = ledger.charges.get(payment["latest_charge"] or "")
    if row is None or not _took_money(ledger, row):
        words = f"This PaymentIntent ({intent}) does not have a successful charge to refund."
        raise state_error(words, "payment_intent")
    return row


def _took_money(ledger: Ledger, charge: Json) -> bool:
    if charge["status"] == "pending":
        return _find_method(ledger, charge).refunds_wait
    return bool(charge["status"] == "succeeded" and charge["captured"])


def _find_method(ledger: Ledger, charge: Json) -> Method:
    return TEST_METHODS[ledger.methods[charge["payment_method"]]]


def compute_refundable(ledger: Ledger, charge: Json) -> int:
    """Return the captured amount that no refund has taken, in minor units."""
    rows = (row for row in ledger.find_refunds(charge["id"]) if row["id"] not in ledger.releases)
    refunded: int = sum(row["amount"] for row in rows if row["status"] not in FREED)
    captured: int = charge["amount_captured"] or 0
    return captured - refunded


def create(
    ledger: Ledger, charge: Json, amount: int | None, reason: str | None, metadata: dict[str, str], **more: Any
) -> Json:
    """Refund `amount` minor units of `charge` (None: the whole rest). `more`: further fields of the refund."""
    left, currency = compute_refundable(ledger, charge), charge["currency"]
    if left == 0:
        words = f"Charge {charge['id']} has already been refunded."
        raise state_error(words, code="charge_already_refunded", charge=charge["id"])
    if not all(ledger.disputes[name]["is_charge_refundable"] for name in ledger.disputes_of.get(charge["id"], [])):
        words = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise state_error(words, code="charge_disputed", charge=charge["id"])
    method = _find_method(ledger, charge)
    _check_window(ledger, charge, method)
    amount = left if amount is None else amount
    if amount > left:  # Stripe gives no code here
        raise state_error(
            f"Refund amount ({format_amount(amount, currency)}) is greater than unrefunded amount on charge "
            f"({format_amount(left, currency)})", "amount",
        )  # fmt: skip
    check_step(amount, currency)
    email = more.get("instructions_email") or charge["receipt_email"]
    if method.needs_email and email is None:
        words = f"A refund of a {method.type} payment needs instructions_email, or the customer's e-mail address."
        raise param_error(words, "instructions_email", "parameter_missing")
    if ledger.settings.balance == "short_refuses":
        words = "Insufficient funds in your Stripe account to refund this amount."
        raise state_error(words, code="balance_insufficient")
    refund = objects.build_refund(ledger.new_id("re_3"), ledger.second(), amount, charge, metadata)
    refund.update(reason=reason, **more)
    refund.update(_choose_status(ledger, charge, method, email))
    _book_money(ledger, refund)
    _set_destination(ledger, refund)
    _add(ledger, charge, refund)
    if refund["status"] == "succeeded" and method.refunds == "fail_later":
        fail_it = partial(fail, ledger, refund, "expired_or_canceled_card")
        _schedule(ledger, refund, "refund fails", "succeeded", fail_it)
    if refund.get("pending_reason") == "processing":
        _schedule(ledger, refund, "refund settles", "pending", partial(settle, ledger, refund))
    return refund


def _choose_status(ledger: Ledger, charge: Json, method: Method, email: str | None) -> Json:
    """Return the fields of a new refund that depend on its method, its charge and the balance."""
    if charge["status"] == "pending":
        return {"status": "pending", "pending_reason": "charge_pending"}
    if ledger.settings.balance == "short_waits":
        return {"status": "pending", "pending_reason": "insufficient_funds"}
    if method.needs_email:
        return {"status": "requires_action", "next_action": _build_instructions(ledger, email)}
    if method.refunds == "pending":
        return {"status": "pending", "pending_reason": "processing"}
    return {"status": "succeeded"}


def _build_instructions(ledger: Ledger, email: str | None) -> Json:
    """Return the `next_action` of a refund about which Stripe e-mails the customer."""
    now = ledger.second()
    details = {
        "email_sent": {"email_sent_at": now, "email_sent_to": email or "customer@shop.example"},
        "expires_at": now + INSTRUCTIONS_LIFE_SECONDS,
    }
    return {"display_details": details, "type": "display_details"}


def _check_window(ledger: Ledger, charge: Json, method: Method) -> None:
    """Refuse a refund that the payment method does not allow, or not any more (docs.stripe.com/refunds)."""
    days = method.refund_days
    if days == 0:
        words = f"Charges paid with {method.type} cannot be refunded."
        raise state_error(words, code="charge_not_refundable", charge=charge["id"])
    if days is not None and ledger.now() > charge["created"] + days * DAY_SECONDS:
        words = f"Charge {charge['id']} cannot be refunded: {method.type} allows refunds for {days} days."
        raise state_error(words, code="charge_not_refundable", charge=charge["id"])


def release(ledger: Ledger, charge: Json, amount: int, category: str | None, reason: str | None = None) -> Json:
    """Create the succeeded Refund that stood for `amount` minor units never captured, until 2025-03-31.basil.

    `category`: the `reporting_category` of its balance transaction; None: it has none.
    """
    refund = objects.build_refund(ledger.new_id("re_3"), ledger.second(), amount, charge, {})
    refund.update(status="succeeded", reason=reason)
    if category is not None:
        line = ledger.book(-amount, charge["currency"], refund["id"], "refund", category=category)
        refund["balance_transaction"] = line
    ledger.releases.add(refund["id"])
    _add(ledger, charge, refund)
    return refund


def _add(ledger: Ledger, charge: Json, refund: Json) -> None:
    ledger.refunds.add(refund)
    ledger.refunds_of.setdefault(charge["id"], []).append(refund["id"])
    ledger.emit("refund.created", refund)
    ledger.change(charge, _sum_refunds(ledger, charge), "charge.refunded")


def start_waiting(ledger: Ledger, charge: Json) -> None:
    """Let the refunds that waited for their charge go on: it succeeded."""
    for refund in _find_waiting(ledger, charge):
        _move(ledger, refund, "pending", pending_reason="processing")
        _schedule(ledger, refund, "refund settles", "pending", partial(settle, ledger, refund))


def cancel_waiting(ledger: Ledger, charge: Json) -> None:
    """Cancel the refunds that waited for their charge: it failed."""
    for refund in _find_waiting(ledger, charge):
        _free(ledger, refund, "canceled", "unknown", *_UPDATE_EVENTS)


def _find_waiting(ledger: Ledger, charge: Json) -> list[Json]:
    return [row for row in ledger.find_refunds(charge["id"]) if row.get("pending_reason") == "charge_pending"]


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
    _move(ledger, refund, "requires_action", next_action=_build_instructions(ledger, refund.get("instructions_email")))


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
    details = refund.get("destination_details", {"type": "none", "none": {}})
    kind = details["type"]
    place = {"reference": number, "reference_status": "available"}
    if kind == "card":
        place |= {"reference_type": "acquirer_reference_number", "type": "refund"}
    elif "reference_status" not in details[kind]:
        raise WrongMove(f"refund {refund['id']} gets no reference number")
    ledger.change(refund, {"destination_details": {kind: place, "type": kind}}, *_UPDATE_EVENTS)


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
            _schedule(ledger, refund, "refund settles", "pending", partial(settle, ledger, refund))


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
    details = refund.get("destination_details")
    if details is None or details[details["type"]].get("reference") is None:
        _set_destination(ledger, after)
    ledger.change(refund, after, *_UPDATE_EVENTS)


def _book_money(ledger: Ledger, refund: Json) -> None:
    """Take the refund's money off the balance, once."""
    waits = refund.get("pending_reason") in ("insufficient_funds", "charge_pending")
    if refund["balance_transaction"] is None and not waits:
        method = _find_method(ledger, ledger.charges[refund["charge"]])
        kind = "refund" if method.is_card else "payment_refund"
        line = ledger.book(-refund["amount"], refund["currency"], refund["id"], kind, category="refund")
        refund["balance_transaction"] = line


def _set_destination(ledger: Ledger, refund: Json) -> None:
    """Write into the refund where the money goes."""
    details = build_destination(_find_method(ledger, ledger.charges[refund["charge"]]), refund["status"])
    if details is not None:
        refund["destination_details"] = details


def _free(ledger: Ledger, refund: Json, status: str, reason: str, *event_types: str) -> None:
    changes: Json = {"status": status, "failure_reason": reason, "pending_reason": ABSENT, "next_action": ABSENT}
    if refund["balance_transaction"] is not None:
        line = ledger.book(refund["amount"], refund["currency"], refund["id"], "refund_failure")
        changes["failure_balance_transaction"] = line
    ledger.change(refund, changes, *event_types)
    charge = ledger.charges[refund["charge"]]
    charge.update(_sum_refunds(ledger, charge))


def _sum_refunds(ledger: Ledger, charge: Json) -> Json:
    """Return the charge's sums over its refunds."""
    amount = sum(row["amount"] for row in ledger.find_refunds(charge["id"]) if row["status"] not in FREED)
    return {"amount_refunded": amount, "refunded": amount > 0 and compute_refundable(ledger, charge) == 0}
