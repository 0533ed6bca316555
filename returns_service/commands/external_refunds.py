"""Refunds that were made outside this service, in the Stripe Dashboard say: what a person says they were for.

While nobody has said it, such a refund holds every refund of its payment that Stripe was not asked for yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import and_, exists, or_
from sqlmodel import col, select

from returns_service.commands.assignments import AssignedUnits, make_room, pay_return
from returns_service.commands.failed_refunds import reopen_failed
from returns_service.commands.refunds import follow_up, lock_refund
from returns_service.commands.stripe_fold import release_hold
from returns_service.commands.undue_refunds import hold_in_doubt, withdraw_undue
from returns_service.domain import money, return_machine
from returns_service.domain.plural import pluralize
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import FINAL
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record, to_json_object
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment, lock_payment
from returns_service.return_case.overpaid import note_overpaid
from returns_service.return_case.transition import record_transition, transition
from returns_service.return_case.views import show_payment
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


async def assign(
    tx: Tx, by: Actor, policy: Policy, refund_id: str, return_id: str, lines: Sequence[AssignedUnits]
) -> tuple[Refund, Payment]:
    """Count a refund made outside as a return's; assigning it again moves it. Raises Problem."""
    locked, row = await lock_refund(tx, refund_id)
    if row.source != "external" or locked.is_second(row) or row.status in FINAL:
        raise Problem("refund_not_external", refund_status=row.status)
    case = await _case_on_payment(locked, by, policy, return_id)
    if case.row.state in ("declined", "canceled"):
        detail = f"A return that is {case.row.state} can't take a refund: reopen it first."
        raise Problem("invalid_transition", detail, state=case.row.state, trigger="assign", allowed=case.available())
    _check_units(case, lines)
    before, overpaid_before = row.return_id, case.overpaid_amount
    row.return_id = row.acknowledged_at = row.duplicate_of = None
    reopen_failed(locked, row)
    await make_room(case)
    await pay_return(case, row, lines)
    row.return_id, row.updated_at = case.row.id, tx.now
    await withdraw_undue(case)
    note_overpaid(case, overpaid_before)
    await _follow(case, "assign")
    if before is not None and before != return_id:
        await _follow(await case_under_lock(locked, by, policy, before), "assign")
    await _end_hold(locked, by, policy)
    return row, locked.row


async def acknowledge(tx: Tx, by: Actor, policy: Policy, refund_id: str, reason: str) -> tuple[Refund, Payment]:
    """Say that a refund made outside is of no return, or what was agreed about a second one for an intent.

    No money moves; an assignment is undone. Raises Problem.
    """
    locked, row = await lock_refund(tx, refund_id)
    if row.source != "external":
        raise Problem("refund_not_second")
    if row.superseded_at is not None:
        raise Problem("refund_superseded", "It was acknowledged already.", superseded_by=None)
    before, row.note, row.updated_at = row.return_id, reason, tx.now
    if row.duplicate_of is not None:
        row.superseded_at = tx.now
    else:
        row.acknowledged_at = row.acknowledged_at or tx.now
        if row.return_id is not None:
            row.return_id = None
            reopen_failed(locked, row)
        hold_in_doubt(locked)
        if row.supersedes is None:  # else it pays what was open of a failed refund of no return
            unknown = money.Row("unallocated", row.amount, description="Refunded outside this service")
            row.breakdown, row.taxes = [unknown.to_dict()], None
    shown = show_payment(locked.row, locked.refunds)
    data = to_json_object({"acknowledged": row.id, "reason": reason, "object": shown})
    await record(tx, by, "payment.updated", refund=row, payment=locked.row, data=data)
    if before is not None:
        await _follow(await case_under_lock(locked, by, policy, before), "acknowledge")
    await _end_hold(locked, by, policy)
    return row, locked.row


async def payments_held_otherwise(tx: Tx, policy: Policy) -> list[str]:
    """Return the ids of payments that are held though the policy in force holds none, or free though it holds them."""
    waits = exists().where(
        col(Refund.payment_id) == col(Payment.id),
        col(Refund.source) == "external",
        col(Refund.status).not_in(FINAL),
        col(Refund.return_id).is_(None),
        col(Refund.acknowledged_at).is_(None),
        col(Refund.duplicate_of).is_(None),
    )
    ignored = policy.external_refunds == "ignore"
    held = or_(col(Payment.external_open), col(Payment.held_until_read))
    wrong = held if ignored else and_(~col(Payment.external_open), waits)
    return list((await tx.exec(select(Payment.id).where(wrong).order_by(col(Payment.id)))).all())


async def follow_policy(tx: Tx, by: Actor, policy: Policy, payment_id: str) -> None:
    """Hold a payment, or end its hold, as the policy in force says. Safe to do twice."""
    await _end_hold(await lock_payment(tx, payment_id), by, policy)


async def _case_on_payment(locked: LockedPayment, by: Actor, policy: Policy, return_id: str) -> ReturnCase:
    case = await case_under_lock(locked, by, policy, return_id)
    if case.row.payment_id != locked.row.id:
        del locked.cases[return_id]
        raise Problem("payment_mismatch", payment=locked.row.id, param="return")
    return case


def _check_units(case: ReturnCase, lines: Sequence[AssignedUnits]) -> None:
    known = {line.id: line.quantity for line in case.lines}
    left = dict(known)  # a line may be named more than once
    for number, named in enumerate(lines):
        if named.line not in known:
            raise Problem("unknown_line", f"This return has no line {named.line}.", param=f"lines[{number}].line")
        left[named.line] -= named.units
        if left[named.line] < 0:
            detail = f"lines[{number}].units: the line has {pluralize(known[named.line], 'unit')}"
            error = {"param": f"lines[{number}].units", "code": "too_large", "message": "More than the line has"}
            raise Problem("invalid_request", detail, param=error["param"], errors=[error])


async def _follow(case: ReturnCase, trigger: Literal["assign", "acknowledge"]) -> None:
    """Let a return follow what a person said about a refund: its state by the rule, then a refund of what is due."""
    state = case.row.state
    if state in return_machine.LIVE:
        await transition(case, "adopt")
        await follow_up(case)
    else:
        await record_transition(case, trigger, state, None)


async def _end_hold(locked: LockedPayment, by: Actor, policy: Policy) -> None:
    if locked.set_hold(policy):
        await release_hold(locked, by, policy)
