"""Each event on its way to each endpoint: its attempts, the next one, and another by hand."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from returns_service.commands.webhook_deliveries import DeliveryView, get_delivery, retry_delivery, show_delivery
from returns_service.domain.vocabulary import DELIVERY_STATUSES
from returns_service.store.database import Tx
from returns_service.store.tables import Delivery
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads, writes
from returns_service.web.operations.parameters import CREATED, id_of, several_of
from returns_service.web.operations.query_string import ListView, show_list
from returns_service.web.operations.webhook_endpoints import SCOPE, TAG


@reads(
    "/v1/deliveries", TAG, ListView[DeliveryView], paged=True,
    scope=SCOPE, errors=("unknown_filter",),
    parameters={
        "endpoint": id_of("whe", "Only deliveries to this endpoint."),
        "event": id_of("evt", "Only deliveries of this event."),
        "status": several_of("Only deliveries with this status; `dead` are those given up.", DELIVERY_STATUSES),
        **CREATED,
    },
)  # fmt: skip
async def list_deliveries(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List deliveries, newest first."""
    query = call.query
    chosen: Any = select(Delivery.id)
    for name, column in (("endpoint", Delivery.endpoint_id), ("event", Delivery.event_id)):
        if (value := query.get(name)) is not None:
            chosen = chosen.where(col(column) == value)
    chosen = query.within(chosen, Delivery.id, "dlv", created=Delivery.created_at)
    statuses = query.several_of("status", DELIVERY_STATUSES)
    ids = query.window_of([chosen], Delivery.id, "dlv", Delivery.status, statuses)
    rows: Any = select(Delivery).where(col(Delivery.id).in_(ids.subquery().select()))
    found = (await tx.execute(query.window(rows, Delivery.id, "dlv"))).scalars().all()
    page, has_more = query.page(found)
    return Reply(show_list("/v1/deliveries", page, has_more, show_delivery))


@reads("/v1/deliveries/{delivery_id}", TAG, DeliveryView, scope=SCOPE, errors=("not_found",))
async def read_delivery(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a delivery with its attempts."""
    return Reply(show_delivery(await get_delivery(tx, call.id("delivery_id"))))


@writes(
    "/v1/deliveries/{delivery_id}/retry", TAG, DeliveryView,
    scope=SCOPE, body=Empty, example={}, status=202, headers=("Location",), errors=("not_found",),
)  # fmt: skip
async def retry_one_delivery(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Send a delivery again now, whatever became of it before.

    It has the same `webhook-id`, so a receiver that has it already knows. To a disabled endpoint it is one call.
    """
    row = await retry_delivery(tx, call.id("delivery_id"))
    return Reply(show_delivery(row), {"Location": f"/v1/deliveries/{row.id}"})


OPERATIONS: tuple[Operation, ...] = (list_deliveries, read_delivery, retry_one_delivery)
