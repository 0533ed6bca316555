"""Parcels that no return announced: counted, listed, attached to the return they turn out to belong to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sqlmodel import col, select

from returns_service.commands import unmatched_receipts
from returns_service.commands.unmatched_receipts import Parcel, UnmatchedItem, get_unmatched, of_tracking_numbers
from returns_service.domain.vocabulary import Condition
from returns_service.return_case.views import UnmatchedReceiptView, show_unmatched
from returns_service.store.database import Tx
from returns_service.store.tables import UnmatchedReceipt
from returns_service.web.operations.bodies import MOST_LINES, Body, Name, ReturnId, Scan, Units, Words
from returns_service.web.operations.operation import KEY_REQUIRED, Empty, Operation, OperationCall, Reply, reads, writes
from returns_service.web.operations.parameters import CREATED, one_of, text
from returns_service.web.operations.query_string import ListView, show_list

TAG = "Receipts"
TRUE_OR_FALSE: tuple[Literal["true", "false"], ...] = ("true", "false")


class UnmatchedUnits(Body):
    """Units of a parcel, as they were scanned."""

    sku: Scan
    quantity: Units
    condition: Condition


class CreateUnmatchedReceipt(Body):
    """A parcel without any authorization, as the dock counted it."""

    order_id: Name | None = None
    tracking_number: Name | None = None
    note: Words | None = None
    items: list[UnmatchedUnits] = Field(min_length=1, max_length=MOST_LINES)

    def parcel(self) -> Parcel:
        """Return it as the command takes it."""
        items = [UnmatchedItem(**item.model_dump()) for item in self.items]
        return Parcel(items, self.order_id, self.tracking_number, self.note)


class AttachReceipt(Body):
    """The return that the parcel belongs to."""

    return_: ReturnId = Field(alias="return")


@writes(
    "/v1/receipts", TAG, UnmatchedReceiptView,
    scope="receipts:write", body=CreateUnmatchedReceipt, status=201, headers=("Location",), key_rule=KEY_REQUIRED,
    example={
        "order_id": "order_98765", "tracking_number": "1Z999AA10123456784",
        "items": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}],
    },
)  # fmt: skip
async def create_unmatched_receipt(call: OperationCall[CreateUnmatchedReceipt], tx: Tx) -> Reply:
    """Count a parcel that no return announced.

    It waits on the desk until somebody attaches it to a return.
    """
    row = await unmatched_receipts.create_unmatched(tx, call.by, call.body.parcel())
    return Reply(show_unmatched(row), {"Location": f"/v1/receipts/{row.id}"})


@reads(
    "/v1/receipts", TAG, ListView[UnmatchedReceiptView], paged=True, errors=("unknown_filter",),
    parameters={
        "attached": one_of("`true`: only those counted on a return; `false`: only those that wait.", TRUE_OR_FALSE),
        "order_id": text("Only parcels of this order."),
        "tracking_number": text("Only parcels with this tracking number; blanks and capitals don't matter."),
        **CREATED,
    },
)  # fmt: skip
async def list_unmatched_receipts(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List parcels that no return announced, newest first."""
    query = call.query
    chosen: Any = select(UnmatchedReceipt)
    if (order_id := query.get("order_id")) is not None:
        chosen = chosen.where(col(UnmatchedReceipt.order_id) == order_id.strip())
    if (number := query.get("tracking_number")) is not None:
        chosen = chosen.where(of_tracking_numbers([number]))
    if (attached := query.one_of("attached", TRUE_OR_FALSE)) is not None:
        waits = col(UnmatchedReceipt.receipt_id).is_(None)
        chosen = chosen.where(waits if attached == "false" else ~waits)
    chosen = query.within(chosen, UnmatchedReceipt.id, "umr", created=UnmatchedReceipt.created_at)
    rows = (await tx.execute(query.window(chosen, UnmatchedReceipt.id, "umr"))).scalars().all()
    page, has_more = query.page(rows)
    return Reply(show_list("/v1/receipts", page, has_more, show_unmatched))


@reads("/v1/receipts/{unmatched_id}", TAG, UnmatchedReceiptView, errors=("not_found",))
async def read_unmatched_receipt(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a parcel that no return announced."""
    return Reply(show_unmatched(await get_unmatched(tx, call.id("unmatched_id"))))


@writes(
    "/v1/receipts/{unmatched_id}/attach", TAG, UnmatchedReceiptView,
    scope="receipts:write", body=AttachReceipt, example={"return": "ret_01h455vb4pex5vsknk084sn02q"},
    errors=("not_found", "already_attached"),
)  # fmt: skip
async def attach_receipt(call: OperationCall[AttachReceipt], tx: Tx) -> Reply:
    """Count the parcel on the return it belongs to, once; its refund follows there.

    Reversing that receipt frees the parcel for another return.
    """
    unmatched_id, return_id = call.id("unmatched_id"), call.body.return_
    return Reply(show_unmatched(await unmatched_receipts.attach(tx, call.by, call.policy, unmatched_id, return_id)))


OPERATIONS: tuple[Operation, ...] = (
    create_unmatched_receipt, list_unmatched_receipts, read_unmatched_receipt, attach_receipt,
)  # fmt: skip
