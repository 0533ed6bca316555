"""Money that reached the customer by other means than this service's refunds: no call to Stripe moves any of it."""

from __future__ import annotations

from dataclasses import dataclass

from returns_service.commands.failed_refunds import (
    Part,
    check_standalone_failed,
    choose_failed,
    standalone_open_rows,
    take_over,
)
from returns_service.commands.refunds import add_refund, check_step, follow_up, lock_refund, new_refund
from returns_service.domain import money, return_machine
from returns_service.domain.money_open import subtract
from returns_service.domain.money_ways import add_differences
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import SettlementMethod
from returns_service.return_case.case import ReturnCase, open_amount
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import lock_case
from returns_service.return_case.transition import transition
from returns_service.return_case.views import show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


@dataclass(frozen=True, slots=True)
class Outside:
    """Money that reached the customer by other means. `part`: how much of what is due, or of the failed refund."""

    method: SettlementMethod
    reference: str
    refund: str | None = None
    part: Part = Part()  # noqa: RUF009 - a frozen value
    note: str | None = None


async def settle_outside(
    tx: Tx, by: Actor, policy: Policy, return_id: str, asked: Outside
) -> tuple[ReturnCase, Refund]:
    """Record that what is due, or what is open of a failed refund, was paid by other means. Raises Problem.

    What is due outside Stripe comes first, and alone. An exchange for less leaves the rest due as refund.
    """
    asked.part.check()
    case = await lock_case(tx, by, policy, return_id)
    failed: Refund | None = None
    if asked.refund or (case.row.state == "failed" and not case.due_outside):
        failed = choose_failed(case, asked.refund)
    settleable = case.open_rows()[failed.id] if failed else _due_rows(case, asked.method)
    limit = money.due(settleable)
    amount = limit if asked.part.amount is None else asked.part.amount
    check_step(amount, case.row.currency)
    facts = {"amount": amount, "settleable": limit, "due_outside": case.due_outside}
    return_machine.check("settle_outside", case.row.state, case.facts(**facts))
    rows = asked.part.rows(settleable)
    if asked.method == "exchange" and failed is None and not asked.part.waive:
        exchanged = [line for line, wanted in case.outside_lines.items() if wanted == "exchange"]
        rows = add_differences(rows, settleable, exchanged)
    settled = new_refund(tx, by, case.payment, amount, source="return", status="settled_outside")
    settled.return_id, settled.method, settled.reference = case.row.id, asked.method, asked.reference
    settled.note, settled.breakdown = asked.note, [row.to_dict() for row in rows]
    case.lock.add(settled)
    if failed:
        await take_over(tx, failed, settled, left=0 if asked.part.waive else money.total(subtract(settleable, rows)))
    why = asked.part.reason if asked.part.waive else asked.note
    await transition(case, "settle_outside", why=why or asked.method, **facts)
    shown = {"object": show_refund(settled, case.payment)}
    await record(tx, by, "refund.created", row=case.row, refund=settled, payment=case.payment, data=shown)
    await follow_up(case)
    return case, settled


def _due_rows(case: ReturnCase, method: SettlementMethod) -> list[money.Row]:
    """Return what is due outside, units first that are to be paid by this method; else what is due as refund."""
    ways = case.due_rows()
    if money.due(ways.outside) == 0:
        return ways.refund
    return sorted(ways.outside, key=lambda row: case.outside_lines.get(row.line or "") != method)


async def settle_standalone_outside(tx: Tx, by: Actor, refund_id: str, asked: Outside) -> tuple[Refund, Payment]:
    """Record that a failed refund of no return was paid by other means, whole or in part. Raises Problem."""
    asked.part.check()
    locked, old = await lock_refund(tx, refund_id)
    check_standalone_failed(old)
    limit = open_amount(old)
    amount = limit if asked.part.amount is None else asked.part.amount
    if amount > limit:
        raise Problem("amount_exceeds_due", amount=amount, due=limit)
    check_step(amount, locked.row.currency)
    made = new_refund(tx, by, locked.row, amount, source="standalone", status="settled_outside")
    made.method, made.reference, made.note, made.supersedes = asked.method, asked.reference, asked.note, old.id
    made.breakdown = [row.to_dict() for row in asked.part.rows(standalone_open_rows(old))]
    made.details = old.details
    await add_refund(locked, by, made, None)
    await take_over(tx, old, made, left=0 if asked.part.waive else limit - amount)
    return made, locked.row
