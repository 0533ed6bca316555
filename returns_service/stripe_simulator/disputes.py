"""Disputes and inquiries: how a cardholder takes a payment back, and how that ends.

An inquiry leaves the money and the charge's refunds alone; a formal dispute withdraws the money and bars refunds.
"""

from __future__ import annotations

from . import objects, refunds
from .ledger import Ledger
from .refunds import WrongMove
from .shelf import Json

INQUIRY = ("warning_needs_response", "warning_under_review")
FORMAL = ("needs_response", "under_review")


def follow(ledger: Ledger, charge: Json, reason: str, *, inquiry: bool) -> None:
    """Open the dispute that a test card brings, unless the charge has one already."""
    if is_calm(ledger, charge):
        start(ledger, charge, reason, inquiry=inquiry)


def is_calm(ledger: Ledger, charge: Json) -> bool:
    """Whether no dispute of `charge` is open or lost."""
    names = ledger.disputes_of.get(charge["id"], [])
    return all(ledger.disputes[name]["status"] in ("won", "warning_closed") for name in names)


def start(ledger: Ledger, charge: Json, reason: str = "fraudulent", *, inquiry: bool = False) -> Json:
    """Open a dispute, or an inquiry, over the whole charge."""
    if not charge["captured"]:
        raise WrongMove(f"charge {charge['id']} took no money")
    if not is_calm(ledger, charge):
        raise WrongMove(f"charge {charge['id']} is disputed already")
    dispute = objects.dispute(ledger.new_id("du_1"), ledger.second(), charge, reason, inquiry=inquiry)
    ledger.disputes.add(dispute)
    ledger.disputes_of.setdefault(charge["id"], []).append(dispute["id"])
    charge["disputed"] = True
    ledger.tell("charge.dispute.created", dispute)
    if not inquiry:
        _withdraw(ledger, dispute)
    return dispute


def respond(ledger: Ledger, dispute: Json) -> None:
    """The shop sent its evidence; the bank looks at it."""
    _must_be(dispute, "warning_needs_response", "needs_response")
    status = "warning_under_review" if dispute["status"].startswith("warning_") else "under_review"
    details = {**dispute["evidence_details"], "has_evidence": True, "submission_count": 1}
    ledger.change(dispute, {"status": status, "evidence_details": details}, "charge.dispute.updated")


def escalate(ledger: Ledger, dispute: Json) -> None:
    """The inquiry becomes a formal dispute."""
    _must_be(dispute, *INQUIRY)
    card = {**dispute["payment_method_details"]["card"], "case_type": "chargeback"}
    ledger.change(
        dispute,
        {
            "status": "needs_response",
            "is_charge_refundable": False,
            "payment_method_details": {"card": card, "type": "card"},
        },
        "charge.dispute.updated",
    )
    _withdraw(ledger, dispute)


def win(ledger: Ledger, dispute: Json) -> None:
    """The shop keeps the money (an inquiry is closed); the charge can be refunded again."""
    if dispute["status"] in INQUIRY:
        ledger.change(dispute, {"status": "warning_closed"}, "charge.dispute.closed")
        return
    _must_be(dispute, *FORMAL)
    ledger.change(dispute, {"status": "won", "is_charge_refundable": True}, "charge.dispute.closed")
    line = ledger.enter(dispute["amount"], dispute["currency"], dispute["id"], "dispute_reversal")
    _book(ledger, dispute, line, "charge.dispute.funds_reinstated")


def lose(ledger: Ledger, dispute: Json) -> None:
    """The cardholder keeps the money; the charge stays barred."""
    _must_be(dispute, *FORMAL)
    ledger.change(dispute, {"status": "lost"}, "charge.dispute.closed")


def warn(ledger: Ledger, charge: Json) -> None:
    """The card's issuer reports fraud early; nothing else happens."""
    warning = objects.fraud_warning(ledger.new_id("issfr_1"), ledger.second(), charge)
    ledger.tell("radar.early_fraud_warning.created", warning)


def _withdraw(ledger: Ledger, dispute: Json) -> None:
    line = ledger.enter(-dispute["amount"], dispute["currency"], dispute["id"], "dispute")
    _book(ledger, dispute, line, "charge.dispute.funds_withdrawn")
    refunds.fail_disputed(ledger, ledger.charges[dispute["charge"]])


def _book(ledger: Ledger, dispute: Json, line: str, told: str) -> None:
    rows = [*dispute["balance_transactions"], ledger.balance_transactions[line]]
    ledger.change(dispute, {"balance_transactions": rows}, told)


def _must_be(dispute: Json, *statuses: str) -> None:
    if dispute["status"] not in statuses:
        raise WrongMove(f"dispute {dispute['id']} is {dispute['status']}, not {' or '.join(statuses)}")
