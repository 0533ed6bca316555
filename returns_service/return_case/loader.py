"""Many returns at once, to look at: a fixed number of queries, however many there are. Nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlmodel import SQLModel, col, select

from returns_service.domain.problems import Problem
from returns_service.return_case.case import NEIGHBOUR_STATES, ReturnCase
from returns_service.return_case.events import Actor
from returns_service.store.database import Tx
from returns_service.store.tables import (
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    UndeclaredItem,
)

Row = TypeVar("Row", bound=SQLModel)


async def load_case(tx: Tx, by: Actor, return_id: str) -> ReturnCase:
    """Return one case to look at. Raises Problem not_found."""
    found = await load_cases(tx, by, [return_id])
    if not found:
        raise Problem("not_found", f"There is no return {return_id}.")
    return found[0]


async def load_cases(tx: Tx, by: Actor, return_ids: Sequence[str]) -> list[ReturnCase]:
    """Return the cases in the order of their ids here; those that don't exist are left out."""
    rows = {row.id: row for row in await _all(tx, ReturnAuthorization, ReturnAuthorization.id, return_ids)}
    payment_ids = sorted({row.payment_id for row in rows.values()})
    payments = {payment.id: payment for payment in await _all(tx, Payment, Payment.id, payment_ids)}
    refunds = _by("payment_id", await _all(tx, Refund, Refund.payment_id, payment_ids))
    others = await _neighbours(tx, [row for row in rows.values() if row.state == "requested"])
    lines = _by("return_id", await _all(tx, ReturnLine, ReturnLine.return_id, [*rows, *(o.id for o in others)]))
    receipts = await _all(tx, Receipt, Receipt.return_id, list(rows))
    counts = _by("receipt_id", await _all(tx, ReceiptLine, ReceiptLine.receipt_id, [r.id for r in receipts]))
    items = _by("return_id", await _all(tx, UndeclaredItem, UndeclaredItem.return_id, list(rows)))
    of_return = _by("return_id", receipts)

    def case_of(row: ReturnAuthorization) -> ReturnCase:
        ordered = sorted(lines.get(row.id, []), key=lambda line: line.position)
        return ReturnCase(tx, by, payments[row.payment_id], row, ordered, refunds.get(row.payment_id, []))

    cases = []
    for row in (rows[return_id] for return_id in return_ids if return_id in rows):
        case = case_of(row)
        case.receipts = of_return.get(row.id, [])
        case.receipt_lines = [count for receipt in case.receipts for count in counts.get(receipt.id, [])]
        case.undeclared = items.get(row.id, [])
        if row.state == "requested":
            case.neighbours = [case_of(o) for o in others if o.payment_id == row.payment_id and o.id != row.id]
        cases.append(case)
    return cases


async def _neighbours(tx: Tx, requested: Sequence[ReturnAuthorization]) -> list[ReturnAuthorization]:
    if not requested:
        return []
    chosen = select(ReturnAuthorization).where(
        col(ReturnAuthorization.payment_id).in_([row.payment_id for row in requested]),
        col(ReturnAuthorization.state).in_(NEIGHBOUR_STATES),
        col(ReturnAuthorization.closed_at).is_(None),
    )
    return list((await tx.exec(chosen)).all())


async def _all(tx: Tx, kind: type[Row], column: Any, values: Sequence[str]) -> list[Row]:
    """Return all rows with one of these values, oldest first; nothing is asked for none."""
    if not values:
        return []
    table: Any = kind
    chosen = select(kind).where(col(column).in_(values)).order_by(col(table.id))
    return list((await tx.exec(chosen)).all())


def _by(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(getattr(row, name), []).append(row)
    return found
