"""Counted units, and a line's counts worked out anew from its receipts: every command of the dock shares them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from returns_service.domain.counts import PLACEHOLDERS, default_disposition
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Condition, Disposition
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.views import ReceiptView, rfc3339, show_receipt
from returns_service.store.tables import Receipt, ReceiptLine, ReturnLine, UndeclaredItem


@dataclass(frozen=True, slots=True)
class Count:
    """Units in one condition, by line id or by what was scanned."""

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

    def show(self) -> ReceiptView:
        """Return the receipt as it is answered."""
        return show_receipt(self.receipt, self.case.receipt_lines, self.case.undeclared)

    def show_change(self, line_ids: Collection[str]) -> ReceiptView:
        """Return the receipt as the history keeps a change of it: what it counts on these lines."""
        view = self.show()
        view.lines = [line for line in view.lines if line.line in line_ids]
        return view


def standing_receipt(case: ReturnCase, receipt_id: str) -> Receipt:
    """Return a receipt of the case. Raises Problem not_found, or receipt_reversed."""
    receipt = receipt_of(case, receipt_id)
    if receipt.reversed_at is not None:
        raise Problem("receipt_reversed", reversed_at=rfc3339(receipt.reversed_at))
    return receipt


def receipt_of(case: ReturnCase, receipt_id: str) -> Receipt:
    """Return a receipt of the case. Raises Problem not_found."""
    receipt = next((receipt for receipt in case.receipts if receipt.id == receipt_id), None)
    if receipt is None:
        raise Problem("not_found", f"This return has no receipt {receipt_id}.")
    return receipt


def is_accepted(case: ReturnCase, condition: Condition) -> bool:
    """Return whether the policy pays for units in this condition."""
    return condition in case.policy.accepted_conditions


def add_units(case: ReturnCase, receipt: Receipt, line: ReturnLine, units: int, count: Count) -> None:
    """Write down that a receipt counts units on a line; `recount` says whether the line has a place for them."""
    accepted = is_accepted(case, count.condition)
    disposition = count.disposition or default_disposition(count.condition, accepted)
    row = ReceiptLine(
        id=case.tx.new_id("rcl"),
        receipt_id=receipt.id,
        line_id=line.id,
        sku=line.sku,
        quantity=units,
        condition=count.condition,
        disposition=disposition,
        accepted=None if disposition == "inspect" else accepted,
        scanned=count.sku if count.sku != line.sku else None,
    )
    case.receipt_lines.append(row)
    case.tx.add(row)


def split_row(case: ReturnCase, row: ReceiptLine, units: int) -> ReceiptLine:
    """Return `units` of a row as a row of their own, which is the row itself where it has no more."""
    if units == row.quantity:
        return row
    row.quantity -= units
    part = ReceiptLine(**{**row.model_dump(), "id": case.tx.new_id("rcl"), "quantity": units})
    case.receipt_lines.append(part)
    case.tx.add(part)
    return part


def add_undeclared(
    case: ReturnCase, receipt: Receipt, item: Undeclared, *, surplus_of: ReturnLine | None = None
) -> None:
    """Set units aside that nobody announced, or that their line has no place for."""
    row = UndeclaredItem(
        id=case.tx.new_id("und"),
        receipt_id=receipt.id,
        return_id=case.row.id,
        sku=item.sku,
        quantity=item.quantity,
        note=item.note,
        surplus_of=surplus_of.id if surplus_of else None,
    )
    case.undeclared.append(row)
    case.tx.add(row)


async def recount(case: ReturnCase, lines: Sequence[ReturnLine] | None = None) -> None:
    """Work out the counts of `lines` (None: all) from the standing receipts, and their surplus."""
    standing, chosen = case.standing(), case.lines if lines is None else lines
    rows_by_line = {line.id: case.rows_on(line.id, standing) for line in chosen}
    for rows in rows_by_line.values():
        for row in rows:
            if row.accepted is not None:
                row.accepted = is_accepted(case, row.condition)
    counts_by_line, surplus_items = case.count_lines(chosen, standing), case.surplus_items(standing)
    for line in chosen:
        counts, rows = counts_by_line[line.id], rows_by_line[line.id]
        line.accepted, line.rejected, line.inspecting = counts.accepted, counts.rejected, counts.inspecting
        for row, units in zip(rows, counts.counting, strict=True):
            row.uncounted = row.quantity - units
        await _match_surplus(case, line, counts.surplus, rows, surplus_items.get(line.id, []))


async def _match_surplus(
    case: ReturnCase, line: ReturnLine, surplus: int, rows: Sequence[ReceiptLine], items: Sequence[UndeclaredItem]
) -> None:
    """Bring the line's open undeclared items to its surplus: the newest standing receipt takes and gives first."""
    items = [item for item in items if item.decision is None]
    gap = surplus - sum(item.quantity for item in items)
    if gap > 0:
        rows = [row for row in rows if row.condition not in PLACEHOLDERS]
        counting = {row.receipt_id for row in rows}
        receipt = next(r for r in reversed(case.receipts) if r.id in counting)
        conditions = sorted({row.condition for row in rows if row.receipt_id == receipt.id})
        add_undeclared(case, receipt, Undeclared(line.sku, gap, f"Surplus, {', '.join(conditions)}"), surplus_of=line)
    for item in reversed(items):
        units = min(item.quantity, max(0, -gap))
        gap += units
        if units < item.quantity:
            item.quantity -= units
        else:
            case.undeclared.remove(item)
            await case.tx.delete(item)
