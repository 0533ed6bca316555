"""The feed as it grows: Server-Sent Events, resumed after `Last-Event-ID`."""

from __future__ import annotations

from typing import Any

from litestar.response import Stream

from returns_service.domain.vocabulary import EVENT_TYPES
from returns_service.return_case import event_feed
from returns_service.return_case.loader import check_exists
from returns_service.store.tables import ApiKey
from returns_service.web.live_feed import EventFilter, greeting
from returns_service.web.operations.operation import OperationCall
from returns_service.web.operations.query_string import wrong


async def live(call: OperationCall[Any], key: ApiKey, last_event: str | None) -> Stream:
    """Return the stream of events that begins after `last_event`, or now.

    Raises Problem for an unknown one or type, for a parameter of pages, or too_many_streams.
    """
    for name in call.query.values:
        if name not in ("type", "return", "refund"):
            raise wrong(name, "A stream goes on from Last-Event-ID, or from now: leave this out")
    return_id = call.path.get("return_id") or call.query.get("return")
    kinds = call.query.several_of("type", EVENT_TYPES)  # a misspelt one would be waited for without end
    wanted = EventFilter(return_id, call.query.get("refund"), kinds)
    async with call.context.database.reading() as tx:
        if "return_id" in call.path:
            await check_exists(tx, call.id("return_id"))
        if last_event:
            start = await event_feed.position_of(tx, last_event, "Last-Event-ID")
        else:
            start, last_event = await event_feed.last_place(tx)
    feed = call.context.live_feed
    stream = feed.stream(feed.take_seat(key.id), start, wanted, greeting(last_event))
    return Stream(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
