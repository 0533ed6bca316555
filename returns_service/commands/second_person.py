"""Refunds that one person may not decide alone: they wait, unsent, until a second person agrees."""

from __future__ import annotations

from returns_service.commands.refunds import lock_refund
from returns_service.commands.staff_users import persons_of
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.rows import is_unapproved
from returns_service.return_case.views import show_refund
from returns_service.return_case.waiting import set_waiting
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


async def approve_refund(
    tx: Tx, by: Actor, policy: Policy, refund_id: str, *, note: str | None
) -> tuple[Refund, Payment]:
    """Agree to a refund that another person decided; it is sent then. Raises Problem."""
    locked, row = await lock_refund(tx, refund_id)
    if not is_unapproved(row):
        raise Problem("refund_not_unapproved", refund_status=row.status, approved_by=row.approved_by)
    persons = await persons_of(tx, [by.actor, row.created_by])
    if persons[by.actor] == persons[row.created_by]:
        raise Problem("second_person_required", required=2)
    row.unapproved, row.approved_by, row.approved_at, row.updated_at = False, by.actor, tx.now, tx.now
    row.next_attempt_at = tx.now
    set_waiting(row, None)
    case = await case_under_lock(locked, by, policy, row.return_id) if row.return_id else None
    data = {"object": show_refund(row, locked.row), "note": note}
    await record(tx, by, "refund.approved", row=case.row if case else None, refund=row, payment=locked.row, data=data)
    tx.wake_workers()
    return row, locked.row
