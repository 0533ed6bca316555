"""A parcel without any authorization, as it is answered."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from returns_service.domain.vocabulary import Condition
from returns_service.return_case.views.fields import (
    Count,
    ReceiptId,
    ReturnId,
    SlipCode,
    Time,
    UnmatchedReceiptId,
    rfc3339,
)
from returns_service.store.tables import UnmatchedReceipt


class UnmatchedItemView(Struct, kw_only=True):
    """Units of a parcel, as they were scanned."""

    sku: str
    quantity: Count
    condition: Condition


class UnmatchedReceiptView(
    Struct, kw_only=True, tag_field="object", tag="unmatched_receipt", rename={"return_": "return"}
):
    """A parcel that no return announced; attached, `receipt` counts it on `return`."""

    id: UnmatchedReceiptId
    number: Annotated[
        SlipCode | None, Meta(description="Written on the parcel. Null only where a release before counted it.")
    ]
    created: Time
    order_id: str | None
    tracking_number: str | None
    note: str | None
    items: list[UnmatchedItemView]
    received_by: str
    return_: ReturnId | None
    receipt: ReceiptId | None
    attached_by: str | None
    attached_at: Time | None


def show_unmatched(row: UnmatchedReceipt) -> UnmatchedReceiptView:
    """Return a parcel that no return announced."""
    return UnmatchedReceiptView(
        id=row.id,
        number=row.number,
        created=rfc3339(row.created_at),
        order_id=row.order_id,
        tracking_number=row.tracking_number,
        note=row.note,
        items=msgspec.convert(row.items, list[UnmatchedItemView]),
        received_by=row.received_by,
        return_=row.return_id,
        receipt=row.receipt_id,
        attached_by=row.attached_by,
        attached_at=rfc3339(row.attached_at),
    )
