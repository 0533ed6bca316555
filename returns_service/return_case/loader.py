"""Read returns with all that decides about them: one statement for any number of returns, locked or not.

One statement is one snapshot. It reads each table in a branch of its own (`part`): rows add up and never multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import and_, bindparam, literal_column, true, union_all
from sqlalchemy.orm import aliased
from sqlmodel import SQLModel, col, select

from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import OF_RETURN, LockedPayment, lock_row
from returns_service.return_case.overpaid import overpaid_amounts
from returns_service.return_case.views.return_view import show_units
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
RETURNS, REFUNDS, RECEIPTS, UNDECLARED = range(4)  # the parts of the statement


def _statement(named: Any, *parts: int) -> Any:
    """Return the statement for the returns whose id is `named` (a comparison), with `parts` of what decides about them.

    Several ids are written into its text each time it runs; one is a value like any other, which costs nothing.
    """
    part = union_all(*(select(literal_column(str(number)).label("number")) for number in parts)).subquery("part")
    target: Any = aliased(ReturnAuthorization, name="target")
    same_payment = col(ReturnAuthorization.payment_id) == target.payment_id
    entities: Any = (target.id, Payment, ReturnAuthorization, ReturnLine, Refund, Receipt, ReceiptLine, UndeclaredItem)
    chosen: Any = select(*entities)
    return (
        chosen.select_from(target)
        .join(part, true())
        .join(Payment, col(Payment.id) == target.payment_id)
        .outerjoin(
            ReturnAuthorization,
            and_(part.c.number == RETURNS, same_payment),
        )
        .outerjoin(ReturnLine, col(ReturnLine.return_id) == col(ReturnAuthorization.id))
        .outerjoin(Refund, and_(part.c.number == REFUNDS, col(Refund.payment_id) == target.payment_id))
        .outerjoin(Receipt, and_(part.c.number == RECEIPTS, col(Receipt.return_id) == target.id))
        .outerjoin(ReceiptLine, col(ReceiptLine.receipt_id) == col(Receipt.id))
        .outerjoin(UndeclaredItem, and_(part.c.number == UNDECLARED, col(UndeclaredItem.return_id) == target.id))
        .where(named(target.id))
        .execution_options(populate_existing=True)
    )


def _is_one(row_id: Any) -> Any:
    return row_id == bindparam("return_id")


def _is_among(row_id: Any) -> Any:
    return row_id.in_(bindparam("return_ids", expanding=True))


# Built once: every request runs one of them.
WHOLE = _statement(_is_one, RETURNS, REFUNDS, RECEIPTS, UNDECLARED)
SEVERAL = _statement(_is_among, RETURNS, REFUNDS, RECEIPTS, UNDECLARED)
BESIDE_REFUNDS = _statement(_is_one, RETURNS, RECEIPTS, UNDECLARED)


async def check_exists(tx: Tx, return_id: str) -> None:
    """Raise Problem not_found unless there is such a return."""
    if (await tx.exec(select(ReturnAuthorization.id).where(col(ReturnAuthorization.id) == return_id))).first() is None:
        raise Problem("not_found", f"There is no return {return_id}.")


async def load_case(tx: Tx, policy: Policy, return_id: str) -> ReturnCase:
    """Return one return to look at. Raises Problem not_found."""
    rows = (await tx.execute(WHOLE, {"return_id": return_id})).all()
    if not rows:
        raise Problem("not_found", f"There is no return {return_id}.")
    return _cases(rows, policy, [return_id], tx.now)[0]


async def load_cases(tx: Tx, policy: Policy, return_ids: Sequence[str]) -> list[ReturnCase]:
    """Return returns to look at, in the order of their ids here; those that don't exist are left out."""
    if not return_ids:
        return []
    rows = (await tx.execute(SEVERAL, {"return_ids": list(return_ids)})).all()
    return _cases(rows, policy, return_ids, tx.now)


async def lock_case(tx: Tx, by: Actor, policy: Policy, return_id: str) -> ReturnCase:
    """Lock a return's payment, then read the return with all that decides about it. Raises Problem not_found."""
    row = await lock_row(tx, OF_RETURN, name=return_id)
    if row is None:
        raise Problem("not_found", f"There is no return {return_id}.")
    rows = (await tx.execute(WHOLE, {"return_id": return_id})).all()
    (case,) = _cases(rows, policy, [return_id], tx.now)
    locked = LockedPayment(tx, row, case.payment_refunds)
    return _under(locked, case, by)


async def case_under_lock(locked: LockedPayment, by: Actor, policy: Policy, return_id: str) -> ReturnCase:
    """Return a return of a payment that is locked already. Raises Problem not_found."""
    if return_id in locked.cases:
        return _under(locked, locked.cases[return_id], by)
    await locked.tx.flush()  # or a row changed in here would be read back as it was
    rows = (await locked.tx.execute(BESIDE_REFUNDS, {"return_id": return_id})).all()
    cases = _cases(rows, policy, [return_id], locked.tx.now)
    if not cases:
        raise Problem("not_found", f"There is no return {return_id}.")
    cases[0].share_refunds(locked.refunds)
    return _under(locked, cases[0], by)


async def case_of_new_return(
    locked: LockedPayment, by: Actor, policy: Policy, row: ReturnAuthorization, lines: list[ReturnLine]
) -> ReturnCase:
    """Return a return that is being made; on a payment that is new, too, there is nothing to read beside it."""
    known = bool(locked.cases)
    locked.cases.clear()  # those loaded before don't know it, and it may change what is due with them
    if not locked.is_new or known:
        return await case_under_lock(locked, by, policy, row.id)
    return _under(locked, ReturnCase(policy, locked.row, row, lines, locked.refunds, now=locked.tx.now), by)


async def case_of_draft(
    tx: Tx, policy: Policy, payment: Payment, row: ReturnAuthorization, lines: list[ReturnLine]
) -> ReturnCase:
    """Return a return that nobody has sent yet beside all that decides about it; none of it is kept."""
    of_payment = select(ReturnAuthorization.id).where(col(ReturnAuthorization.payment_id) == payment.id).limit(1)
    refunds_of_payment = select(Refund).where(col(Refund.payment_id) == payment.id).order_by(col(Refund.id))
    known = await load_cases(tx, policy, (await tx.exec(of_payment)).all())
    others = [one for case in known for one in (case, *case.payment_returns)]
    refunds = known[0].payment_refunds if known else list((await tx.exec(refunds_of_payment)).all())
    draft = ReturnCase(policy, payment, row, lines, refunds, payment_returns=others, now=tx.now)
    for other in others:
        other.payment_returns.append(draft)
    return draft


def _under(locked: LockedPayment, case: ReturnCase, by: Actor) -> ReturnCase:
    case.locked, case.by = locked, by
    if case.recorded_units is None:
        case.recorded_units = show_units(case)
        case.overpaid_before = overpaid_amounts(case) if case.siblings else {}
    locked.cases[case.row.id] = case
    return case


def _cases(rows: Sequence[Any], policy: Policy, return_ids: Sequence[str], now: datetime) -> list[ReturnCase]:
    """Put the statement's rows together, a case for each return, as of `now`."""
    payments: dict[str, Payment] = {}
    returns: dict[str, dict[str, ReturnAuthorization]] = {}
    lines: dict[str, dict[str, ReturnLine]] = {}
    refunds: dict[str, dict[str, Refund]] = {}
    receipts: dict[str, dict[str, Receipt]] = {}
    counts: dict[str, dict[str, ReceiptLine]] = {}
    items: dict[str, dict[str, UndeclaredItem]] = {}
    for target, payment, row, line, refund, receipt, count, item in rows:
        payments[target] = payment
        for kind, group, entity in (
            (returns, target, row),
            (lines, line.return_id if line else "", line),
            (refunds, payment.id, refund),
            (receipts, target, receipt),
            (counts, target, count),
            (items, target, item),
        ):
            if entity is not None:
                kind.setdefault(group, {})[entity.id] = entity

    def case_of(row: ReturnAuthorization, payment: Payment, all_refunds: list[Refund]) -> ReturnCase:
        ordered = sorted(lines.get(row.id, {}).values(), key=lambda line: line.position)
        return ReturnCase(policy, payment, row, ordered, all_refunds, now=now)

    cases = []
    for return_id in return_ids:
        if return_id not in payments:
            continue
        payment, own = payments[return_id], returns[return_id]
        case = case_of(own[return_id], payment, _by_id(refunds.get(payment.id, {})))
        case.receipts = _by_id(receipts.get(return_id, {}))
        case.receipt_lines = _by_id(counts.get(return_id, {}))
        case.undeclared = _by_id(items.get(return_id, {}))
        others = [case_of(row, payment, case.payment_refunds) for row in _by_id(own) if row.id != return_id]
        for one in (case, *others):
            one.payment_returns = [other for other in (case, *others) if other is not one]
        cases.append(case)
    return cases


def _by_id(rows: dict[str, Row]) -> list[Row]:
    return [rows[row_id] for row_id in sorted(rows)]
