"""Money paid beyond a return's worth: told, never taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from returns_service.domain import money, return_machine
from returns_service.domain.refund_status import OPEN, UNANSWERED
from returns_service.return_case.rows import rows_of

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase
    from returns_service.store.tables import Refund


def overpaid_amount(case: ReturnCase) -> int:
    """Return the amount paid beyond the return's worth, minor units: for units corrected since, or by assigned refunds.

    A refund without an answer counts as paid: nobody knows that it wasn't.
    """
    return _overpaid_by(case, case.refunds)


def is_overpaid_for_sure(case: ReturnCase) -> bool:
    """Return whether the overpaid amount stands, whatever the answer to the refunds that have none yet."""
    answered = [refund for refund in case.refunds if refund.status not in UNANSWERED]
    return _overpaid_by(case, answered) == overpaid_amount(case)


def _overpaid_by(case: ReturnCase, refunds: Sequence[Refund]) -> int:
    if case.row.state in return_machine.DORMANT:
        return 0
    return max(_beyond_worth(case, refunds), _assigned_beyond_worth(case, refunds))


def _beyond_worth(case: ReturnCase, refunds: Sequence[Refund]) -> int:
    """Return what was paid for units that are worth less by now, minor units.

    A reduction or a deduction was never paid, so it lowers the excess of what its own refund pays, and of nothing else.
    """
    beyond = money.overpaid_parts(case.entitled_rows(), case.committed_rows(refunds))
    excess = sum(beyond.values())
    for refund in refunds:
        rows = case.committed_rows([refund])
        taken_off = -sum(row.amount for row in rows if row.adjustment and row.amount < 0)
        parts = {money.part_of(row) for row in rows if not row.adjustment}
        excess -= min(taken_off, max(0, sum(beyond.get(part, 0) for part in parts)))
    return max(0, excess)


def _assigned_beyond_worth(case: ReturnCase, refunds: Sequence[Refund]) -> int:
    """Return what refunds made outside have paid beyond all that the return can be worth, minor units.

    It is no more than those paid for units. What people gave here (adjustments), beside it or in what it took the place
    of, was meant: it counts for nothing. What they took off was never paid; a label that was taken off what they gave
    was taken off all the same.
    """
    paid = [refund for refund in refunds if refund.status in (*OPEN, "succeeded", "settled_outside")]
    theirs = sum(_amount_for_units(refund) for refund in paid if refund.source == "external")
    if theirs <= 0:
        return 0
    moved = sum(_amount_for_units(refund) for refund in paid)
    worth = case.authorized_rows() if case.row.closed_at is None else case.entitled_rows()
    return max(0, min(theirs, moved - money.due(worth)))


def _amount_for_units(refund: Refund) -> int:
    """Return what a refund paid without what people gave in it, unless they gave it by making it outside, minor units.

    What they took off lowers it to nothing, and no further.
    """
    counts_whole = refund.source == "external" and refund.supersedes is None
    rows = [row for row in rows_of(refund) if counts_whole or not row.adjustment or row.amount < 0]
    least = money.total(row for row in rows if not row.adjustment)
    return max(money.total(rows), min(0, least))


def overpaid_amounts(case: ReturnCase) -> dict[str, int]:
    """Return what each of the order's returns was paid beyond its worth, minor units."""
    return {one.row.id: one.overpaid_amount for one in (case, *case.siblings)}


def note_overpaid(case: ReturnCase | None, before: int = 0) -> None:
    """Put a return on the desk where more is overpaid than `before`, minor units."""
    if case is not None and case.overpaid_amount > before:
        case.row.overpaid_since = case.tx.now
