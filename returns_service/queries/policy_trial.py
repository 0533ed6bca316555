"""Try a policy over past returns: what it would have decided, beside what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import col, func, select

from returns_service.domain.policy import Policy
from returns_service.queries.policy_judgement import Judgement, judge
from returns_service.return_case.as_if import copy_under_policy
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_cases
from returns_service.store.database import Tx
from returns_service.store.tables import ReturnAuthorization

FIGURES = ("approves_itself", "one_person", "two_people", "not_allowed", "worth", "owed")


@dataclass(frozen=True, slots=True)
class TriedReturn:
    """A return, what its own policy says about it, and what the tried one says."""

    case: ReturnCase
    before: Judgement
    after: Judgement

    @property
    def differs(self) -> bool:
        """Whether the tried policy decides otherwise, or comes to another amount."""
        return self.before.as_json() != self.after.as_json()

    def as_json(self) -> dict[str, Any]:
        """Return the return as JSON; amounts are minor units."""
        row = self.case.row
        names = {"return": row.id, "order_id": row.order_id, "state": row.state, "currency": row.currency}
        return {**names, "before": self.before.as_json(), "after": self.after.as_json()}


@dataclass
class Figure:
    """How many returns, and what they come to in minor units, by their own policies and by the tried one."""

    returns_before: int = 0
    returns_after: int = 0
    amount_before: int = 0
    amount_after: int = 0


@dataclass
class Trial:
    """The sums over all returns that were looked at, by figure and currency."""

    returns: int = 0
    differing: int = 0
    figures: dict[tuple[str, str], Figure] = field(default_factory=dict)

    def add(self, tried: TriedReturn) -> None:
        """Count one return in."""
        self.returns += 1
        self.differing += tried.differs
        currency = tried.case.row.currency
        for judgement, is_after in ((tried.before, False), (tried.after, True)):
            self._count(judgement.outcome, currency, judgement.worth, is_after)
            for name, amount in (("worth", judgement.worth), ("owed", judgement.owed)):
                if amount:
                    self._count(name, currency, amount, is_after)

    def _count(self, name: str, currency: str, amount: int, is_after: bool) -> None:
        figure = self.figures.setdefault((name, currency), Figure())
        if is_after:
            figure.returns_after += 1
            figure.amount_after += amount
        else:
            figure.returns_before += 1
            figure.amount_before += amount

    def rows(self) -> list[dict[str, Any]]:
        """Return the figures in a fixed order, amounts in minor units."""
        ordered = sorted(self.figures.items(), key=lambda item: (item[0][1], FIGURES.index(item[0][0])))
        return [
            {
                "figure": name,
                "currency": currency,
                "returns_before": figure.returns_before,
                "returns_after": figure.returns_after,
                "amount_before": figure.amount_before,
                "amount_after": figure.amount_after,
                "amount_difference": figure.amount_after - figure.amount_before,
            }
            for (name, currency), figure in ordered
        ]


async def count_returns(tx: Tx, since: datetime) -> int:
    """Return how many returns were asked for since then."""
    return (await tx.exec(select(func.count()).where(col(ReturnAuthorization.created_at) >= since))).one()


async def returns_since(tx: Tx, since: datetime, after: str, limit: int) -> Sequence[str]:
    """Return the ids of up to `limit` returns asked for since then, in their order after `after`."""
    row = ReturnAuthorization
    chosen = select(row.id).where(col(row.created_at) >= since, col(row.id) > after).order_by(col(row.id)).limit(limit)
    return (await tx.exec(chosen)).all()


async def try_returns(tx: Tx, in_force: Policy, tried: Policy, return_ids: Sequence[str]) -> list[TriedReturn]:
    """Return what both policies say about these returns; `in_force` decides about those without a policy of theirs."""
    cases = await load_cases(tx, in_force, return_ids)
    return [TriedReturn(case, judge(case), judge(copy_under_policy(case, tried))) for case in cases]
