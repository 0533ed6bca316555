"""What the dock counted: receive, reverse a miscount, inspect, resolve what nobody announced.

The dock is never refused for what it holds: a surplus unit or an unknown SKU becomes an undeclared item.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from returns_service.commands.refunds import follow_up, supersede, withdraw_unsent
from returns_service.domain import return_machine
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import FINAL
from returns_service.domain.vocabulary import Condition, Disposition, FinalDisposition, UndeclaredDecision
from returns_service.return_case.case import ReturnCase, counted, is_unsent, rows_of
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import lock_case
from returns_service.return_case.transition import transition
from returns_service.return_case.views import ReceiptView, show_receipt, show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReceiptLine, Refund, ReturnLine, UndeclaredItem

DEFAULT_DISPOSITION: dict[Condition, Disposition] = {
    "damaged": "scrap",
    "wrong_item": "return_to_customer",
    "missing": "scrap",
}


@dataclass(frozen=True, slots=True)
class Count:
    """Units in one condition, by line id or by SKU."""

    quantity: int
    condition: Condition = "new"
    line: str | None = None
    sku: str | None = None
    disposition: Disposition | None = None


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Units that nobody announced."""

    sku: str
    quantity: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CountResult:
    """What became of a count: its receipt, and whether it had been sent before."""

    case: ReturnCase
    receipt: Receipt
    known: bool = False

    def shown(self) -> ReceiptView:
        """Return the receipt as it is answered."""
        return show_receipt(self.receipt, self.case.receipt_lines, self.case.undeclared)


async def receive(
    tx: Tx,
    by: Actor,
    policy: Policy,
    return_id: str,
    counts: Sequence[Count],
    undeclared: Sequence[Undeclared],
    scan_id: str | None,
) -> CountResult:
    """Write one receipt and pay what is due for it. The same `scan_id` again answers the same receipt."""
    case = await lock_case(tx, by, policy, return_id)
    mark = fingerprint(counts, undeclared)
    known = next((r for r in case.receipts if scan_id is not None and r.scan_id == scan_id), None)
    if known is not None and known.fingerprint != mark:
        raise Problem("scan_id_reused", receipt=known.id, param="scan_id")
    if known is not None:
        return CountResult(case, known, known=True)
    return_machine.check("receive", case.row.state, case.facts())
    lines = [_lines_of_count(case, count, number) for number, count in enumerate(counts)]
    receipt = Receipt(
        id=tx.new_id("rcp"),
        return_id=return_id,
        received_by=by.actor,
        scan_id=scan_id,
        fingerprint=mark,
        created_at=tx.now,
    )
    case.receipts.append(receipt)
    for count, of in zip(counts, lines, strict=True):
        _count(case, receipt, count, of)
    for item in undeclared:
        _add_undeclared(case, receipt, item.sku, item.quantity, item.note)
    tx.add(receipt)
    tx.add_all([row for row in case.receipt_lines if row.receipt_id == receipt.id])
    tx.add_all([item for item in case.undeclared if item.receipt_id == receipt.id])
    await transition(case, "receive")
    done = CountResult(case, receipt)
    await record(tx, by, "receipt.created", row=case.row, data={"object": done.shown()})
    await follow_up(case)
    return done


def fingerprint(counts: Sequence[Count], undeclared: Sequence[Undeclared]) -> str:
    """Return what tells one count from another."""
    words = json.dumps([[asdict(c) for c in counts], [asdict(u) for u in undeclared]], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def _count(case: ReturnCase, receipt: Receipt, count: Count, lines: Sequence[ReturnLine]) -> None:
    """Count units on their lines; surplus units are set aside as undeclared."""
    left = count.quantity
    for line in lines:
        units = min(left, line.quantity - counted(line))
        if units > 0:
            _take(case, receipt, line, units, count)
            left -= units
    if left:
        sku = lines[0].sku if lines else count.sku or ""
        note = f"Surplus, {count.condition}" if lines else f"Not on this return, {count.condition}"
        _add_undeclared(case, receipt, sku, left, note)


def _lines_of_count(case: ReturnCase, count: Count, number: int) -> list[ReturnLine]:
    if count.line is None:
        return [line for line in case.lines if line.sku == count.sku]
    lines = [line for line in case.lines if line.id == count.line]
    if not lines:
        raise Problem("unknown_line", f"This return has no line {count.line}.", param=f"lines[{number}].line")
    if count.sku is not None and count.sku != lines[0].sku:
        raise Problem("unknown_line", f"Line {count.line} is {lines[0].sku}.", param=f"lines[{number}].sku")
    return lines


def _take(case: ReturnCase, receipt: Receipt, line: ReturnLine, units: int, count: Count) -> None:
    disposition = count.disposition or DEFAULT_DISPOSITION.get(count.condition, "restock")
    accepted = None if disposition == "inspect" else count.condition in case.policy.accepted_conditions
    case.receipt_lines.append(
        ReceiptLine(
            id=case.tx.new_id("rcl"),
            receipt_id=receipt.id,
            line_id=line.id,
            sku=line.sku,
            quantity=units,
            condition=count.condition,
            disposition=disposition,
            accepted=accepted,
        )
    )
    tally(line, count.condition, units, accepted)


def tally(line: ReturnLine, condition: Condition, units: int, accepted: bool | None) -> None:
    """Add `units` (or take them away, below zero) where they count: accepted, rejected, or waiting for inspection."""
    if accepted is None:
        line.inspecting += units
        return
    counts = dict(line.accepted if accepted else line.rejected)
    counts[condition] = counts.get(condition, 0) + units
    kept = {name: number for name, number in counts.items() if number}
    if accepted:
        line.accepted = kept
    else:
        line.rejected = kept


def _add_undeclared(case: ReturnCase, receipt: Receipt, sku: str, quantity: int, note: str | None) -> None:
    case.undeclared.append(
        UndeclaredItem(
            id=case.tx.new_id("und"),
            receipt_id=receipt.id,
            return_id=case.row.id,
            sku=sku,
            quantity=quantity,
            note=note,
        )
    )


def receipt_of(case: ReturnCase, receipt_id: str) -> Receipt:
    """Return a receipt of the case. Raises Problem not_found."""
    found = next((receipt for receipt in case.receipts if receipt.id == receipt_id), None)
    if found is None:
        raise Problem("not_found", f"This return has no receipt {receipt_id}.")
    return found


async def reverse(tx: Tx, by: Actor, policy: Policy, return_id: str, receipt_id: str, reason: str) -> CountResult:
    """Undo a miscount: an unsent refund is withdrawn, a failed one superseded, one that was sent bars it."""
    case = await lock_case(tx, by, policy, return_id)
    receipt = receipt_of(case, receipt_id)
    if receipt.reversed_at is not None:
        raise Problem("receipt_reversed", reversed_at=receipt.reversed_at.isoformat())
    if not case.can_reverse(receipt):
        raise Problem("already_refunded", refunds=[r.id for r in case.refunds if not is_unsent(r)])
    return_machine.check("reverse", case.row.state, case.facts(units_reversible=True))
    rows = [row for row in case.receipt_lines if row.receipt_id == receipt.id]
    touched = {row.line_id for row in rows if row.accepted}
    for refund in case.refunds:
        if refund.superseded_at is None and _depends_on(refund, touched):
            await withdraw_or_supersede(case, refund)
    receipt.reversed_at, receipt.reversed_by, receipt.reversed_reason = tx.now, by.actor, reason
    for row in rows:
        line = next(line for line in case.lines if line.id == row.line_id)
        tally(line, row.condition, -row.quantity, row.accepted)
    await transition(case, "reverse", why=reason, units_reversible=True)
    done = CountResult(case, receipt)
    await record(tx, by, "receipt.reversed", row=case.row, data={"object": done.shown(), "reason": reason})
    await follow_up(case)
    return done


def _depends_on(refund: Refund, touched: set[str]) -> bool:
    """Return whether a recount of these lines may change the refund; shipping hangs on all of them."""
    rows = rows_of(refund)
    shipping = is_unsent(refund) and any(row.kind == "shipping" and not row.adjustment for row in rows)
    return bool(touched & {row.line for row in rows}) or (shipping and bool(touched))


async def withdraw_or_supersede(case: ReturnCase, refund: Refund) -> None:
    """Withdraw an unsent refund, or supersede a failed one, before a recount; the rest due becomes a new refund."""
    tx, by = case.tx, case.by
    if is_unsent(refund):
        before, message = refund.status, "The count behind it was reversed before it was sent; no money has moved."
        withdraw_unsent(refund, tx, {"code": "receipt_reversed", "message": message, "by": by.actor})
        await supersede(tx, refund, None)
        shown = {"from": before, "to": refund.status, "object": show_refund(refund, case.payment)}
        await record(tx, by, "refund.status_changed", row=case.row, refund=refund, payment=case.payment, data=shown)
    elif refund.status in (*FINAL, "withdrawn"):
        await supersede(tx, refund, None)


@dataclass(frozen=True, slots=True)
class InspectionFinding:
    """What an inspection found. `quantity` None: all units of the line that wait in this receipt."""

    line: str
    condition: Condition
    disposition: FinalDisposition
    quantity: int | None = None


async def inspect(
    tx: Tx, by: Actor, policy: Policy, return_id: str, receipt_id: str, findings: Sequence[InspectionFinding]
) -> CountResult:
    """Decide units that were set aside for inspection, and pay what is due for them. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    receipt = receipt_of(case, receipt_id)
    if receipt.reversed_at is not None:
        raise Problem("receipt_reversed", reversed_at=receipt.reversed_at.isoformat())
    units = _check_findings(case, receipt, findings)
    return_machine.check("inspect", case.row.state, case.facts(units_to_inspect=True))
    for finding, quantity in zip(findings, units, strict=True):
        _inspect(case, receipt, finding, quantity)
    await transition(case, "inspect", units_to_inspect=True)
    done = CountResult(case, receipt)
    await record(tx, by, "return.updated", row=case.row, data={"object": done.shown(), "inspected": receipt.id})
    await follow_up(case)
    return done


def _waiting_rows(case: ReturnCase, receipt: Receipt, line_id: str) -> list[ReceiptLine]:
    return [r for r in case.receipt_lines if (r.receipt_id, r.line_id, r.accepted) == (receipt.id, line_id, None)]


def _check_findings(case: ReturnCase, receipt: Receipt, findings: Sequence[InspectionFinding]) -> list[int]:
    """Return how many units each finding decides. Raises Problem where fewer wait for inspection."""
    left: dict[str, int] = {}
    units = []
    for number, finding in enumerate(findings):
        waiting = left.setdefault(finding.line, sum(r.quantity for r in _waiting_rows(case, receipt, finding.line)))
        quantity = waiting if finding.quantity is None else finding.quantity
        if not 0 < quantity <= waiting:
            raise Problem("nothing_to_inspect", param=f"lines[{number}].line")
        left[finding.line] -= quantity
        units.append(quantity)
    return units


def _inspect(case: ReturnCase, receipt: Receipt, finding: InspectionFinding, quantity: int) -> None:
    line = next(line for line in case.lines if line.id == finding.line)
    accepted = finding.condition in case.policy.accepted_conditions
    left = quantity
    for row in _waiting_rows(case, receipt, finding.line):
        units = min(left, row.quantity)
        if units == 0:
            break
        left -= units
        tally(line, row.condition, -units, None)
        tally(line, finding.condition, units, accepted)
        decided = row
        if units < row.quantity:
            row.quantity -= units
            decided = ReceiptLine(**{**row.model_dump(), "id": case.tx.new_id("rcl"), "quantity": units})
            case.receipt_lines.append(decided)
            case.tx.add(decided)
        decided.condition, decided.disposition, decided.accepted = finding.condition, finding.disposition, accepted


async def resolve(
    tx: Tx,
    by: Actor,
    policy: Policy,
    return_id: str,
    item_id: str,
    *,
    decision: UndeclaredDecision,
    line_id: str | None,
    condition: Condition,
) -> ReturnCase:
    """Decide what happens to an undeclared item; accepted as a line it counts, and is paid. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    item = next((item for item in case.undeclared if item.id == item_id), None)
    if item is None:
        raise Problem("not_found", f"This return has no undeclared item {item_id}.")
    receipt = receipt_of(case, item.receipt_id)
    if item.decision is not None:
        raise Problem("undeclared_resolved", decision=item.decision)
    if receipt.reversed_at is not None:
        raise Problem("receipt_reversed", reversed_at=receipt.reversed_at.isoformat())
    line = _line_for(case, item, line_id) if decision == "accept_as_line" else None
    return_machine.check("receive", case.row.state, case.facts())
    item.decision, item.decided_by, item.decided_at = decision, by.actor, tx.now
    if line is not None:
        item.line_id = line.id
        _take(case, receipt, line, item.quantity, Count(item.quantity, condition, line=line.id))
        tx.add(case.receipt_lines[-1])
    await transition(case, "receive", why=f"Undeclared {item.sku}: {decision}")
    await follow_up(case)
    return case


def _line_for(case: ReturnCase, item: UndeclaredItem, line_id: str | None) -> ReturnLine:
    fitting = [line for line in case.lines if (line.id == line_id if line_id else line.sku == item.sku)]
    if line_id and not fitting:
        raise Problem("unknown_line", f"This return has no line {line_id}.", param="line")
    if len(fitting) != 1:
        raise Problem("line_required", param="line", lines=[line.id for line in case.lines])
    if counted(fitting[0]) + item.quantity > fitting[0].quantity:
        raise Problem("line_complete", line=fitting[0].id, quantity=fitting[0].quantity, counted=counted(fitting[0]))
    return fitting[0]
