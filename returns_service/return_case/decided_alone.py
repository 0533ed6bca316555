"""What single persons have decided about a payment lately: the policy's limit for one person holds for the sum.

An approval decides what the return is worth, and what is due inside it isn't decided again. A refund decides what it
pays beyond what is due; one of no return decides all of it. What two persons agreed about counts for nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from returns_service.domain import money, return_machine
from returns_service.domain.policy import Policy, needs_second_person
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.waiting import set_waiting
from returns_service.store.tables import Refund

COUNTED_FOR: Final = timedelta(days=30)


def decided_alone(policy: Policy, returns: Iterable[ReturnCase], refunds: Iterable[Refund], now: datetime) -> int:
    """Return what single persons have decided in these returns and refunds by `now` (UTC), minor units.

    A policy that lets one person decide everything counts nothing.
    """
    if not policy.second_person_above:
        return 0
    since = now - COUNTED_FOR
    approved = sum(_approved_alone(case, since) for case in returns)
    return approved + sum(_refund_decided_alone(refund, since) for refund in refunds)


def _approved_alone(case: ReturnCase, since: datetime) -> int:
    given = case.row.approvals
    if case.row.state not in return_machine.LIVE or len(given) != 1:
        return 0
    if datetime.fromisoformat(given[0]["at"]) < since:
        return 0
    return money.due(case.authorized_rows())


def _refund_decided_alone(refund: Refund, since: datetime) -> int:
    agreed = refund.unapproved or refund.approved_by is not None
    return 0 if agreed or refund.created_at < since else refund.decided_amount


def set_decided(refund: Refund, policy: Policy, amount: int, before: int) -> None:
    """Keep what a new refund decides beyond what is due, minor units; over the limit it waits for a second person.

    `before`: what single persons have decided already.
    """
    refund.decided_amount = amount
    if amount > 0 and needs_second_person(policy, refund.currency, amount, before):
        refund.unapproved, refund.next_attempt_at = True, None
        set_waiting(refund, "second_person")


def decided_again(failed: Refund, amount: int, still_open: int) -> int:
    """Return what paying `amount` for a failed refund decides, of which `still_open` is open; all in minor units.

    That is what it pays beyond the open amount, and of a refund that waited for a second person what none agreed to.
    """
    paid = min(amount, still_open)
    return amount - paid + (min(paid, failed.decided_amount) if failed.unapproved else 0)
