"""What the dock got wrong: a receipt reversed as a whole, or corrected line by line.

A refund that is not sent yet follows the counts. The customer keeps what they got: an excess is told, never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import col, select

from returns_service.commands.counting import CountResult, is_accepted, recount, split_row, standing_receipt
from returns_service.commands.refunds import follow_up, withdraw_or_supersede
from returns_service.domain import return_machine
from returns_service.domain.counts import PLACEHOLDERS, default_disposition
from returns_service.domain.plural import pluralize
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import OPEN
from returns_service.domain.vocabulary import Condition
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import lock_case
from returns_service.return_case.overpaid import is_overpaid_for_sure, note_overpaid
from returns_service.return_case.reversal import reversible
from returns_service.return_case.rows import depends_on, is_unsent
from returns_service.return_case.transition import record_return, transition
from returns_service.store.database import Tx
from returns_service.store.tables import Photo, Receipt, ReceiptLine, Refund, UnmatchedReceipt

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
    if not any(one is receipt for one in reversible(case)):
        raise Problem("already_refunded", refunds=[r.id for r in case.refunds if not is_unsent(r)])
    return_machine.check("reverse", case.row.state, case.facts(units_reversible=True))
    touched = {row.line_id for row in case.rows_in(receipt) if row.accepted}
    for refund in _dependent_refunds(case, touched):
        await withdraw_or_supersede(case, refund, "receipt_reversed", REVERSED)
    before = case.overpaid_amount
    receipt.reversed_at, receipt.reversed_by, receipt.reversed_reason = tx.now, by.actor, reason
    await _free_parcel(tx, receipt)
    await recount(case)
    note_overpaid(case, before)
    await transition(case, "reverse", why=reason, units_reversible=True)
    done = CountResult(case, receipt)
    await record(tx, by, "receipt.reversed", row=case.row, data={"object": done.show(), "reason": reason})
    await follow_up(case)
    return done


async def _free_parcel(tx: Tx, receipt: Receipt) -> None:
    """Let a parcel without an authorization be attached anew once the receipt that counted it is reversed."""
    chosen = select(UnmatchedReceipt).where(col(UnmatchedReceipt.receipt_id) == receipt.id)
    for parcel in (await tx.exec(chosen)).all():
        parcel.receipt_id = parcel.return_id = parcel.attached_by = parcel.attached_at = None
        await tx.execute(update(Photo).where(col(Photo.about_id) == parcel.id).values(return_id=None))


def _dependent_refunds(case: ReturnCase, touched: set[str]) -> list[Refund]:
    """Return the refunds that a recount of these lines may change: none of a return that is paid ahead."""
    if case.is_paid_ahead:
        return []
    return [refund for refund in case.refunds if refund.superseded_at is None and depends_on(refund, touched)]


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
    standing = _dependent_refunds(case, touched)
    on_the_way = [refund for refund in standing if refund.status in OPEN and not is_unsent(refund)]
    if on_the_way:
        raise Problem("refund_in_progress", refunds=[refund.id for refund in on_the_way])
    return_machine.check("correct", case.row.state, case.facts())
    for refund in standing:
        await withdraw_or_supersede(case, refund, "receipt_corrected", CORRECTED)
    before = case.overpaid_amount
    for correction in corrections:
        _correct(case, receipt, correction)
    await recount(case)
    note_overpaid(case, before)
    await transition(case, "correct", why=reason)
    done = CountResult(case, receipt)
    changed = {correction.line for correction in corrections}
    shown = {"object": done.show_change(changed), "reason": reason, "overpaid_amount": case.overpaid_amount}
    await record(tx, by, "receipt.corrected", row=case.row, data=shown)
    await follow_up(case)
    return done


def _rows_in(case: ReturnCase, receipt: Receipt, line_id: str, condition: Condition) -> list[ReceiptLine]:
    """Return a receipt's rows of a line in one condition, decided ones first."""
    rows = [row for row in case.rows_on(line_id, (receipt.id,)) if row.condition == condition]
    return sorted(rows, key=lambda row: row.accepted is None)


def _check_units(case: ReturnCase, receipt: Receipt, corrections: Sequence[Correction]) -> None:
    """Raise Problem where a correction is of a line that isn't there, or of more units than were counted so."""
    lines = {line.id for line in case.lines}
    left: dict[tuple[str, Condition], int] = {}
    for number, one in enumerate(corrections):
        if one.line not in lines:
            raise Problem("unknown_line", f"This return has no line {one.line}.", param=f"lines[{number}].line")
        place = one.line, one.from_condition
        if place not in left:
            left[place] = sum(row.quantity for row in _rows_in(case, receipt, *place))
        units = left[place]
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
    """Take a return off the desk whose overpaid amount was dealt with. Raises Problem.

    Its code is nothing_overpaid, or refund_in_progress while nobody knows whether so much was paid.
    """
    case = await lock_case(tx, by, policy, return_id)
    if case.row.overpaid_since is None:
        raise Problem("nothing_overpaid")
    if not is_overpaid_for_sure(case):
        raise Problem("refund_in_progress", "A refund has no answer yet: nobody knows what was overpaid.")
    amount = case.overpaid_amount
    case.row.overpaid_since = None
    await record_return(case, "return.updated", {"overpaid_amount": amount, "reason": reason})
    return case
