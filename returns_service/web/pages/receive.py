"""Receive, the start: find the return of a parcel; today's parcels, each of which can be taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response

from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE
from returns_service.domain.scan import clean_code
from returns_service.queries.dock import (
    find_parcels,
    parcel_for_number,
    parcel_of,
    parcels_of_nobody,
    parcels_since,
    return_for_code,
)
from returns_service.web.operations.receipts import reverse_receipt
from returns_service.web.pages.forms import new_once
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.perform import perform
from returns_service.web.pages.problem_words import describe_problem, field_of
from returns_service.web.pages.rendering import render, zone_of
from returns_service.web.pages.stories import CONDITIONS
from returns_service.web.pages.visitor import AnyRequest

FIELDS: Final = ("tracking_number", "items", "note")  # of a parcel of nobody
TAKEN_BACK: Final = "Taken back at the dock."


@shows("/receive", scope=RECEIVE)
async def show_receive(call: PageCall) -> Response[Any]:
    """Ask for a parcel's slip; show what was found, what just happened, and today's parcels."""
    return await show_start(call)


async def show_start(call: PageCall, problem: Problem | None = None) -> Response[Any]:
    """Show the start; `problem`: why a parcel of nobody was not written down, beside what was typed."""
    words = clean_code(call.query("q"))
    async with call.context.database.reading() as tx:
        matches = await find_parcels(tx, call.context.policy, words) if words else []
        today = await parcels_since(tx, call.context.policy, _midnight(call.request, tx.now))
        done = await parcel_of(tx, call.context.policy, call.query("did")) if call.query("did") else None
        nobodys = await parcels_of_nobody(tx)
    return render(
        call, "receive.html", status=problem.kind.status if problem else 200, problem=problem, once=new_once(),
        typed={name: values[0] for name, values in call.form.items() if values}, conditions=CONDITIONS,
        nobodys=nobodys, words=words, matches=matches, today=today, done=done,
        taken_back=call.query("back"), wrong=describe_problem(problem).text if problem else "",
        wrong_at=(field_of(problem, FIELDS) if problem else "") or "items",
        units=sum(parcel.units for parcel in today), aside=sum(parcel.aside for parcel in today),
    )  # fmt: skip


def _midnight(request: AnyRequest, now: datetime) -> datetime:
    there = now.astimezone(zone_of(request))
    return there.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


@posts("/receive/open", scope=RECEIVE, labels={"q": "Looked for"})
async def open_return(call: PageCall) -> Response[Any]:
    """Open the return that a code names; where it names none or several, look for it."""
    return redirect(await address_for(call, clean_code(call.field("q"))))


async def address_for(call: PageCall, code: str) -> str:
    """Return the address of the return or the parcel of nobody that a clean code names, else of the search for it."""
    if not code:
        return "/receive"
    async with call.context.database.reading() as tx:
        named = await return_for_code(tx, code)
        parcel = None if named else await parcel_for_number(tx, code)
        matches = [] if named or parcel else await find_parcels(tx, call.context.policy, code)
    if parcel is not None:
        return f"/parcels/{parcel}"
    if named is not None or len(matches) == 1:
        return f"/receive/{named or matches[0].return_id}"
    return f"/receive?{urlencode({'q': code})}"


@posts("/receive/{return_id:str}/receipts/{receipt_id:str}/reverse", scope=RECEIVE)
async def take_back(call: PageCall) -> Response[Any]:
    """Undo a receipt, as long as nothing of it was paid; twice is once."""
    path = {"return_id": call.path("return_id"), "receipt_id": call.path("receipt_id")}
    try:
        await perform(call, reverse_receipt, path, {"reason": TAKEN_BACK}, f"take back {path['receipt_id']}")
    except Problem as problem:
        if problem.code != "receipt_reversed":  # else somebody else was quicker: it is as it should be
            raise
    return redirect(f"/receive?back={path['return_id']}")


PAGES: Final[tuple[Page, ...]] = (show_receive, open_return, take_back)
