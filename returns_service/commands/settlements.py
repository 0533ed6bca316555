"""Money that reached the customer by other means than this service's refunds: no call to Stripe moves any of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from returns_service.commands.failed_refunds import (
    WHOLE,
    Part,
    check_standalone_failed,
    choose_failed,
    standalone_open_rows,
    take_over,
)
from returns_service.commands.refunds import add_refund, check_step, follow_up, lock_refund, new_refund
from returns_service.commands.stripe_fold import release_hold
from returns_service.domain import money, return_machine
from returns_service.domain.money_open import subtract
from returns_service.domain.money_ways import add_differences
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import FINAL
from returns_service.domain.vocabulary import RefundSource, SettlementMethod
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record, to_json_object
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.overpaid import note_overpaid
from returns_service.return_case.rows import open_amount
from returns_service.return_case.transition import check_edge, transition
from returns_service.return_case.views import show_payment, show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


@dataclass(frozen=True, slots=True)
class Outside:
    """Money that reached the customer by other means. `part`: how much of what is due, or of the failed refund."""

    method: SettlementMethod
    reference: str
    refund: str | None = None
    part: Part = WHOLE
    note: str | None = None


async def settle_outside(
    tx: Tx, by: Actor, policy: Policy, return_id: str, asked: Outside
) -> tuple[ReturnCase, Refund]:
    """Record that what is due, or what is open of a failed refund, was paid by other means. Raises Problem.

    The amount due outside Stripe comes first, and alone. An exchange for less leaves the rest due as refund. A refund
    made in the Stripe Dashboard has a row already, which then pays what is settled.
    """
    asked.part.check()
    case = await lock_case(tx, by, policy, return_id)
    check_edge(case, "settle_outside")
    overpaid_before = case.overpaid_amount
    made_outside = _dashboard_refund(case.lock, asked) if asked.method == "dashboard_refund" else None
    part = replace(asked.part, amount=made_outside.amount) if made_outside else asked.part
    failed: Refund | None = None
    if asked.refund or (case.row.state == "failed" and not case.due_outside):
        failed = choose_failed(case, asked.refund)
    settleable = case.open_rows()[failed.id] if failed else _due_rows(case, asked.method)
    limit = money.due(settleable)
    amount = limit if part.amount is None else part.amount
    check_step(amount, case.row.currency)
    facts: dict[str, Any] = {"amount": amount, "settleable": limit, "due_outside": case.due_outside}
    return_machine.check("settle_outside", case.row.state, case.facts(**facts))
    rows = part.rows(settleable)
    if asked.method == "exchange" and failed is None and not part.waive:
        exchanged = [line for line, wanted in case.outside_lines.items() if wanted == "exchange"]
        rows = add_differences(rows, settleable, exchanged)
    settled = made_outside or _settled_row(case.lock, by, asked, amount, source="return")
    settled.return_id = case.row.id
    case.write_breakdown(settled, rows)
    settled.note, settled.acknowledged_at, settled.updated_at = asked.note, None, tx.now
    if made_outside is None:
        case.lock.add(settled)
    if failed:
        await take_over(tx, failed, settled, left=0 if part.waive else money.total(subtract(settleable, rows)))
    note_overpaid(case, overpaid_before)
    said = asked.note or (asked.method if made_outside is None else f"{asked.method} {asked.reference}")
    await transition(case, "settle_outside", why=part.reason or said, **facts)
    if made_outside is None:
        shown = {"object": show_refund(settled, case.payment)}
        await record(tx, by, "refund.created", row=case.row, refund=settled, payment=case.payment, data=shown)
    await follow_up(case)
    if case.lock.set_hold(policy):
        await release_hold(case.lock, by, policy)
    return case, settled


def _settled_row(locked: LockedPayment, by: Actor, asked: Outside, amount: int, *, source: RefundSource) -> Refund:
    """Return a row that counts as paid, minor units, and moves nothing at Stripe."""
    row = new_refund(locked.tx, by, locked.row, amount, source=source, status="settled_outside")
    row.method, row.reference = asked.method, asked.reference
    return row


def _dashboard_refund(locked: LockedPayment, asked: Outside) -> Refund:
    """Return the refund made in the Stripe Dashboard that is named, if it pays nothing else yet.

    Raises Problem refund_missing, refund_claimed, refund_not_external, refund_amount_differs.
    """
    row = next((refund for refund in locked.refunds if refund.stripe_refund == asked.reference), None)
    if row is None:
        raise Problem("refund_missing", param="reference")
    if row.source != "external" or locked.is_second(row) or row.return_id is not None or row.supersedes:
        claimed: dict[str, Any] = {"refund": row.id, "return": row.return_id}
        raise Problem("refund_claimed", param="reference", **claimed)
    if row.status in FINAL:
        raise Problem("refund_not_external", f"It has {row.status} at Stripe.", refund_status=row.status)
    if asked.part.amount not in (None, row.amount):
        raise Problem("refund_amount_differs", param="amount", amount=asked.part.amount, refunded=row.amount)
    row.duplicate_of = None  # where it was a second one, the first has failed
    return row


def _due_rows(case: ReturnCase, method: SettlementMethod) -> list[money.Row]:
    """Return the rows due outside, first those that this method is meant for; without any, the rows due as refund."""
    ways = case.due_rows()
    if money.due(ways.outside) == 0:
        return ways.refund
    return sorted(ways.outside, key=lambda row: case.outside_lines.get(row.line or "") != method)


async def settle_standalone_outside(
    tx: Tx, by: Actor, policy: Policy, refund_id: str, asked: Outside
) -> tuple[Refund, Payment]:
    """Record that a failed refund of no return was paid by other means, whole or in part. Raises Problem."""
    asked.part.check()
    locked, old = await lock_refund(tx, refund_id)
    check_standalone_failed(old)
    made_outside = _dashboard_refund(locked, asked) if asked.method == "dashboard_refund" else None
    part = replace(asked.part, amount=made_outside.amount) if made_outside else asked.part
    limit = open_amount(old)
    amount = limit if part.amount is None else part.amount
    if amount > limit:
        raise Problem("amount_exceeds_due", amount=amount, due=limit)
    check_step(amount, locked.row.currency)
    made = made_outside or _settled_row(locked, by, asked, amount, source="standalone")
    made.supersedes, made.note, made.updated_at = old.id, asked.note or part.reason, tx.now
    made.breakdown = [row.to_dict() for row in part.rows(standalone_open_rows(old))]
    if made_outside is None:
        made.details = old.details
        await add_refund(locked, by, made, None)
    else:
        made.acknowledged_at = tx.now
        data = to_json_object(
            {
                "acknowledged": made.id,
                "reason": asked.note or asked.method,
                "object": show_payment(locked.row, locked.refunds),
            }
        )
        await record(tx, by, "payment.updated", refund=made, payment=locked.row, data=data)
    await take_over(tx, old, made, left=0 if part.waive else limit - amount)
    if locked.set_hold(policy):
        await release_hold(locked, by, policy)
    return made, locked.row
