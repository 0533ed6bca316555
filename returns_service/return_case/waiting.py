"""The sentence for each code that says what an open refund waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, cast, get_args

from returns_service.domain.refund_attempt import HoldCode, RefundWaitingCode, WaitingCode
from returns_service.domain.refund_status import OPEN
from returns_service.return_case.rows import is_unapproved
from returns_service.store.tables import Payment, Refund

# Where an open refund's money is. `balance`: Stripe has it, and keeps it until the shop's balance there is high enough.
OpenPlace = Literal["unknown", "second_person", "balance", "unsent", "on_its_way"]
OPEN_PLACES: Final[tuple[OpenPlace, ...]] = get_args(OpenPlace)
WAITING: dict[WaitingCode, str] = {
    "second_person": "It is more than one person may decide alone: a second person has to approve it. It is not sent.",
    "bank_processing": "The bank is processing it.",
    "balance_too_low": "The Stripe balance is too low: Stripe sends it once there is enough.",
    "payment_unsettled": "The payment itself is not settled yet.",
    "customer_action": "The customer has to act: Stripe has e-mailed them for their bank details.",
    "no_answer": "The money may or may not have moved; nobody knows yet. Stripe is asked again.",
    "stored_error": "Stripe answered with an error and kept no refund so far; it may still repair it. Looking again.",
    "key_expired": "Stripe has no such refund, a day after it was asked. It is looked for once more, then sent.",
    "stripe_unavailable": "Stripe can't take it right now ({detail}); nothing has moved.",
    "stripe_refuses": "Stripe refuses this service's key; nothing has moved. Stripe says: {detail}",
    "in_doubt": "Stripe can't be asked right now ({detail}); an earlier attempt is still in doubt.",
    "due_no_more": "Nobody knows whether it was made. What it pays is due no more: it is looked for, not sent again.",
    "paid_beside": "Nobody knows whether it was made, and a refund made outside meanwhile may have paid it: it is "
    "looked for, not sent again.",
    "refusal_unconfirmed": "Stripe refused it ({detail}); the payment is read again before that is believed.",
    "refused_for_now": "{detail}",
    "payment_missing": "Stripe says it knows no such payment: was the account or the mode changed?",
    "refund_missing": "Stripe says it has no {detail}: was the account or the mode changed?",
    "unknown_reason": "{detail}",
}
HOLDS: dict[HoldCode, str] = {
    "payment_disputed": "The payment is disputed: it is held until the dispute is won. Nothing has moved.",
    "payment_unread": "Stripe tells of a refund that is not known here: the payment is read before anything is sent.",
    "external_refund_open": "A refund made outside waits for a person: this one is held. Nothing has moved.",
    "refund_delay": "The dock has time to notice a miscount; then it is sent.",
}


def waiting_code(refund: Refund) -> WaitingCode | None:
    """Return what an open refund waits for; `unknown_reason` where an older release wrote a sentence and no code."""
    if refund.waits_for is not None:
        return "unknown_reason"
    return cast("WaitingCode | None", refund.waiting_code)


def hold_code(refund: Refund, payment: Payment) -> HoldCode | None:
    """Return what holds back a refund that Stripe was not asked for yet; None where nothing does."""
    if refund.status != "queued":
        return None
    if payment.disputed:
        return "payment_disputed"
    if payment.held_until_read:
        return "payment_unread"
    if payment.external_open and not refund.overrides_hold:
        return "external_refund_open"
    at = refund.next_attempt_at if refund.attempts == 0 else None
    return "refund_delay" if at is not None and at > refund.updated_at else None


def what_it_waits_for(refund: Refund, payment: Payment) -> tuple[RefundWaitingCode | None, str | None]:
    """Return the code and the sentence of what a refund waits for, be it an answer of Stripe's or a hold of ours."""
    held = None if is_unapproved(refund) else hold_code(refund, payment)
    return (held, HOLDS[held]) if held is not None else (waiting_code(refund), describe_waiting(refund))


def waits_for_balance(refund: Refund) -> bool:
    """Return whether Stripe holds an open refund back until the shop's balance there is high enough."""
    return refund.status in OPEN and waiting_code(refund) == "balance_too_low"


def place_of(refund: Refund) -> OpenPlace:
    """Return where the money of an open refund is, as far as anybody knows."""
    if refund.status == "unknown":
        return "unknown"
    if is_unapproved(refund):
        return "second_person"
    if waits_for_balance(refund):
        return "balance"
    return "unsent" if refund.status == "queued" else "on_its_way"


def amounts_by_place(refunds: Iterable[Refund]) -> Mapping[OpenPlace, int]:
    """Return what the open ones of some refunds come to by where their money is, minor units: each counts once."""
    amounts = dict.fromkeys(OPEN_PLACES, 0)
    for refund in refunds:
        if refund.status in OPEN:
            amounts[place_of(refund)] += refund.amount
    return amounts


def set_waiting(refund: Refund, code: WaitingCode | None, detail: str | None = None) -> None:
    """Write down what an open refund waits for; the sentence of an older release goes."""
    refund.waiting_code, refund.waiting_detail, refund.waits_for = code, detail, None


def describe_waiting(refund: Refund) -> str | None:
    """Return in plain words what a refund waits for, None where it waits for nothing."""
    code = waiting_code(refund)
    if code is None:
        return None
    detail = refund.waits_for or refund.waiting_detail or refund.stripe_refund or code
    return WAITING.get(code, "{detail}").format(detail=detail)
