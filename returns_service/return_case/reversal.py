"""Which receipts can be reversed: the customer keeps what they got, so nothing that was sent may be worth less.

A line whose refund is on its way can't be corrected before it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from returns_service.domain import money
from returns_service.domain.refund_status import OPEN
from returns_service.return_case.rows import is_unsent, rows_of
from returns_service.store.tables import Receipt

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase


def sent_rows(case: ReturnCase) -> list[money.Row]:
    """Return the rows of the refunds of which Stripe may know."""
    return case.committed_rows(refund for refund in case.refunds if not is_unsent(refund))


def lines_in_flight(case: ReturnCase) -> set[str | None]:
    """Return the lines that a refund at Stripe, which has neither paid nor failed, would pay."""
    refunds = (refund for refund in case.refunds if refund.status in OPEN and not is_unsent(refund))
    return {row.line for refund in refunds if refund.superseded_at is None for row in rows_of(refund)}


def reversible(case: ReturnCase, sent: Sequence[money.Row] | None = None) -> Iterator[Receipt]:
    """Yield the standing receipts that may be reversed: without them, the rest is still worth what was sent.

    `sent`: the rows that were sent, if the caller knows them. Where a return is paid ahead, every receipt may be
    reversed, since none decides what is paid.
    """
    if case.is_paid_ahead:
        yield from (receipt for receipt in case.receipts if receipt.reversed_at is None)
        return
    sent = sent_rows(case) if sent is None else sent
    unknown = any(row.kind == "unallocated" for row in sent)
    paid: dict[str | None, int] = {}
    for row in sent:
        paid[row.line] = paid.get(row.line, 0) + (0 if row.adjustment else row.amount)
    payable, lines = case.payable(), {line.id: line for line in case.lines}
    for receipt in case.receipts:
        if receipt.reversed_at is not None:
            continue
        touched = {row.line_id for row in case.rows_in(receipt) if row.accepted}
        worth = dict.fromkeys(touched, 0)
        if touched and (other_receipts := payable - {receipt.id}):
            others = case.money_lines(other_receipts, [lines[line_id] for line_id in touched])
            for row in money.entitlement(others, case.terms(others)):
                if row.line is not None:
                    worth[row.line] += row.amount
        if not (unknown and touched) and all(paid.get(line, 0) <= worth[line] for line in touched):
            yield receipt
