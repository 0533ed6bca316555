"""What a refund that was made outside pays of the return it is assigned to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from returns_service.commands.refunds import withdraw_or_supersede
from returns_service.domain import money
from returns_service.return_case.case import ReturnCase

ASSIGNED = "A refund made outside was assigned to the return before this one was sent; no money has moved."


@dataclass(frozen=True, slots=True)
class AssignedUnits:
    """Units of a line that the refund paid."""

    line: str
    units: int


async def make_room(case: ReturnCase) -> None:
    """Withdraw or supersede what would pay a second time what a refund made outside has paid of a return."""
    for refund in case.refunds:
        if refund.superseded_at is None:
            await withdraw_or_supersede(case, refund, "refund_assigned", ASSIGNED)


def assigned_rows(case: ReturnCase, amount: int) -> list[money.Row]:
    """Return the rows that a refund made outside pays of a return: the due ones, then an `unallocated` rest."""
    ways = case.due_rows()
    unpaid = [*ways.refund, *ways.outside]
    due = money.due(unpaid)
    rows = money.take(unpaid, min(amount, due)) if due else []
    if rest := amount - money.total(rows):
        rows.append(money.Row("unallocated", rest, description="Refunded outside this service"))
    return rows


def named_rows(case: ReturnCase, lines: Sequence[AssignedUnits], amount: int) -> list[money.Row]:
    """Return rows of the named units that sum to the amount: what they are worth, and the rest as goodwill."""
    of = {line.id: line for line in case.money_lines()}
    rows: list[money.Row] = []
    left = amount
    for named in lines:
        line = of[named.line]
        worth = money.line_value(line.total_amount, line.quantity, named.units, money.step(case.row.currency))
        value = min(left, worth)
        if value > 0:
            rows.append(money.Row("line", value, line.id, named.units, line.title))
            left -= value
    if left:
        rows.append(money.Row("goodwill", left, description="Refunded outside beyond these units", adjustment=True))
    return rows
