"""Count at the dock, unit by unit, until the count is done and becomes one receipt.

Each scan has the id that the browser gave it: sent again, it counts nothing and gets the same answer. A unit that is on
no line, or more than its line expects, is put aside and never refused. All changes of one return's scans are made under
the return's lock, so two devices can't both count the last unit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import col, select

from returns_service.domain.counts import default_disposition
from returns_service.domain.policy import Policy, from_snapshot
from returns_service.domain.problems import Problem
from returns_service.domain.scan import clean_code, lines_for
from returns_service.domain.vocabulary import Condition, Disposition, find_word
from returns_service.return_case.events import Actor
from returns_service.return_case.rows import units_here
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import DockScan, ReturnAuthorization, ReturnLine

CONDITIONS: Final[tuple[Condition, ...]] = ("new", "opened", "damaged", "wrong_item")  # that one can hold
MOST_UNITS: Final = 9999  # of one step by hand
LONGEST_NOTE: Final = 1000  # characters
_SCAN_ID: Final = re.compile(r"[0-9A-Za-z_-]{8,64}")


@dataclass(frozen=True, slots=True)
class Draft:
    """The count of a return that is not done yet: lines in their order, standing scans oldest first."""

    row: ReturnAuthorization
    lines: Sequence[ReturnLine]
    scans: Sequence[DockScan]

    def line(self, line_id: str | None) -> ReturnLine | None:
        """Return a line of the return; None for what is put aside."""
        return next((line for line in self.lines if line.id == line_id), None)

    def open_units(self, line: ReturnLine) -> int:
        """Return how many units the line has a place for, before this count. A missing unit may still come."""
        return max(0, line.quantity - units_here(line))

    def units(self, line: ReturnLine) -> Counter[str]:
        """Return this count's units of a line by condition."""
        units: Counter[str] = Counter()
        for scan in self.scans:
            if scan.line_id == line.id:
                units[scan.condition] += scan.quantity
        return units

    @property
    def aside(self) -> list[DockScan]:
        """The scans that are put aside, oldest first."""
        return [scan for scan in self.scans if self.line(scan.line_id) is None]

    @property
    def counted_units(self) -> int:
        """Units of this count that are on a line."""
        return sum(self.units(line).total() for line in self.lines)

    @property
    def expected_units(self) -> int:
        """Units that are still expected, before this count."""
        return sum(self.open_units(line) for line in self.lines)

    def body(self, scan_id: str) -> dict[str, Any]:
        """Return this count as the body that the API takes for a receipt."""
        lines = [
            {"line": line.id, "quantity": quantity, "condition": condition}
            for line in self.lines
            for condition, quantity in sorted(self.units(line).items())
            if quantity > 0
        ]
        aside: Counter[tuple[str, str | None]] = Counter()
        for scan in self.aside:
            aside[scan.code, scan.note] += scan.quantity
        undeclared = [
            {"sku": sku, "quantity": quantity, **({"note": note} if note else {})}
            for (sku, note), quantity in aside.items()
        ]
        return {"lines": lines, "undeclared": undeclared, "scan_id": scan_id}


def disposition_of(draft: Draft, condition: Condition, policy_in_force: Policy) -> Disposition:
    """Return where a unit of the return goes in this condition, as its receipt will say."""
    policy = from_snapshot(draft.row.policy) if draft.row.policy else policy_in_force
    return default_disposition(condition, condition in policy.accepted_conditions)


def checked_scan_id(text: str) -> str:
    """Return a scan's id. Raises Problem invalid_request for what can be none."""
    if not _SCAN_ID.fullmatch(text):
        raise Problem("invalid_request", "A scan needs an id of 8 to 64 letters and digits.", param="scan_id")
    return text


async def read_draft(tx: Tx, return_id: str) -> Draft:
    """Return what is counted of a return and not done yet. Raises Problem not_found."""
    row = await tx.get(ReturnAuthorization, return_id)
    if row is None:
        raise Problem("not_found", f"There is no return {return_id}.")
    return await _draft(tx, row)


async def lock_draft(tx: Tx, return_id: str) -> Draft:
    """Lock the return, and return its draft: scans change under this lock only. Raises Problem not_found."""
    chosen = select(ReturnAuthorization).where(col(ReturnAuthorization.id) == return_id)
    rows = await select_for_update(tx, chosen, ReturnAuthorization)
    if not rows:
        raise Problem("not_found", f"There is no return {return_id}.")
    return await _draft(tx, rows[0])


async def _draft(tx: Tx, row: ReturnAuthorization) -> Draft:
    chosen = select(DockScan).where(
        col(DockScan.return_id) == row.id, col(DockScan.receipt_id).is_(None), col(DockScan.undone_at).is_(None)
    )
    scans = (await tx.exec(chosen.order_by(col(DockScan.scanned_at), col(DockScan.id)))).all()
    lines = select(ReturnLine).where(col(ReturnLine.return_id) == row.id).order_by(col(ReturnLine.position))
    return Draft(row, (await tx.exec(lines)).all(), list(scans))


async def known_scan(tx: Tx, return_id: str, scan_id: str) -> DockScan | None:
    """Return the scan with this id. Raises Problem scan_id_reused where it is another return's."""
    row = await tx.get(DockScan, checked_scan_id(scan_id))
    if row is not None and row.return_id != return_id:
        raise Problem("scan_id_reused", param="scan_id")
    return row


async def count_scan(tx: Tx, by: Actor, return_id: str, scan_id: str, code: str) -> DockScan:
    """Count one unit of what was scanned; on no line, or one too many, it is put aside. Raises Problem."""
    draft = await lock_draft(tx, return_id)
    if known := await known_scan(tx, return_id, scan_id):
        return known
    if not clean_code(code):
        raise Problem("invalid_request", "Scan or type a code.", param="code")
    chosen, code = lines_for(code, draft.lines), clean_code(code)
    free = next((line for line in chosen if draft.units(line).total() < draft.open_units(line)), None)
    scan = _new_scan(tx, by, draft, scan_id, chosen[0].sku if chosen else code)
    scan.line_id, scan.surplus = free.id if free else None, bool(chosen) and free is None
    return await _add_scan(tx, scan)


async def step_by_hand(
    tx: Tx, by: Actor, return_id: str, scan_id: str, *, line_id: str, condition: str, units: int
) -> DockScan | None:
    """Add units of a line in one condition, or take some away (below zero); None where that can't be.

    Never more than the line expects, never less than nothing. Raises Problem.
    """
    draft = await lock_draft(tx, return_id)
    if known := await known_scan(tx, return_id, scan_id):
        return known
    line = draft.line(line_id)
    if line is None:
        raise Problem("unknown_line", f"This return has no line {line_id}.", param="line")
    counts, known_condition = draft.units(line), _check_condition(condition)
    too_many = units > 0 and counts.total() + units > draft.open_units(line)
    if too_many or counts[known_condition] + units < 0 or not 0 < abs(units) <= MOST_UNITS:
        return None
    scan = _new_scan(tx, by, draft, scan_id, line.sku)
    scan.line_id, scan.condition, scan.quantity = line.id, known_condition, units
    return await _add_scan(tx, scan)


async def put_aside(tx: Tx, by: Actor, return_id: str, scan_id: str, *, what: str, note: str | None) -> DockScan:
    """Put one unit without a barcode aside, described by hand. Raises Problem."""
    draft = await lock_draft(tx, return_id)
    if known := await known_scan(tx, return_id, scan_id):
        return known
    what = clean_code(what)
    if not what:
        raise Problem("invalid_request", "Say what it is, for example Blue mug.", param="what")
    scan = _new_scan(tx, by, draft, scan_id, what)
    scan.note = _checked_note(note)
    return await _add_scan(tx, scan)


async def set_condition(tx: Tx, return_id: str, scan_id: str, condition: str) -> DockScan:
    """Say in what condition the unit of a scan is. Raises Problem not_found, receipt_written."""
    scan = await _standing_scan(tx, return_id, scan_id)
    scan.condition = _check_condition(condition)
    await tx.flush()
    return scan


async def set_notes(tx: Tx, return_id: str, notes: Mapping[str, str]) -> None:
    """Keep what people wrote about things put aside, by scan."""
    draft = await lock_draft(tx, return_id)
    for scan in draft.aside:
        if scan.id in notes:
            scan.note = _checked_note(notes[scan.id])
    await tx.flush()


async def undo_scan(tx: Tx, return_id: str, scan_id: str) -> DockScan:
    """Take a scan back; once is as good as twice. Raises Problem not_found, receipt_written."""
    scan = await _standing_scan(tx, return_id, scan_id)
    scan.undone_at = scan.undone_at or tx.now
    await tx.flush()
    return scan


async def mark_taken(tx: Tx, draft: Draft, receipt_id: str) -> None:
    """Note that a count's scans are in a receipt: a later scan begins the next parcel."""
    for scan in draft.scans:
        scan.receipt_id = receipt_id
    await tx.flush()


async def _standing_scan(tx: Tx, return_id: str, scan_id: str) -> DockScan:
    await lock_draft(tx, return_id)
    scan = await known_scan(tx, return_id, scan_id)
    if scan is None:
        raise Problem("not_found", "This scan was never counted.")
    if scan.receipt_id is not None:
        raise Problem("receipt_written", receipt=scan.receipt_id)
    return scan


def _new_scan(tx: Tx, by: Actor, draft: Draft, scan_id: str, code: str) -> DockScan:
    return DockScan(
        id=scan_id, return_id=draft.row.id, code=code, condition="new", quantity=1, scanned_by=by.actor,
        scanned_at=tx.now,
    )  # fmt: skip


async def _add_scan(tx: Tx, scan: DockScan) -> DockScan:
    tx.add(scan)
    await tx.flush()
    return scan


def _check_condition(condition: str) -> Condition:
    if known := find_word(CONDITIONS, condition):
        return known
    raise Problem("invalid_request", f"Conditions are {', '.join(CONDITIONS)}.", param="condition")


def _checked_note(note: str | None) -> str | None:
    note = (note or "").strip()
    if len(note) > LONGEST_NOTE:
        raise Problem("invalid_request", f"A note has at most {LONGEST_NOTE} characters.", param="note")
    return note or None
