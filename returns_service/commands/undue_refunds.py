"""Refunds that would pay what is due no more, since another one has paid it or the return has changed meanwhile.

The service withdraws one that Stripe holds nothing of, and what is still due becomes a new one. It only looks for one
in doubt: sent again, that would pay a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlmodel import col, select

from returns_service.commands.assignments import ASSIGNED
from returns_service.commands.refunds import follow_up, withdraw_or_supersede
from returns_service.domain import money
from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.refund_status import FINAL, OPEN
from returns_service.domain.stripe_objects import RefundSnapshot
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_under_lock, load_case
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.rows import rows_of
from returns_service.return_case.transition import transition
from returns_service.return_case.waiting import set_waiting
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund

PAID_BESIDE: Final = {
    "code": "paid_beside",
    "message": "Stripe has no such refund, and one made outside meanwhile may have paid it; no money has moved.",
    "advice": "Retry it if the customer still waits for it; else settle it outside as `waived`.",
}
SENT_AGAIN: Final = "sent_again"  # why a generation ended: a person let the refund be sent again
DUE_NO_MORE = "What it pays is due no more; it was not sent, and no money has moved."


def pays_undue(case: ReturnCase, refund: Refund) -> bool:
    """Return whether a refund asks for more than is due beside the return's other ones; not what people decided.

    It may do so in all, or for one line: the service pays what is due for another line beside it.
    """
    others, entitled = case.committed_rows(other for other in case.refunds if other is not refund), case.entitled_rows()
    asked = [row for row in rows_of(refund) if not row.adjustment]
    too_much = money.total(asked) > money.due(money.outstanding(entitled, others))
    return too_much or money.overpays(entitled, others, asked)


async def withdraw_undue(case: ReturnCase) -> bool:
    """Withdraw the return's queued refunds that are due no more; those in doubt are only looked for from now on.

    Returns whether a refund was withdrawn: then the caller lets the return follow.
    """
    withdrawn = False
    for refund in case.refunds:
        if refund.status in ("submitted", "unknown") and pays_undue(case, refund):
            set_waiting(refund, "due_no_more")
        elif refund.status == "queued" and pays_undue(case, refund):
            code, message = ("refund_assigned", ASSIGNED) if _has_assigned(case) else ("due_no_more", DUE_NO_MORE)
            await withdraw_or_supersede(case, refund, code, message)
            withdrawn = True
    return withdrawn


async def is_paid_otherwise(tx: Tx, refund_id: str, at_stripe: Sequence[RefundSnapshot]) -> bool:
    """Return whether another refund may have paid by now what this one would pay, or waits for a person to say so.

    `at_stripe`: the refunds that Stripe holds of the payment; among them may be one that paid and isn't known here yet.
    """
    refund = await tx.get_one(Refund, refund_id)
    payment = await tx.get_one(Payment, refund.payment_id)
    if payment.held_until_read or (payment.external_open and not refund.overrides_hold):
        return True
    of_payment = select(Refund.stripe_refund).where(col(Refund.payment_id) == payment.id)
    known = set((await tx.exec(of_payment)).all())
    if any(seen.id not in known and seen.status not in FINAL for seen in at_stripe):
        return True
    if refund.return_id is None:
        of_same = await tx.exec(select(Refund).where(col(Refund.payment_id) == payment.id))
        return refund.ever_unknown and may_be_paid_beside(refund, of_same.all())
    case = await load_case(tx, DEFAULT, refund.return_id)  # it goes by its own policy since it was approved
    return any(one.id == refund_id and pays_undue(case, one) for one in case.refunds)


def may_be_paid_beside(refund: Refund, of_payment: Iterable[Refund]) -> bool:
    """Return whether a refund made outside meanwhile may have paid what `refund`, one of no return, would pay.

    One made outside can only be assigned to a return, so the person who acknowledged it didn't say that it paid nothing
    of ours. It is ignored where a person has decided about `refund` since then, or in spite of it.
    """
    if refund.return_id is not None or refund.overrides_hold:
        return False
    decided_at = _decided_at(refund)
    return any(
        other.source == "external"
        and other.status not in FINAL
        and other.return_id is None
        and other.supersedes is None
        and other.acknowledged_at is not None
        and other.acknowledged_at >= decided_at
        for other in of_payment
    )


def has_second(refund: Refund, of_payment: Iterable[Refund]) -> bool:
    """Return whether Stripe holds another refund in this one's name: of another amount, while this one is in doubt.

    What a person agreed about that one doesn't say whether this one is still to be paid.
    """
    return any(other.duplicate_of == refund.id and other.status not in FINAL for other in of_payment)


def _decided_at(refund: Refund) -> datetime:
    """Return when a person last decided that a refund is sent, UTC: when it was made, or sent again on their word."""
    again = [past["ended_at"] for past in refund.past_parameters if past["why"] == SENT_AGAIN]
    return datetime.fromisoformat(again[-1]) if again else refund.created_at


def hold_in_doubt(locked: LockedPayment) -> None:
    """Let refunds of no return that are in doubt only be looked for, where one made outside may have paid them."""
    for refund in locked.refunds:
        if refund.status in ("submitted", "unknown") and may_be_paid_beside(refund, locked.refunds):
            set_waiting(refund, "paid_beside")


async def withdraw_if_undue(locked: LockedPayment, by: Actor, policy: Policy, refund: Refund) -> None:
    """Withdraw a refund whose call came to nothing, where it is due no more: tried again it would pay a second time."""
    if refund.return_id is None or refund.status != "queued":
        return
    case = await case_under_lock(locked, by, policy, refund.return_id)
    if await withdraw_undue(case):
        await follow_withdrawal(case)


async def follow_withdrawal(case: ReturnCase) -> None:
    """Let a return follow the withdrawal of its refund: its state by the rule, then a refund of what is due."""
    await transition(case, "adopt")
    await follow_up(case)


def _has_assigned(case: ReturnCase) -> bool:
    return any(one.source == "external" and one.status in (*OPEN, "succeeded") for one in case.refunds)
