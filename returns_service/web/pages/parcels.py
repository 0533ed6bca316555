"""A parcel of nobody: what was in it, whose it may be, and the return it turns out to belong to."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.commands.unmatched_receipts import find_unmatched
from returns_service.domain.roles import RECEIVE
from returns_service.queries.dock import find_parcels
from returns_service.queries.history import names_of
from returns_service.store.tables import UnmatchedReceipt
from returns_service.web.pages.flashes import read_flashes
from returns_service.web.pages.forms import Act
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.receipt_acts import ATTACH
from returns_service.web.pages.rendering import render
from returns_service.web.pages.return_acts import url_of
from returns_service.web.pages.stories import CONDITIONS


@shows("/parcels/{unmatched_id:str}", scope=RECEIVE)
async def show_parcel(call: PageCall) -> Response[Any]:
    """Show one parcel of nobody."""
    async with call.context.database.reading() as tx:
        row = await find_unmatched(tx, call.path("unmatched_id"))
        words = call.query("q") or row.order_id or row.tracking_number or ""
        matches = await find_parcels(tx, call.context.policy, words) if words else []
        names = await names_of(tx, [actor for actor in (row.received_by, row.attached_by) if actor])
        flashes = await read_flashes(call, tx)
    acts = [] if row.receipt_id else [attach_act(row, match.return_id, match.order_id) for match in matches]
    return render(
        call, "parcel.html", parcel=row, words=words, matches=list(zip(matches, acts, strict=False)), names=names,
        conditions=CONDITIONS, flashes=flashes,
    )  # fmt: skip


def attach_act(row: UnmatchedReceipt, return_id: str, order_id: str) -> Act:
    """Return the act that counts a parcel on one return."""
    units = sum(int(item["quantity"]) for item in row.items)
    return Act(
        ATTACH, url_of(ATTACH, unmatched_id=row.id), f"Count this parcel on {order_id}?",
        f"{units} units are counted there and refunded as they are due. Taking that receipt back frees the parcel.",
        "Count it there", "Attach", values={"return": return_id}, primary=False,
    )  # fmt: skip


PAGES: Final[tuple[Page, ...]] = (show_parcel,)
