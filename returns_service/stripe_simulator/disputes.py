"""Disputes and inquiries: how a cardholder takes a payment back, and how that ends (docs.stripe.com/disputes).

An inquiry leaves the money and the charge's refunds alone; a formal dispute withdraws the money and bars refunds.
"""

from __future__ import annotations

from . import objects, refunds
from .collection import Json
from .ledger import Ledger
from .refunds import WrongMove
from .refusals import state_error

INQUIRY = ("warning_needs_response", "warning_under_review")
FORMAL = ("needs_response", "under_review")


def is_calm(ledger: Ledger, charge: Json) -> bool:
    """Return whether no dispute of `charge` is open or lost."""
    names = ledger.disputes_of.get(charge["id"], [])
    return all(ledger.disputes[name]["status"] in ("won", "warning_closed") for name in names)


def open_dispute(ledger: Ledger, charge: Json, reason: str = "fraudulent", *, inquiry: bool = False) -> Json:
    """Open a dispute, or an inquiry, over the whole charge."""
    if not charge["captured"]:
        raise WrongMove(f"charge {charge['id']} took no money")
    if not is_calm(ledger, charge):
        raise WrongMove(f"charge {charge['id']} is disputed already")
    dispute = objects.build_dispute(ledger.new_id("du_1"), ledger.second(), charge, reason, inquiry=inquiry)
    ledger.disputes.add(dispute)
    ledger.disputes_of.setdefault(charge["id"], []).append(dispute["id"])
    charge["disputed"] = True
    ledger.emit("charge.dispute.created", dispute)
    if not inquiry:
        _withdraw(ledger, dispute)
    return dispute


def open_if_calm(ledger: Ledger, charge: Json, reason: str, *, inquiry: bool) -> None:
    """Open the dispute that a test card brings, unless the charge took no money or has an open or lost dispute."""
    if charge["captured"] and is_calm(ledger, charge):
        open_dispute(ledger, charge, reason, inquiry=inquiry)


def respond(ledger: Ledger, dispute: Json) -> None:
    """Send the shop's evidence: the bank reviews it."""
    _must_be(dispute, "warning_needs_response", "needs_response")
    details = {**dispute["evidence_details"], "has_evidence": True}
    details |= {"submission_count": 1, "submission_method": "manual"}
    changes = {"status": _under_review(dispute), "evidence_details": details}
    ledger.change(dispute, changes, "charge.dispute.updated")


def _under_review(dispute: Json) -> str:
    return "warning_under_review" if dispute["status"].startswith("warning_") else "under_review"


def escalate(ledger: Ledger, dispute: Json) -> None:
    """Turn an inquiry into a formal dispute."""
    _must_be(dispute, *INQUIRY)
    changes: Json = {"status": "needs_response", "is_charge_refundable": False}
    details = dispute.get("payment_method_details")
    if details is not None:
        changes["payment_method_details"] = {**details, "card": {**details["card"], "case_type": "chargeback"}}
    ledger.change(dispute, changes, "charge.dispute.updated")
    _withdraw(ledger, dispute)


def win(ledger: Ledger, dispute: Json) -> None:
    """Give the shop the money back (or close an inquiry); the charge can be refunded again."""
    if dispute["status"] in INQUIRY:
        ledger.change(dispute, {"status": "warning_closed"}, "charge.dispute.closed")
        return
    _must_be(dispute, *FORMAL)
    _reinstate(ledger, dispute)


def lose(ledger: Ledger, dispute: Json) -> None:
    """Leave the money with the cardholder; the charge stays barred."""
    _must_be(dispute, *FORMAL)
    ledger.change(dispute, {"status": "lost"}, "charge.dispute.closed")


def overturn(ledger: Ledger, dispute: Json) -> None:
    """Turn a closed dispute the other way round, under the same id: lost becomes won, won becomes lost."""
    _must_be(dispute, "lost", "won")
    if dispute["status"] == "lost":
        _reinstate(ledger, dispute)
    else:
        ledger.change(dispute, {"status": "lost", "is_charge_refundable": False}, "charge.dispute.closed")
        _withdraw(ledger, dispute)


def update(ledger: Ledger, dispute: Json, evidence: Json, metadata: Json, *, submit: bool) -> Json:
    """Write evidence and metadata into a dispute; with `submit`, the bank reviews the evidence.

    See docs.stripe.com/api/disputes/update.
    """
    if evidence and dispute["status"] not in ("warning_needs_response", "needs_response"):
        raise state_error("This dispute is already closed or under review.", "evidence", "dispute_not_open")
    details = dict(dispute["evidence_details"])
    details["has_evidence"] = details["has_evidence"] or bool(evidence)
    changes: Json = {"evidence": {**dispute["evidence"], **evidence}, "evidence_details": details, "metadata": metadata}
    if evidence and submit:
        details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}
        changes["status"] = _under_review(dispute)
    ledger.change(dispute, changes, "charge.dispute.updated")
    return dispute


def close(ledger: Ledger, dispute: Json) -> Json:
    """Accept a dispute for the shop: it is lost (docs.stripe.com/api/disputes/close)."""
    if dispute["status"] not in FORMAL:
        raise state_error("This dispute is already closed.", code="dispute_not_open")
    lose(ledger, dispute)
    return dispute


def warn(ledger: Ledger, charge: Json) -> None:
    """Emit the issuer's early fraud warning; it moves no money."""
    warning = objects.build_fraud_warning(ledger.new_id("issfr_1"), ledger.second(), charge)
    ledger.emit("radar.early_fraud_warning.created", warning)


def _reinstate(ledger: Ledger, dispute: Json) -> None:
    ledger.change(dispute, {"status": "won", "is_charge_refundable": True}, "charge.dispute.closed")
    line = ledger.book(dispute["amount"], dispute["currency"], dispute["id"], "adjustment", category="dispute_reversal")
    _add_line(ledger, dispute, line, "charge.dispute.funds_reinstated")


def _withdraw(ledger: Ledger, dispute: Json) -> None:
    line = ledger.book(-dispute["amount"], dispute["currency"], dispute["id"], "adjustment", category="dispute")
    _add_line(ledger, dispute, line, "charge.dispute.funds_withdrawn")
    refunds.fail_disputed(ledger, ledger.charges[dispute["charge"]])


def _add_line(ledger: Ledger, dispute: Json, line: str, event_type: str) -> None:
    rows = [*dispute["balance_transactions"], ledger.balance_transactions[line]]
    ledger.change(dispute, {"balance_transactions": rows}, event_type)


def _must_be(dispute: Json, *statuses: str) -> None:
    if dispute["status"] not in statuses:
        raise WrongMove(f"dispute {dispute['id']} is {dispute['status']}, not {' or '.join(statuses)}")
