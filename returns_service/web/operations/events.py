"""The history, newest first; live with `Accept: text/event-stream`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import union_all
from sqlmodel import col, select

from returns_service.domain.vocabulary import EVENT_TYPES
from returns_service.return_case.event_feed import filter_events, placed_from, placed_until, position_of
from returns_service.return_case.loader import check_exists
from returns_service.return_case.views import EventView, show_event
from returns_service.store.database import Tx
from returns_service.store.tables import Event
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads
from returns_service.web.operations.parameters import CREATED, id_of, several_of
from returns_service.web.operations.query_string import ListView, show_list

TAG = "Events"
TYPE = several_of("Only events of this type.", EVENT_TYPES)


async def list_page(tx: Tx, call: OperationCall[Empty], url: str, return_id: str | None) -> Reply:
    """Answer one page of the feed, in the order in which readers may see it."""
    query = call.query
    chosen: Any = select(Event.id).where(col(Event.position).is_not(None))
    chosen = filter_events(chosen, return_id=return_id, refund_id=query.get("refund"))
    chosen = query.within(chosen, Event.id, "evt", created=Event.created_at)
    for comparison in ("gte", "gt", "lte", "lt"):
        if (moment := query.moment(f"created[{comparison}]")) is not None:
            chosen = chosen.where(placed_from(moment) if comparison in ("gte", "gt") else placed_until(moment))
    cursor = query.checked_cursor("evt")
    back = cursor is not None and cursor[1]
    if cursor is not None:
        position = await position_of(tx, cursor[0], "ending_before" if back else "starting_after")
        chosen = chosen.where(col(Event.position) > position if back else col(Event.position) < position)
    order = col(Event.position).asc() if back else col(Event.position).desc()
    kinds = query.several_of("type", EVENT_TYPES)
    # Each type's events are read by their own index, as many as the page holds.
    pages = [chosen] if kinds is None else [chosen.where(col(Event.type) == kind) for kind in kinds]
    parts = (page.order_by(order).limit(query.limit + 1).subquery().select() for page in pages)
    rows: Any = select(Event).where(col(Event.id).in_(union_all(*parts)))
    found = (await tx.execute(rows.order_by(order).limit(query.limit + 1))).scalars().all()
    page, has_more = query.page(found)
    return Reply(show_list(url, page, has_more, show_event))


@reads(
    "/v1/events", TAG, ListView[EventView], paged=True, streams=True, errors=("unknown_filter",),
    parameters={
        "type": TYPE,
        "return": id_of("ret", "Only events of this return."),
        "refund": id_of("rfd", "Only events of this refund."),
        **CREATED,
    },
)  # fmt: skip
async def list_events(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List what happened, newest first.

    With `Accept: text/event-stream`, events come live, oldest first, after `Last-Event-ID` or from now on; `type`,
    `return` and `refund` narrow them too.
    """
    return await list_page(tx, call, "/v1/events", call.query.get("return"))


@reads(
    "/v1/returns/{return_id}/events", TAG, ListView[EventView], paged=True, streams=True,
    errors=("not_found", "unknown_filter"),
    parameters={"type": TYPE, **CREATED},
)  # fmt: skip
async def list_return_events(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List what happened to a return, newest first.

    With `Accept: text/event-stream`, its events come live, oldest first, after `Last-Event-ID` or from now on; `type`
    narrows them too.
    """
    return_id = call.id("return_id")
    await check_exists(tx, return_id)
    return await list_page(tx, call, f"/v1/returns/{return_id}/events", return_id)


OPERATIONS: tuple[Operation, ...] = (list_events, list_return_events)
