"""What the dock got wrong: a receipt reversed as a whole, or corrected line by line.

A refund that is not sent yet follows the counts. The customer keeps what they got: an excess is told, never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select

from returns_service.commands.counting import CountResult, is_accepted, recount, split_row, standing_receipt
from returns_service.commands.refunds import follow_up, supersede, withdraw_unsent
from returns_service.domain import return_machine
from returns_service.domain.counts import PLACEHOLDERS, default_disposition
from returns_service.domain.plural import pluralize
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import FINAL, OPEN
from returns_service.domain.vocabulary import Condition
from returns_service.return_case.case import ReturnCase, is_unsent, rows_of
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import lock_case
from returns_service.return_case.transition import record_return, transition
from returns_service.return_case.views import show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReceiptLine, Refund, UnmatchedReceipt

REVERSED = "The count behind it was reversed before it was sent; no money has moved."
CORRECTED = "The count behind it was corrected before it was sent; no money has moved."


@dataclass(frozen=True, slots=True)
class Correction:
    """Units of a line that a receipt counted in the wrong condition."""

    line: str
    from_condition: Condition
    to_condition: Condition
    quantity: int


async def reverse(tx: Tx, by: Actor, policy: Policy, return_id: str, receipt_id: str, reason: str) -> CountResult:
    """Undo a miscount: an unsent refund is withdrawn, a failed one superseded, one that was sent bars it."""
    case = await lock_case(tx, by, policy, return_id)
    receipt = standing_receipt(case, receipt_id)
    if not case.can_reverse(receipt):
        raise Problem("already_refunded", refunds=[r.id for r in case.refunds if not is_unsent(r)])
    return_machine.check("reverse", case.row.state, case.facts(units_reversible=True))
    touched = {r.line_id for r in case.receipt_lines if r.receipt_id == receipt.id and r.accepted}
    for refund in case.refunds:
        if refund.superseded_at is None and _depends_on(refund, touched):
            await withdraw_or_supersede(case, refund, "receipt_reversed", REVERSED)
    receipt.reversed_at, receipt.reversed_by, receipt.reversed_reason = tx.now, by.actor, reason
    await _free_parcel(tx, receipt)
    await recount(case)
    await transition(case, "reverse", why=reason, units_reversible=True)
    done = CountResult(case, receipt)
    await record(tx, by, "receipt.reversed", row=case.row, data={"object": done.shown(), "reason": reason})
    await follow_up(case)
    return done


async def _free_parcel(tx: Tx, receipt: Receipt) -> None:
    """Let a parcel without an authorization be attached anew once the receipt that counted it is reversed."""
    chosen = select(UnmatchedReceipt).where(col(UnmatchedReceipt.receipt_id) == receipt.id)
    for parcel in (await tx.exec(chosen)).all():
        parcel.receipt_id = parcel.return_id = parcel.attached_by = parcel.attached_at = None


def _depends_on(refund: Refund, touched: set[str]) -> bool:
    """Return whether a recount of these lines may change the refund; shipping hangs on all of them."""
    rows = rows_of(refund)
    shipping = is_unsent(refund) and any(row.kind == "shipping" and not row.adjustment for row in rows)
    return bool(touched & {row.line for row in rows}) or (shipping and bool(touched))


async def withdraw_or_supersede(case: ReturnCase, refund: Refund, code: str, message: str) -> None:
    """Take an unsent or failed refund out of the way of a recount; a new one pays the rest."""
    tx, by = case.tx, case.by
    if is_unsent(refund):
        before = refund.status
        withdraw_unsent(refund, tx, {"code": code, "message": message, "by": by.actor})
        await supersede(tx, refund, None)
        shown = {"from": before, "to": refund.status, "object": show_refund(refund, case.payment)}
        await record(tx, by, "refund.status_changed", row=case.row, refund=refund, payment=case.payment, data=shown)
    elif refund.status in (*FINAL, "withdrawn"):
        await supersede(tx, refund, None)


async def correct(
    tx: Tx,
    by: Actor,
    policy: Policy,
    return_id: str,
    receipt_id: str,
    corrections: Sequence[Correction],
    reason: str,
) -> CountResult:
    """Change the condition of counted units; an excess of refunds is told, never taken. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    receipt = standing_receipt(case, receipt_id)
    _check_units(case, receipt, corrections)
    touched = {correction.line for correction in corrections}
    standing = [refund for refund in case.refunds if refund.superseded_at is None and _depends_on(refund, touched)]
    on_the_way = [refund for refund in standing if refund.status in OPEN and not is_unsent(refund)]
    if on_the_way:
        raise Problem("refund_in_progress", refunds=[refund.id for refund in on_the_way])
    return_machine.check("correct", case.row.state, case.facts())
    for refund in standing:
        await withdraw_or_supersede(case, refund, "receipt_corrected", CORRECTED)
    for correction in corrections:
        _correct(case, receipt, correction)
    overpaid_before = case.overpaid
    await recount(case)
    if case.overpaid > overpaid_before:
        case.row.overpaid_since = tx.now
    await transition(case, "correct", why=reason)
    done = CountResult(case, receipt)
    shown = {"object": done.shown(), "reason": reason, "overpaid_amount": case.overpaid}
    await record(tx, by, "receipt.corrected", row=case.row, data=shown)
    await follow_up(case)
    return done


def _rows_in(case: ReturnCase, receipt: Receipt, line_id: str, condition: Condition) -> list[ReceiptLine]:
    """Return a receipt's rows of a line in one condition, decided ones first."""
    rows = [r for r in case.receipt_lines if (r.receipt_id, r.line_id, r.condition) == (receipt.id, line_id, condition)]
    return sorted(rows, key=lambda row: row.accepted is None)


def _check_units(case: ReturnCase, receipt: Receipt, corrections: Sequence[Correction]) -> None:
    """Raise Problem where a correction is of a line that isn't there, or of more units than were counted so."""
    left: dict[tuple[str, Condition], int] = {}
    for number, one in enumerate(corrections):
        if one.line not in {line.id for line in case.lines}:
            raise Problem("unknown_line", f"This return has no line {one.line}.", param=f"lines[{number}].line")
        rows = _rows_in(case, receipt, one.line, one.from_condition)
        place = one.line, one.from_condition
        units = left.setdefault(place, sum(row.quantity for row in rows))
        if one.quantity > units:
            detail = f"This receipt counts {pluralize(units, 'unit')} of the line as {one.from_condition}."
            raise Problem("units_not_counted", detail, param=f"lines[{number}].quantity", counted=units)
        left[place] -= one.quantity


def _correct(case: ReturnCase, receipt: Receipt, correction: Correction) -> None:
    """Give units their right condition, and the disposition that goes with it unless the dock had chosen another."""
    left, condition = correction.quantity, correction.to_condition
    accepted = is_accepted(case, condition)
    for row in _rows_in(case, receipt, correction.line, correction.from_condition):
        units = min(left, row.quantity)
        if units == 0:
            break
        left -= units
        part = split_row(case, row, units)
        usual = default_disposition(part.condition, part.accepted is True)
        if part.disposition == usual or condition in PLACEHOLDERS or part.condition in PLACEHOLDERS:
            part.disposition = default_disposition(condition, accepted)
        part.condition = condition
        part.accepted = None if part.disposition == "inspect" else accepted


async def acknowledge_overpaid(tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str) -> ReturnCase:
    """Take a return off the desk whose overpaid amount was dealt with. Raises Problem nothing_overpaid."""
    case = await lock_case(tx, by, policy, return_id)
    if case.row.overpaid_since is None:
        raise Problem("nothing_overpaid")
    amount = case.overpaid
    case.row.overpaid_since = None
    await record_return(case, "return.updated", {"overpaid_amount": amount, "reason": reason})
    return case
