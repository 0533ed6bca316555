"""Requests that wait for a person's approval, what the policy says about each, and the customer's other returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlmodel import col, func, select

from returns_service.commands.returns import decision_on
from returns_service.commands.staff_users import persons_of
from returns_service.domain.policy import Decision, Policy
from returns_service.queries.return_views import COUNTED_TO
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_cases
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReturnAuthorization, UndeclaredItem

ApprovalView = Literal["waiting", "inside", "outside", "second"]
APPROVAL_VIEWS: Final[tuple[ApprovalView, ...]] = ("waiting", "inside", "outside", "second")
MOST_WAITING: Final = 100  # shown at once, the oldest


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request that waits."""

    case: ReturnCase
    decision: Decision
    other_returns: int  # of the same customer
    persons: Mapping[str, str]  # actor -> the person behind it

    @property
    def view(self) -> ApprovalView:
        """The one view beside `waiting` that it belongs to."""
        if not self.decision.allowed:
            return "outside"
        return "second" if self.decision.approvals_required > 1 else "inside"

    def approved_by(self, actor: str) -> bool:
        """Return whether the person behind an actor has approved it already, with whatever key."""
        me = self.persons.get(actor, actor)
        return any(self.persons.get(given["by"], given["by"]) == me for given in self.case.row.approvals)


async def waiting_returns(tx: Tx, policy: Policy, actor: str) -> list[Waiting]:
    """Return the oldest requests that wait, as `actor` sees them."""
    row = ReturnAuthorization
    chosen = select(row.id).where(col(row.state) == "requested").order_by(col(row.id)).limit(MOST_WAITING)
    cases = await load_cases(tx, policy, (await tx.exec(chosen)).all())
    actors = {given["by"] for case in cases for given in case.row.approvals}
    persons = await persons_of(tx, [actor, *sorted(actors)])
    numbers = await _returns_by_customer(tx, cases)
    return [Waiting(case, decision_on(case), numbers.get(case.row.email_text or "", 1) - 1, persons) for case in cases]


async def _returns_by_customer(tx: Tx, cases: Sequence[ReturnCase]) -> dict[str, int]:
    emails = {case.row.email_text for case in cases if case.row.email_text}
    if not emails:
        return {}
    email = col(ReturnAuthorization.email_text)
    chosen = select(email, func.count()).where(email.in_(sorted(emails))).group_by(email)
    return {text or "": number for text, number in (await tx.exec(chosen)).all()}


@dataclass(frozen=True, slots=True)
class PutAside:
    """Units that nobody announced and nobody has decided about, and the return they came with."""

    item: UndeclaredItem
    order_id: str
    customer: str | None
    since: datetime


async def put_aside(tx: Tx) -> list[PutAside]:
    """Return what the dock put aside and waits for a decision, the oldest first."""
    chosen = (
        select(UndeclaredItem, ReturnAuthorization, Receipt.created_at)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(UndeclaredItem.return_id))
        .join(Receipt, col(Receipt.id) == col(UndeclaredItem.receipt_id))
        .where(col(UndeclaredItem.decision).is_(None), col(Receipt.reversed_at).is_(None))
        .order_by(col(UndeclaredItem.id))
        .limit(MOST_WAITING)
    )
    found = (await tx.exec(chosen)).all()
    return [PutAside(item, row.order_id, row.customer_name or row.customer_email, at) for item, row, at in found]


async def count_waiting(tx: Tx) -> int:
    """Return how many requests wait: exactly up to COUNTED_TO, one more where there are more."""
    some = select(ReturnAuthorization.id).where(col(ReturnAuthorization.state) == "requested").limit(COUNTED_TO + 1)
    return (await tx.exec(select(func.count()).select_from(some.subquery()))).one()
