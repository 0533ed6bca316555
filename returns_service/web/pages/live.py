"""Pages that stay true while they are looked at: a stream says that something changed, the page reads itself anew."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response
from litestar.response import Stream

from returns_service.domain.problems import Problem
from returns_service.return_case import event_feed
from returns_service.store.database import Tx
from returns_service.web.live_feed import EventFilter, greeting
from returns_service.web.pages.page import Page, PageCall, shows

_EVENT: Final = re.compile(r"evt_(0|[0-9a-z]{26})")
_RETURN: Final = re.compile(r"ret_[0-9a-z]{26}")


async def live_address(tx: Tx) -> str:
    """Return the address of the stream that tells what changes after now, of all returns.

    Ask before the page reads what it shows: a commit in between is told twice, never not at all.
    """
    _, last_event = await event_feed.last_place(tx)
    return address_after(last_event)


def address_after(last_event: str, return_id: str = "") -> str:
    """Return the address of the stream that tells what changes after an event, of one return or of all."""
    return f"/live?{urlencode({'after': last_event} | ({'return': return_id} if return_id else {}))}"


@shows("/live")
async def stream_changes(call: PageCall) -> Response[Any]:
    """Tell of each event after one, until the page is left or the session is over. Raises Problem."""
    headers = call.request.headers
    if "text/event-stream" not in headers.get("accept", ""):
        raise Problem("not_found", "This address is for the scripts of open pages: there is nothing to look at.")
    last_event, return_id = headers.get("last-event-id") or call.query("after"), call.query("return")
    wanted = EventFilter(return_id if _RETURN.fullmatch(return_id) else None)
    async with call.context.database.reading() as tx:
        if _EVENT.fullmatch(last_event):
            start = await event_feed.position_of(tx, last_event, "after")
        else:
            start, last_event = await event_feed.last_place(tx)
    feed = call.context.live_feed
    seat = feed.take_seat(call.signed_in.session.id)
    stream = feed.stream(seat, start, wanted, greeting(last_event), brief=True)
    headers_sent = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return Stream(stream, media_type="text/event-stream", headers=headers_sent)


PAGES: Final[tuple[Page, ...]] = (stream_changes,)
