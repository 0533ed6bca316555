"""A parcel of nobody: its units, the customers it may come from, and the return it turns out to belong to."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from litestar import Response

from returns_service.commands.unmatched_receipts import get_unmatched
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE
from returns_service.domain.scan import clean_code
from returns_service.queries.dock import find_parcels
from returns_service.queries.history import names_of
from returns_service.queries.photos import photos_about
from returns_service.store.tables import UnmatchedReceipt
from returns_service.web.operations.unmatched_receipts import create_unmatched_receipt
from returns_service.web.pages.flashes import read_flashes
from returns_service.web.pages.forms import ONCE, Act, checked_once, new_once, wrong_field
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.perform import perform
from returns_service.web.pages.photos import FIELD, LONGEST_PHOTO_FORM_BYTES, keep_photo
from returns_service.web.pages.receipt_acts import ATTACH
from returns_service.web.pages.receive import show_start
from returns_service.web.pages.rendering import isolate, plural, render
from returns_service.web.pages.return_acts import url_of
from returns_service.web.pages.stories import CONDITIONS

_SEVERAL: Final = re.compile(r"([0-9]{1,4})\s*[x×]\s+(\S.*)")  # `3xl-shirt` is a code


LABELS: Final = {"items": "What is inside", "tracking_number": "Tracking number", "note": "Note"}


@posts("/parcels", scope=RECEIVE, longest_bytes=LONGEST_PHOTO_FORM_BYTES, labels=LABELS, show_again=show_start)
async def write_parcel(call: PageCall) -> Response[Any]:
    """Write down a parcel of nobody, and lead to its number; a photo that can't be kept loses nothing of it."""
    once = checked_once(call.field(ONCE))
    try:
        answer = await perform(call, create_unmatched_receipt, {}, _parcel_body(call), once)
    except Problem as problem:
        if problem.kind.status not in (409, 422):
            raise
        return await show_start(call, problem)
    where = f"/parcels/{answer['id']}?new=1"
    try:
        for file in call.files.get(FIELD, ()):
            await keep_photo(call, answer["id"], file, once)
    except Problem as problem:
        if problem.kind.status != 422:
            raise
        return await _show(call, answer["id"], is_new=True, problem=problem)
    return redirect(where)


def _parcel_body(call: PageCall) -> dict[str, Any]:
    """Return the body that the API takes for the parcel. Raises Problem for one without units."""
    units = units_in(call.field("items"))
    if not units:
        raise wrong_field("items", "Scan or type what is inside, one unit a line, for example MUG-COBALT.")
    condition = call.field("condition")
    given = {name: call.field(name) for name in ("tracking_number", "note")}
    items = [{"sku": sku, "quantity": number, "condition": condition} for sku, number in units.items()]
    return {"items": items} | {name: text for name, text in given.items() if text}


def units_in(text: str) -> Counter[str]:
    """Return how many units of each code some lines name: one a line, or as many as it says (`3 x MUG`)."""
    units: Counter[str] = Counter()
    for line in text.splitlines():
        several = _SEVERAL.fullmatch(line.strip())
        number, code = (int(several[1]), several[2]) if several else (1, line)
        if code := clean_code(code):
            units[code] += number
    return units


@shows("/parcels/{unmatched_id:str}", scope=RECEIVE)
async def show_parcel(call: PageCall) -> Response[Any]:
    """Show one parcel of nobody."""
    return await _show(call, call.path("unmatched_id"), is_new=bool(call.query("new")))


async def _show(call: PageCall, unmatched_id: str, *, is_new: bool, problem: Problem | None = None) -> Response[Any]:
    async with call.context.database.reading() as tx:
        row = await get_unmatched(tx, unmatched_id)
        photos = (await photos_about(tx, [unmatched_id])).get(unmatched_id, [])
        words = call.query("q") or row.order_id or row.tracking_number or ""
        matches = await find_parcels(tx, call.context.policy, words) if words else []
        names = await names_of(tx, [actor for actor in (row.received_by, row.attached_by) if actor])
        flashes = await read_flashes(call, tx)
    acts = [] if row.receipt_id else [attach_act(row, match.return_id, match.order_id) for match in matches]
    return render(
        call, "parcel.html", status=problem.kind.status if problem else 200, problem=problem, is_new=is_new,
        photos=photos, once=new_once, parcel=row, words=words, matches=list(zip(matches, acts, strict=False)),
        names=names, conditions=CONDITIONS, flashes=flashes,
    )  # fmt: skip


def attach_act(row: UnmatchedReceipt, return_id: str, order_id: str) -> Act:
    """Return the act that counts a parcel on one return."""
    units = sum(int(item["quantity"]) for item in row.items)
    return Act(
        ATTACH, url_of(ATTACH, unmatched_id=row.id), f"Count this parcel on {isolate(order_id)}?",
        f"{plural(units, 'unit')} counted there, refunded as they are due. Taking that receipt back frees the parcel.",
        "Count it there", "Attach", values={"return": return_id}, primary=False,
    )  # fmt: skip


PAGES: Final[tuple[Page, ...]] = (write_parcel, show_parcel)
