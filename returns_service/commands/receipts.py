"""What the dock counted: receive, inspect, resolve what nobody announced.

The dock is never refused for what it holds, nor for the return's state: a surplus unit or an unknown SKU becomes an
undeclared item, and a parcel that nobody expects any more is counted and paid for only after a person's decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlmodel import col, select

from returns_service.commands.counting import (
    Count,
    CountResult,
    Undeclared,
    add_undeclared,
    add_units,
    is_accepted,
    recount,
    split_row,
    standing_receipt,
)
from returns_service.commands.refunds import follow_up
from returns_service.domain import return_machine
from returns_service.domain.counts import PLACEHOLDERS, LineTally
from returns_service.domain.plural import pluralize
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.scan import LineFinder, lines_for
from returns_service.domain.vocabulary import Condition, FinalDisposition, UndeclaredDecision
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import lock_case
from returns_service.return_case.rows import counted_units, has_scan_id, units_here, units_to_inspect
from returns_service.return_case.transition import transition
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReceiptLine, ReturnLine, UndeclaredItem


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
    known = next((r for r in case.receipts if has_scan_id(r, scan_id)), None)
    if known is not None and known.fingerprint != mark:
        raise Problem("scan_id_reused", receipt=known.id, param="scan_id")
    if known is not None:
        return CountResult(case, known, known=True)
    return await receive_on(case, counts, undeclared, scan_id=scan_id)


async def is_scanned(tx: Tx, return_id: str, scan_id: str | None) -> bool:
    """Return whether the return has a receipt that came with this scan id."""
    of_return = select(Receipt).where(col(Receipt.return_id) == return_id, col(Receipt.scan_id).is_not(None))
    return any(has_scan_id(receipt, scan_id) for receipt in (await tx.exec(of_return)).all())


async def receive_on(
    case: ReturnCase, counts: Sequence[Count], undeclared: Sequence[Undeclared], *, scan_id: str | None = None
) -> CountResult:
    """Write one receipt of a locked return and pay what is due for it. Raises Problem unknown_line."""
    tx, row = case.tx, case.row
    return_machine.check("receive", row.state, case.facts())
    lines = _lines_of_counts(case, counts)
    receipt = Receipt(
        id=tx.new_id("rcp"),
        return_id=row.id,
        received_by=case.by.actor,
        scan_id=scan_id,
        fingerprint=fingerprint(counts, undeclared),
        unexpected=row.state in return_machine.DORMANT or row.closed_at is not None,
        created_at=tx.now,
    )
    row.arrived_at = row.arrived_at or tx.now
    case.receipts.append(receipt)
    tx.add(receipt)
    tallies = case.tally_lines({line.id: line for of in lines for line in of}.values())
    for count, of in zip(counts, lines, strict=True):
        if of:
            _count(case, receipt, count, of, tallies)
    await recount(case, [line for line in case.lines if line.id in tallies])
    for count, of in zip(counts, lines, strict=True):
        if not of:
            note = f"Not on this return, {count.condition}"
            add_undeclared(case, receipt, Undeclared(count.sku or "", count.quantity, note))
    for item in undeclared:
        add_undeclared(case, receipt, item)
    await transition(case, "receive")
    done = CountResult(case, receipt)
    await record(tx, case.by, "receipt.created", row=row, data={"object": done.show()})
    await follow_up(case)
    return done


def fingerprint(counts: Sequence[Count], undeclared: Sequence[Undeclared]) -> str:
    """Return what tells one count from another."""
    words = json.dumps([[asdict(c) for c in counts], [asdict(u) for u in undeclared]], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def _count(
    case: ReturnCase, receipt: Receipt, count: Count, lines: Sequence[ReturnLine], tallies: Mapping[str, LineTally]
) -> None:
    """Count units on their lines: where nothing is counted yet, then in the place of missing ones, then as surplus."""
    left, shares = count.quantity, dict.fromkeys((line.id for line in lines), 0)
    for in_place_of_missing in (False,) if count.condition in PLACEHOLDERS else (False, True):
        for line in lines:
            if not left:
                break
            tally = tallies[line.id]
            taken = tally.units_here if in_place_of_missing else tally.counted_units
            units = min(left, max(0, line.quantity - taken - shares[line.id]))
            shares[line.id] += units
            left -= units
    shares[lines[0].id] += left
    for line in lines:
        if shares[line.id]:
            tallies[line.id].add(shares[line.id], count.condition)
            add_units(case, receipt, line, shares[line.id], count)


def _lines_of_counts(case: ReturnCase, counts: Sequence[Count]) -> list[list[ReturnLine]]:
    """Return the lines that each count means. Raises Problem unknown_line."""
    finder, by_id = LineFinder(case.lines), {line.id: line for line in case.lines}
    found = []
    for number, count in enumerate(counts):
        if count.line is None:
            found.append(finder.find(count.sku or ""))
            continue
        line = by_id.get(count.line)
        if line is None:
            raise Problem("unknown_line", f"This return has no line {count.line}.", param=f"lines[{number}].line")
        if count.sku is not None and not lines_for(count.sku, [line]):
            raise Problem("unknown_line", f"Line {count.line} is {line.sku}.", param=f"lines[{number}].sku")
        found.append([line])
    return found


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
    receipt = standing_receipt(case, receipt_id)
    units = _check_findings(case, receipt, findings)
    return_machine.check("inspect", case.row.state, case.facts(units_to_inspect=True))
    for finding, quantity in zip(findings, units, strict=True):
        _inspect(case, receipt, finding, quantity)
    await recount(case)
    await transition(case, "inspect", units_to_inspect=True)
    done = CountResult(case, receipt)
    await record(
        tx,
        by,
        "return.updated",
        row=case.row,
        data={"object": done.show_change({f.line for f in findings}), "inspected": receipt.id},
    )
    await follow_up(case)
    return done


def _waiting_rows(case: ReturnCase, receipt: Receipt, line_id: str) -> list[ReceiptLine]:
    return [row for row in case.rows_on(line_id, (receipt.id,)) if units_to_inspect(row)]


def _check_findings(case: ReturnCase, receipt: Receipt, findings: Sequence[InspectionFinding]) -> list[int]:
    """Return how many units each finding decides. Raises Problem for another's line, or where fewer units wait."""
    lines = {line.id for line in case.lines}
    left: dict[str, int] = {}
    units = []
    for number, finding in enumerate(findings):
        if finding.line not in lines:
            raise Problem("unknown_line", f"This return has no line {finding.line}.", param=f"lines[{number}].line")
        if finding.line not in left:
            left[finding.line] = sum(map(units_to_inspect, _waiting_rows(case, receipt, finding.line)))
        waiting = left[finding.line]
        quantity = waiting if finding.quantity is None else finding.quantity
        if waiting == 0:
            detail = "No unit of the line waits for inspection in this receipt."
            raise Problem("nothing_to_inspect", detail, param=f"lines[{number}].line")
        if quantity > waiting:
            detail = f"Of the line {pluralize(waiting, 'unit')} waited for inspection in this receipt, not {quantity}."
            raise Problem("nothing_to_inspect", detail, param=f"lines[{number}].quantity")
        left[finding.line] -= quantity
        units.append(quantity)
    return units


def _inspect(case: ReturnCase, receipt: Receipt, finding: InspectionFinding, quantity: int) -> None:
    left = quantity
    for row in _waiting_rows(case, receipt, finding.line):
        units = min(left, units_to_inspect(row))
        if units == 0:
            break
        left -= units
        decided = split_row(case, row, units)
        decided.condition, decided.disposition = finding.condition, finding.disposition
        decided.accepted = is_accepted(case, finding.condition)


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
    if item.decision is not None:
        raise Problem("undeclared_resolved", decision=item.decision)
    receipt = standing_receipt(case, item.receipt_id)
    line = _line_for(case, item, line_id, condition) if decision == "accept_as_line" else None
    return_machine.check("receive", case.row.state, case.facts())
    item.decision, item.decided_by, item.decided_at = decision, by.actor, tx.now
    if line is not None:
        item.line_id = line.id
        add_units(case, receipt, line, item.quantity, Count(item.quantity, condition, line=line.id))
    await recount(case)
    await transition(case, "receive", why=f"Undeclared {item.sku}: {decision}")
    await follow_up(case)
    return case


def _line_for(case: ReturnCase, item: UndeclaredItem, line_id: str | None, condition: Condition) -> ReturnLine:
    fitting = [line for line in case.lines if line.id == line_id] if line_id else lines_for(item.sku, case.lines)
    if line_id and not fitting:
        raise Problem("unknown_line", f"This return has no line {line_id}.", param="line")
    if len(fitting) != 1:
        raise Problem("line_required", param="line", lines=[line.id for line in case.lines])
    taken = counted_units(fitting[0]) if condition in PLACEHOLDERS else units_here(fitting[0])
    if taken + item.quantity > fitting[0].quantity:
        raise Problem("line_complete", line=fitting[0].id, quantity=fitting[0].quantity, counted=taken)
    return fitting[0]
