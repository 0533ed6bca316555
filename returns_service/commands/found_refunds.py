"""Rows for refunds found at Stripe that we didn't know of: ours after a restore, or made outside this service."""

from __future__ import annotations

import re
from typing import Final

from returns_service.commands.assignments import assign_by_metadata
from returns_service.commands.refunds import new_refund
from returns_service.commands.undue_refunds import withdraw_undue
from returns_service.domain import money
from returns_service.domain.policy import Policy
from returns_service.domain.refund_mark import read_mark
from returns_service.domain.refund_status import FINAL, STRIPE_STATUSES
from returns_service.domain.stripe_objects import RefundSnapshot
from returns_service.domain.vocabulary import find_word
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment, waits_for_person
from returns_service.return_case.overpaid import note_overpaid
from returns_service.return_case.views import show_refund
from returns_service.store.tables import Refund, ReturnAuthorization

REFUND_ID: Final = re.compile(r"rfd_[0-7][0-9a-hjkmnp-tv-z]{25}\Z")
STRIPE: Final = Actor("stripe")


async def add_found_refund(locked: LockedPayment, by: Actor, policy: Policy, seen: RefundSnapshot) -> Refund:
    """Make a row for a refund we didn't know of: adopted as ours after a restore, else external or a duplicate."""
    tx, payment = locked.tx, locked.row
    named = seen.metadata.get("refund_id", "")
    known = locked.refund(named)
    if known is None and REFUND_ID.match(named):
        known = await tx.get(Refund, named)
    status = find_word(STRIPE_STATUSES, seen.status) or "pending"
    row = new_refund(tx, STRIPE, payment, seen.amount, source="external", status=status)
    row.reason, row.details = seen.reason, dict(seen.metadata)
    row.breakdown = [money.Row("unallocated", seen.amount, description="Refunded outside this service").to_dict()]
    row.created_at = seen.created
    case = None
    if known is not None:
        row.duplicate_of = known.id
    elif REFUND_ID.match(named):
        row.id, row.source = named, "standalone"
        case = await _attach_to_return(locked, by, policy, row, seen)
    elif status not in FINAL:  # a failed one has paid nothing, so no queued one has to make room
        case = await assign_by_metadata(locked, by, policy, row, seen)
    locked.add(row)
    if waits_for_person(row):
        locked.end_overrides()
    if case is not None:
        await withdraw_undue(case)
    if row.source == "external":
        note_overpaid(case)
    of = case.row if case else None
    shown = {"object": show_refund(row, payment), "found_at": "stripe"}
    await record(tx, by, "refund.created", row=of, refund=row, payment=payment, data=shown)
    if row.duplicate_of:
        overpaid = {**shown, "duplicate_of": row.duplicate_of}
        await record(tx, by, "payment.overpaid", refund=row, payment=payment, data=overpaid)
    return row


async def _attach_to_return(
    locked: LockedPayment, by: Actor, policy: Policy, row: Refund, seen: RefundSnapshot
) -> ReturnCase | None:
    """Give an adopted refund back to its return, with the units that its metadata says it paid."""
    mark = read_mark(seen.metadata)
    found = await locked.tx.get(ReturnAuthorization, mark.return_id) if mark is not None else None
    if mark is None or found is None or found.payment_id != locked.row.id:
        return None
    case = await case_under_lock(locked, by, policy, found.id)
    lines = {line.position: (line.id, line.title or line.sku) for line in case.lines}
    rows = money.decode_breakdown(mark.breakdown, lines, seen.amount)
    row.return_id, row.source = found.id, "return"
    case.write_breakdown(row, rows)
    return case
