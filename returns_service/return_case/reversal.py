"""Which receipts can be reversed: the customer keeps what they got, so nothing that was sent may be worth less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from returns_service.domain import money
from returns_service.return_case.rows import is_unsent
from returns_service.store.tables import Receipt

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase


def sent_rows(case: ReturnCase) -> list[money.Row]:
    """Return the rows of the refunds of which Stripe may know."""
    return case.committed(refund for refund in case.refunds if not is_unsent(refund))


def reversible(case: ReturnCase, sent: Sequence[money.Row] | None = None) -> Iterator[Receipt]:
    """Yield the receipts that stand and without which what was sent is worth as much. `sent`: its rows, if known.

    No receipt decides what is paid ahead.
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
