"""Problems in the words of a page: what a person does about one there, and at which field of the form it stands.

The API's own sentences name fields and requests. This module has other ones for those that a form can meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from returns_service.domain.money import format_amount
from returns_service.domain.problems import Problem, ProblemCode

SENT_BEFORE: Final[Collection[ProblemCode]] = ("idempotency_key_reused", "idempotency_key_in_use")


class ProblemWords(NamedTuple):
    """What a page says of a problem: its head, and what to do; `nothing_changed`: the form it answers did nothing."""

    title: str
    text: str
    nothing_changed: bool


def _amount(facts: Mapping[str, Any], name: str, currency: str) -> str:
    """Return an amount among a problem's facts in words; empty where it isn't known."""
    amount = facts.get(name)
    return format_amount(max(0, amount), currency) if isinstance(amount, int) and currency else ""


def _at_most(facts: Mapping[str, Any], currency: str) -> str:
    left = _amount(facts, "refundable", currency)
    return f"Enter at most {left}, or settle the rest outside." if left else "Enter less, or settle the rest outside."


def _in_steps(facts: Mapping[str, Any], currency: str) -> str:
    step = _amount(facts, "step", currency)
    return f"Stripe takes this currency in steps of {step} only." if step else "Enter an amount without a fraction."


def _as_at_stripe(facts: Mapping[str, Any], currency: str) -> str:
    amount = _amount(facts, "refunded", currency)
    return f"Enter {amount}: that is what was refunded." if amount else "Enter the amount that was refunded."


def _by_now(facts: Mapping[str, Any], currency: str) -> str:
    state = facts.get("state")
    return f"The return is {state} by now: look at it, then decide." if state else "Look at it, then decide."


def _held_elsewhere(facts: Mapping[str, Any], currency: str) -> str:
    holders = ", ".join(facts.get("returns", ()))
    found = f"They are on {holders}" if holders else "They are on another return"
    return f"{found}: cancel that first, or reopen it if it was closed before they came."


def _in_spite_of(facts: Mapping[str, Any], currency: str) -> str:
    said = [str(violation["message"]) for violation in facts.get("violations", ())]
    return " ".join([*said, "Decline it, or say why you approve it in spite of that."])


TITLES: Final[Mapping[ProblemCode, str]] = {
    "invalid_request": "Something is missing or wrong",
    "unknown_line": "This item is not on the return any more",
    "idempotency_key_reused": "This form was sent before",
    "idempotency_key_in_use": "This form is being worked on",
    "scan_id_reused": "This was sent before with other counts",
    "invalid_transition": "It changed meanwhile",
    "form_out_of_date": "Somebody signed in or out here since this page was opened",
    "receipt_reversed": "This receipt was taken back already",
}
SENTENCES: Final[Mapping[ProblemCode, str | Callable[[Mapping[str, Any], str], str]]] = {
    "unknown_line": "Open the return again, and choose one of its items.",
    "version_mismatch": "Look at it again, then decide.",
    "form_out_of_date": "Look at what you typed, then send it.",
    "idempotency_key_reused": "What it asked for then counts; what you changed in it since does not. Go back and look "
    "what became of it.",
    "idempotency_key_in_use": "Wait a moment, then go back and look what became of it. It counts once.",
    "reason_required": "Say why, in a sentence: it is kept in the history.",
    "unknown_reason": "Choose one of the list.",
    "override_required": "It is done with a reason only. Say why, in a sentence: it is kept in the history.",
    "scan_id_reused": "Open the page again, and count anew.",
    "payment_disputed": "Wait for the dispute’s end. If it is lost, settle it outside as paid by the lost dispute.",
    "payment_not_succeeded": "Only what was captured can be refunded.",
    "amount_exceeds_refundable": _at_most,
    "amount_not_a_step": _in_steps,
    "amount_exceeds_payment": "The payment has too little left for it.",
    "units_already_returned": _held_elsewhere,
    "quantity_exceeds_ordered": "Another return holds these units by now: cancel that one first.",
    "quantity_ordered_differs": "Another return holds these units by now: cancel that one first.",
    "policy_violation": _in_spite_of,
    "stripe_unavailable": "Wait a moment, then try again: that is safe.",
    "invalid_transition": _by_now,
    "nothing_due": "Receive units first; or enter an amount as goodwill, and say why.",
    "nothing_overpaid": "Look what became of it: nothing more is to be decided.",
    "which_refund": "Decide about each on the refund desk.",
    "line_required": "Choose as which item it is counted.",
    "undeclared_open": "Decide about them first; or say why it is closed all the same.",
    "already_attached": "Take its receipt back there first, then attach it again.",
    "refund_superseded": "Look what became of it: nothing more is to be decided.",
    "refund_not_second": "Only a refund made outside, or a second one for the same decision, is acknowledged.",
    "refund_not_external": "Only a refund made in Stripe’s Dashboard counts here, one that is on its way or arrived.",
    "external_refund_open": "Decide about that one on the refund desk first; or say why this refund is made all the "
    "same.",
    "refund_missing": "Enter Stripe’s id of a refund of this payment: it begins with re_.",
    "refund_claimed": "It pays something else. Enter the id of another refund.",
    "refund_amount_differs": _as_at_stripe,
    "refund_not_unknown": "It is sent again only while nobody knows whether it moved.",
    "too_early": "Wait until the last attempt is 15 minutes old.",
    "refund_found": "It was taken over: look at it again.",
    "refund_not_unapproved": "Somebody approved it already, or it was canceled.",
}
FIELDS: Final[Mapping[ProblemCode, str]] = {  # where a problem that names no field stands, in forms that have it
    "override_required": "override_reason", "external_refund_open": "override_reason",
    "policy_violation": "override_reason", "undeclared_open": "override_reason", "reason_required": "reason",
    "amount_exceeds_refundable": "amount", "amount_exceeds_due": "amount", "amount_not_a_step": "amount",
    "refund_amount_differs": "amount", "nothing_due": "amount", "line_required": "line",
}  # fmt: skip


def describe_problem(problem: Problem, currency: str = "") -> ProblemWords:
    """Return what a page says of a problem; `currency` that of its amounts (minor units), where the form has one."""
    said = SENTENCES.get(problem.code)
    text = said(problem.facts, currency) if callable(said) else said or _own_message(problem)
    title = TITLES.get(problem.code, problem.kind.title)
    return ProblemWords(title, text, problem.code not in SENT_BEFORE)


def _own_message(problem: Problem) -> str:
    """Return a problem's own sentence, without the place in the body that the API puts before it."""
    first: Mapping[str, Any] = next(iter(problem.facts.get("errors", ())), {})
    message = str(first.get("message") or "")
    return f"{message.removesuffix('.')}." if message else problem.said or problem.kind.advice


def field_of(problem: Problem, names: Collection[str]) -> str:
    """Return the field, one of `names`, that a problem is about; empty where it is about none of them."""
    place = (problem.param or "").rpartition(".")[2]
    field = place if place in names else FIELDS.get(problem.code, "")
    return field if field in names else ""
