"""A count at the dock as it is answered, and units that nobody announced."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from returns_service.domain.counts import PLACEHOLDERS
from returns_service.domain.vocabulary import Condition, Disposition, UndeclaredDecision
from returns_service.return_case.views.fields import (
    Count,
    ReceiptId,
    ReturnId,
    ReturnLineId,
    Time,
    UndeclaredItemId,
    rfc3339,
)
from returns_service.store.tables import Receipt, ReceiptLine, UndeclaredItem


class UndeclaredItemView(Struct, kw_only=True, tag_field="object", tag="undeclared_item"):
    """Units that nobody announced."""

    id: UndeclaredItemId
    receipt: ReceiptId
    sku: str
    quantity: Count
    note: str | None
    decision: UndeclaredDecision | None
    line: ReturnLineId | None
    decided_by: str | None
    decided_at: Time | None


class ReceiptLineView(Struct, kw_only=True):
    """Units of one line in one condition; those that the line has no place for are undeclared."""

    line: ReturnLineId
    sku: str
    quantity: Count
    condition: Condition
    disposition: Disposition
    accepted: Annotated[bool | None, Meta(description="null: waits for inspection.")]
    counted_quantity: Annotated[Count, Meta(description="Less than `quantity` where units that came took their place.")]
    scanned: Annotated[str | None, Meta(description="As the scanner read it, where that is not the SKU.")]


class ReceiptView(Struct, kw_only=True, tag_field="object", tag="receipt", rename={"return_": "return"}):
    """One count at the dock."""

    id: ReceiptId
    created: Time
    return_: ReturnId
    received_by: str
    scan_id: str | None
    unexpected: Annotated[bool, Meta(description="Counted while the return could not take it: nothing is paid for it.")]
    reversed: bool
    reversed_at: Time | None
    reversed_by: str | None
    reversed_reason: str | None
    lines: list[ReceiptLineView]
    undeclared: list[UndeclaredItemView]


def show_receipt(receipt: Receipt, lines: list[ReceiptLine], undeclared: list[UndeclaredItem]) -> ReceiptView:
    """Return one count at the dock; of `lines` and `undeclared`, those that belong to it."""
    return ReceiptView(
        id=receipt.id,
        created=rfc3339(receipt.created_at),
        return_=receipt.return_id,
        received_by=receipt.received_by,
        scan_id=receipt.scan_id,
        unexpected=receipt.unexpected,
        reversed=receipt.reversed_at is not None,
        reversed_at=rfc3339(receipt.reversed_at),
        reversed_by=receipt.reversed_by,
        reversed_reason=receipt.reversed_reason,
        lines=[view for row in lines if row.receipt_id == receipt.id and (view := _show_line(row)).quantity],
        undeclared=[show_undeclared(item) for item in undeclared if item.receipt_id == receipt.id],
    )


def _show_line(row: ReceiptLine) -> ReceiptLineView:
    return ReceiptLineView(
        line=row.line_id,
        sku=row.sku,
        quantity=row.quantity if row.condition in PLACEHOLDERS else row.quantity - row.uncounted,
        condition=row.condition,
        disposition=row.disposition,
        accepted=row.accepted,
        counted_quantity=row.quantity - row.uncounted,
        scanned=row.scanned,
    )


def show_undeclared(item: UndeclaredItem) -> UndeclaredItemView:
    """Return units that nobody announced."""
    return UndeclaredItemView(
        id=item.id,
        receipt=item.receipt_id,
        sku=item.sku,
        quantity=item.quantity,
        note=item.note,
        decision=item.decision,
        line=item.line_id,
        decided_by=item.decided_by,
        decided_at=rfc3339(item.decided_at),
    )
