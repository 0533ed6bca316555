"""A refund's status, and how news about it joins what is known: the order of arrival never matters.

Why a join and no state machine: Stripe's webhooks come doubled, late and in any order, and race with our own calls.
News that raises the rank is taken at once, but for a `succeeded` that may be late (see `join`). News that doesn't only
asks for a fresh read, and a read that began after the news arrived wins.
https://docs.stripe.com/refunds, https://docs.stripe.com/webhooks
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from returns_service.domain.return_machine import Trigger
from returns_service.domain.vocabulary import find_word

StripeStatus = Literal["pending", "requires_action", "succeeded", "failed", "canceled"]
# `withdrawn`: never sent, or settled by a dispute that was won after all.
# `settled_outside`: paid by other means; counts as paid, moves nothing at Stripe.
RefundStatus = Literal["queued", "submitted", "unknown", StripeStatus, "withdrawn", "settled_outside"]
STRIPE_STATUSES: tuple[StripeStatus, ...] = get_args(StripeStatus)
STATUSES: tuple[RefundStatus, ...] = get_args(RefundStatus)
RANK: dict[RefundStatus, int] = {
    "queued": 0,
    "submitted": 1,
    "unknown": 2,
    "pending": 3,
    "requires_action": 3,
    "succeeded": 4,
    "failed": 5,
    "canceled": 5,
}
UNANSWERED: tuple[RefundStatus, ...] = ("queued", "submitted", "unknown")
WAITING: tuple[RefundStatus, ...] = ("pending", "requires_action")
OPEN = UNANSWERED + WAITING
FINAL: tuple[RefundStatus, ...] = ("failed", "canceled")
COUNTS_AS_PAID: tuple[RefundStatus, ...] = ("succeeded", "settled_outside")
ENDED: tuple[RefundStatus, ...] = (*FINAL, "withdrawn")  # without moving money


@dataclass(frozen=True, slots=True)
class Joined:
    """What becomes of a status: the new one, and whether Stripe should be read afresh to be sure."""

    status: RefundStatus
    look_again: bool = False


def join(known: RefundStatus, word: str, *, first_sight: bool, fresh: bool) -> Joined:
    """Return what `known` becomes when Stripe says `word`.

    `first_sight`: the row carried no Stripe refund yet, so its status (failed, unknown) says nothing about this one.
    `fresh`: the news is a read that began after all other news of this refund, and all other reads, had arrived.
    A status word that Stripe invents later is kept out: it changes nothing and asks for a fresh read.
    """
    news = find_word(STRIPE_STATUSES, word)
    if news is None:
        return Joined(known, look_again=not fresh)
    if first_sight:
        return Joined(news)
    if RANK[news] > RANK.get(known, -1):
        # Stripe may step back from `succeeded`, and news of that status may come late. So it is not sure where the row
        # waits; and where the row waits for its customer, only a read is believed.
        unsure = news == "succeeded" and known in WAITING and not fresh
        return Joined(known if unsure and known == "requires_action" else news, look_again=unsure)
    if news == known or known in FINAL:
        return Joined(known)
    return Joined(news) if fresh else Joined(known, look_again=True)


def trigger_for(before: RefundStatus | None, after: RefundStatus) -> Trigger | None:
    """Return the return's trigger for a refund's change; None where the return stays as it is."""
    if after == "succeeded":
        return "settle" if before in OPEN else "adopt"
    if after in FINAL:
        return "fail"
    if after == "withdrawn":
        return "withdraw"
    if before == "succeeded":
        return "take_back"
    return "adopt" if before is None or before in (*FINAL, "withdrawn") else None
