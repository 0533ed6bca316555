"""The feed as it grows: Server-Sent Events, resumed after `Last-Event-ID`.

Why it asks the database each second: an event belongs to the feed once it is committed and placed, whichever process
wrote it, and a reader that asks can't miss one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar.response import Stream
from sqlalchemy.exc import SQLAlchemyError

from returns_service.commands.api_keys import still_in_force
from returns_service.domain.vocabulary import EVENT_TYPES
from returns_service.return_case import event_feed
from returns_service.return_case.loader import check_exists
from returns_service.return_case.views import show_event
from returns_service.store.tables import ApiKey
from returns_service.web.context import Context
from returns_service.web.operations.operation import OperationCall

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15  # proxies close what is silent for 30 to 60 s
LONGEST_SECONDS = 3600  # a client comes back by itself, after where it was
AT_ONCE = 100  # events of one look


async def live(call: OperationCall[Any], key: ApiKey, last_event: str | None) -> Stream:
    """Return the stream of events that begins after `last_event`, or now. Raises Problem for an unknown one or type."""
    return_id = call.path.get("return_id") or call.query.get("return")
    kinds = call.query.several_of("type", EVENT_TYPES)  # a misspelt one would be waited for without end
    narrow = {"return_id": return_id, "refund_id": call.query.get("refund"), "kinds": kinds}
    async with call.context.database.reading() as tx:
        if "return_id" in call.path:
            await check_exists(tx, call.id("return_id"))
        start = (
            await event_feed.position_of(tx, last_event, "Last-Event-ID")
            if last_event
            else await event_feed.last_position(tx)
        )
    stream = stream_events(call.context, key.id, start, narrow)
    return Stream(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def stream_events(context: Context, key_id: str, position: int, narrow: dict[str, Any]) -> AsyncIterator[str]:
    """Yield events after `position` as they come, and a comment now and then so that the line stays open."""
    yield ": the feed of events\n\n"
    silent = 0.0
    for _ in range(int(LONGEST_SECONDS / LOOK_SECONDS)):
        try:
            await event_feed.bring_up_to_date(context.database)
            async with context.database.reading() as tx:
                events = await event_feed.events_after(tx, position, AT_ONCE, **narrow)
                in_force = await still_in_force(tx, key_id)
        except (SQLAlchemyError, OSError):
            return  # the database is away: the reader comes back, and goes on where it was
        for event in events:
            position = event.position or position
            shown = msgspec.json.encode(show_event(event)).decode()
            yield f"id: {event.id}\nevent: {event.type}\ndata: {shown}\n\n"
        if not in_force or context.closing.is_set():
            return
        silent = 0.0 if events else silent + LOOK_SECONDS
        if silent >= HEARTBEAT_SECONDS:
            silent = 0.0
            yield ": still here\n\n"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.closing.wait(), 0 if len(events) == AT_ONCE else LOOK_SECONDS)
