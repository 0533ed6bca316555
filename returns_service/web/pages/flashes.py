"""What just happened, as the page after a form says it: read from the event that the address names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from returns_service.domain.money import format_amount
from returns_service.queries.history import read_happening
from returns_service.store.database import Tx
from returns_service.store.tables import Refund
from returns_service.web.pages.page import PageCall
from returns_service.web.pages.stories import STATUSES, Story, tell

MOST_TOLD: Final = 25
_EVENT: Final = re.compile(r"evt_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class Flash:
    """An event, and the return it is of."""

    story: Story
    return_id: str | None
    order_id: str | None
    next_look_at: datetime | None = None  # where nobody knows yet


async def _flash_of_check(tx: Tx, refund_id: str) -> Flash | None:
    """Return how a refund stands after a look at Stripe."""
    refund = await tx.get(Refund, refund_id)
    if refund is None:
        return None
    icon, state, words = STATUSES[refund.status]
    title = f"Checked with Stripe: {format_amount(refund.amount, refund.currency)} {words}"
    story = Story("", refund.updated_at, "stripe", title, icon=icon, state=state)
    return Flash(story, None, None, refund.next_attempt_at if refund.status == "unknown" else None)


async def read_flashes(call: PageCall, tx: Tx) -> list[Flash]:
    """Return what the events named by `did` say, with points between their ids."""
    if (checked := call.query("checked")) and (told := await _flash_of_check(tx, checked)) is not None:
        return [told]
    names = call.request.query_params.get("did", "").split(".")[:MOST_TOLD]
    happenings = [await read_happening(tx, name) for name in names if _EVENT.fullmatch(name)]
    return [
        Flash(tell(happening.event), happening.event.return_id, happening.order_id)
        for happening in happenings
        if happening is not None
    ]
