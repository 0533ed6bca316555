"""What rows tell by themselves: a refund's breakdown and what is open of it, the units that a line has counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from returns_service.domain import money
from returns_service.domain.counts import PLACEHOLDERS
from returns_service.domain.forgotten import pseudonym
from returns_service.domain.refund_status import FINAL
from returns_service.store.tables import Receipt, ReceiptLine, Refund, ReturnLine


def rows_of(refund: Refund) -> list[money.Row]:
    """Return a refund's breakdown, with the taxes kept beside it."""
    rows = [money.Row.from_dict(row) for row in refund.breakdown]
    if not refund.taxes or len(refund.taxes) != len(rows):
        return rows
    return [replace(row, tax_amount=tax) for row, tax in zip(rows, refund.taxes, strict=True)]


def holds_decision(refund: Refund) -> bool:
    """Return whether people decided something in a refund beside what was due: its adjustments."""
    return any(row.adjustment for row in rows_of(refund))


def has_failed(refund: Refund) -> bool:
    """Return whether a refund failed, or was withdrawn, and nothing has taken its place."""
    return refund.status in (*FINAL, "withdrawn") and refund.superseded_at is None


def is_paid_by_second(refund: Refund, refunds: Iterable[Refund]) -> bool:
    """Return whether a failed refund may be paid by a second one that Stripe holds for the same intent.

    `refunds`: all of its payment. A person says whether it has, and assigns or acknowledges the second one.
    """
    stand = (other for other in refunds if other.duplicate_of == refund.id and other.superseded_at is None)
    return has_failed(refund) and any(other.status not in FINAL for other in stand)


def open_amount(refund: Refund) -> int:
    """Return what is open of a failed refund, minor units: all of it where no part was paid."""
    if not has_failed(refund):
        return 0
    return refund.amount if refund.amount_open is None else refund.amount_open


def is_unsent(refund: Refund) -> bool:
    """Return whether Stripe certainly knows nothing of this refund yet."""
    return refund.status == "queued" and not refund.ever_unknown


def lines_it_depends_on(refund: Refund, lines: Collection[str]) -> set[str]:
    """Return those of some lines whose recount may change the refund; shipping hangs on all of them."""
    rows = rows_of(refund)
    if is_unsent(refund) and any(row.kind == "shipping" and not row.adjustment for row in rows):
        return set(lines)
    return {row.line for row in rows if row.line is not None}.intersection(lines)


def depends_on(refund: Refund, touched: Collection[str]) -> bool:
    """Return whether a recount of these lines may change the refund."""
    return bool(lines_it_depends_on(refund, touched))


def waits_for_its_decision(refund: Refund) -> bool:
    """Return whether people decided about units in a refund that has not paid: that one is dealt with first."""
    unpaid = refund.status == "queued" or open_amount(refund) > 0
    return unpaid and refund.superseded_at is None and holds_decision(refund)


def is_unapproved(refund: Refund) -> bool:
    """Return whether a refund waits for a second person to agree."""
    return refund.unapproved and is_unsent(refund)


def has_scan_id(receipt: Receipt, scan_id: str | None) -> bool:
    """Return whether a receipt came with this scan id, though it may be forgotten meanwhile."""
    return scan_id is not None and receipt.scan_id in (scan_id, pseudonym(scan_id, receipt.return_id))


def counted_units(line: ReturnLine) -> int:
    """Return how many units of the line the dock has counted, in whatever condition."""
    return sum(line.accepted.values()) + sum(line.rejected.values()) + line.inspecting


def units_to_inspect(row: ReceiptLine) -> int:
    """Return how many units of a receipt's row wait for inspection: a surplus is an undeclared item instead."""
    return row.quantity - row.uncounted if row.accepted is None else 0


def units_here(line: ReturnLine) -> int:
    """Return how many units of the line have come: without those counted as missing or as another item."""
    return counted_units(line) - sum(units for condition, units in line.rejected.items() if condition in PLACEHOLDERS)
