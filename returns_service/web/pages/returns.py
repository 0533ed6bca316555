"""Returns: a list narrowed by views, search and filters, which all stand in its address; and the same as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response
from litestar.response import Stream

from returns_service.commands.saved_views import LONGEST_NAME, delete_view, save_view, views_of
from returns_service.domain.money import format_amount
from returns_service.domain.search_text import words_in
from returns_service.domain.vocabulary import find_word
from returns_service.queries.desk_explanations_dock import describe_wanted
from returns_service.queries.return_views import (
    COUNTED_TO,
    LISTED_VIEWS,
    PAGE,
    ListedBy,
    ListedView,
    count_lists,
    count_views,
    currencies_in_use,
    page_of_ids,
)
from returns_service.queries.returns import MOST_WORDS
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_cases
from returns_service.return_case.rows import counted_units, open_amount
from returns_service.return_case.views import rfc3339
from returns_service.return_case.waiting import amounts_by_place
from returns_service.store.database import Database, Tx
from returns_service.web.pages.forms import next_of
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.live import live_address
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.rendering import plural, render, show_number, zone_of

LABELS: Final[Mapping[ListedView, str]] = {
    "all": "All", "approval": "To approve", "parcel": "Waiting for the parcel", "parcel-here": "Parcel here, not paid",
    "refunding": "Refunding", "failed": "Failed", "done": "Done",
}  # fmt: skip
FILTERS: Final = ("view", "q", "currency", "from")
COLUMNS: Final = (
    "return", "slip", "order", "customer", "state", "note", "units_received", "units", "authorized", "due", "refunded",
    "currency", "requested", "updated",
)  # fmt: skip
CSV_CHUNK: Final = 100  # returns read at a time
_CURSOR: Final = re.compile(r"ret_[0-9a-z]{26}")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins with these


@dataclass(frozen=True, slots=True)
class Applied:
    """A filter in force, and the address of the list without it."""

    words: str
    without: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks of the list: the filters, as they were typed too."""

    by: ListedBy
    from_day: str  # as a date field holds it

    @property
    def filters(self) -> dict[str, str]:
        """The parameters of this list's address."""
        given = {
            "view": "" if self.by.view == "all" else self.by.view, "q": self.by.words,
            "currency": self.by.currency or "", "from": self.from_day,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value}

    def parameters(self, **changes: str) -> str:
        """Return the query string of this list with some parameters changed; an empty one is left out."""
        kept = {name: value for name, value in (self.filters | changes).items() if value}
        return f"?{urlencode(kept)}" if kept else ""


@dataclass(frozen=True, slots=True)
class SavedList:
    """A view that this person saved: its list as it is today."""

    id: str
    name: str
    asked: Asked
    number: str


@shows("/returns")
async def show_returns(call: PageCall) -> Response[Any]:
    """Show one page of the list."""
    asked = read_asked(call)
    after, before = _cursor(call, "after"), _cursor(call, "before")
    async with call.context.database.reading() as tx:
        live = await live_address(tx)
        page = await page_of_ids(tx, asked.by, after=after, before=before)
        cases = await load_cases(tx, call.context.policy, page.ids)
        numbers = await count_views(tx, asked.by)
        currencies = await currencies_in_use(tx)
        saved = await _saved_lists(call, tx)
    return render(
        call, "returns.html", live=live, asked=asked, cases=[(case, note_of(case)) for case in cases], page=page,
        labels=LABELS, numbers={view: show_number(number) for view, number in numbers.items()},
        applied=_applied_filters(asked),
        currencies=currencies, number=numbers[asked.by.view], counted_to=COUNTED_TO, units=units_of, size=PAGE,
        saved=saved, chosen=next((one for one in saved if one.asked.filters == asked.filters), None),
        longest_name=LONGEST_NAME,
    )  # fmt: skip


async def _saved_lists(call: PageCall, tx: Tx) -> list[SavedList]:
    """Return the person's own views with their numbers."""
    views = await views_of(tx, call.signed_in.user.id)
    lists = [asked_by(call, view.filters) for view in views]
    numbers = await count_lists(tx, [asked.by for asked in lists])
    return [
        SavedList(view.id, view.name, asked, show_number(number))
        for view, asked, number in zip(views, lists, numbers, strict=True)
    ]


def read_asked(call: PageCall) -> Asked:
    """Return what the address asks for; what it can't mean is left out."""
    return asked_by(call, {name: call.query(name) for name in FILTERS})


def asked_by(call: PageCall, filters: Mapping[str, str]) -> Asked:
    """Return what parameters ask for; what they can't mean is left out."""
    typed = {name: filters.get(name, "") for name in FILTERS}
    view, currency = find_word(LISTED_VIEWS, typed["view"]) or "all", typed["currency"].lower()
    day = _read_day(call, typed["from"])
    chosen = currency if re.fullmatch(r"[a-z]{3}", currency) else None
    by = ListedBy(view, " ".join(words_in(typed["q"])[:MOST_WORDS]), chosen, day)
    return Asked(by, typed["from"] if day is not None else "")


@posts("/returns/views", personal=True, labels={"name": "Name of the view"})
async def save_this_view(call: PageCall) -> Response[Any]:
    """Keep a list under a name; the same name again means the new list. Raises Problem."""
    user_id, name = call.signed_in.user.id, call.field("name")
    asked = asked_by(call, {name: call.field(name)[:300] for name in FILTERS})
    await call.context.database.run(lambda tx: save_view(tx, user_id, name, asked.filters), safe_to_repeat=True)
    return redirect(f"/returns{asked.parameters()}")


@posts("/returns/views/{view_id:str}/delete", personal=True)
async def delete_this_view(call: PageCall) -> Response[Any]:
    """Delete one of the person's own views; the list stays open."""
    user_id, view_id = call.signed_in.user.id, call.path("view_id")
    await call.context.database.run(lambda tx: delete_view(tx, user_id, view_id), safe_to_repeat=True)
    return redirect(next_of(call, "/returns"))


def _read_day(call: PageCall, text: str) -> datetime | None:
    """Return the begin of a day in the reader's zone."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone_of(call.request)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _cursor(call: PageCall, name: str) -> str:
    value = call.query(name)
    return value if _CURSOR.fullmatch(value) else ""


def _applied_filters(asked: Asked) -> list[Applied]:
    applied = []
    if asked.by.words:
        applied.append(Applied(f"Search: {asked.by.words}", f"/returns{asked.parameters(q='')}"))
    if asked.by.currency:
        currency = f"Currency: {asked.by.currency.upper()}"
        applied.append(Applied(currency, f"/returns{asked.parameters(currency='')}"))
    if asked.from_day:
        applied.append(Applied(f"Asked since {asked.from_day}", f"/returns{asked.parameters(**{'from': ''})}"))
    return applied


def units_of(case: ReturnCase) -> tuple[int, int]:
    """Return how many units are counted, and how many are authorized."""
    return sum(counted_units(line) for line in case.lines), sum(line.quantity for line in case.lines)


def note_of(case: ReturnCase) -> str:
    """Return the one thing to know of a return beside its state."""
    row, currency = case.row, case.row.currency
    if row.state == "failed" and case.unresolved_refunds():
        failed = sum(open_amount(refund) for refund in case.unresolved_refunds())
        return f"{format_amount(failed, currency)} did not arrive"
    if row.follow_up_barred is not None:
        return f"Held: {row.follow_up_barred.get('reason', '')}"
    waits = amounts_by_place(case.refunds)
    if waits["unknown"]:
        return "Nobody knows yet whether a refund moved"
    if unapproved := waits["second_person"]:
        return f"{format_amount(unapproved, currency)} waits for a second person"
    if held := waits["balance"]:
        return f"{format_amount(held, currency)} waits for the Stripe balance"
    if unsent := waits["unsent"]:
        return f"{format_amount(unsent, currency)} not sent yet"
    if on_its_way := waits["on_its_way"]:
        return f"{format_amount(on_its_way, currency)} on its way"
    if case.due_outside:
        return f"{format_amount(case.due_outside, currency)} owed as {describe_wanted(case)}"
    if any(line.inspecting for line in case.lines):
        return "Waits for inspection"
    if row.closed_at is not None:
        return "Closed"
    if case.open_items():
        return f"{plural(len(case.open_items()), 'item')} put aside"
    if row.state == "approved" and case.units_expected:
        to_come = sum(line.quantity - counted_units(line) for line in case.lines)
        return f"{plural(to_come, 'unit')} still to come"
    return ""


@shows("/returns.csv", personal=True)
async def export_returns(call: PageCall) -> Response[Any]:
    """Answer all rows of the list as it is narrowed, newest first."""
    asked = read_asked(call)
    name = f"returns-{asked.by.view}-{call.context.database.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    rows = _csv_of(call.context.database, call, asked.by)
    return Stream(rows, media_type="text/csv", headers=headers)


async def _csv_of(database: Database, call: PageCall, by: ListedBy) -> AsyncIterator[bytes]:
    yield csv_lines([COLUMNS])
    after = ""
    while True:
        async with database.reading() as tx:
            page = await page_of_ids(tx, by, after=after, limit=CSV_CHUNK)
            cases = await load_cases(tx, call.context.policy, page.ids)
            rows = [_row(case) for case in cases]
        if rows:
            yield csv_lines(rows)
        if not page.older:
            return
        after = page.ids[-1]


def _row(case: ReturnCase) -> tuple[str, ...]:
    received, authorized = units_of(case)
    row = case.row
    paid = sum(refund.amount for refund in case.refunds if refund.status == "succeeded")
    total = sum(line.total_amount for line in case.lines) + row.shipping_amount
    amounts = [format_amount(amount, row.currency).split()[0].replace(",", "") for amount in (total, case.due, paid)]
    return (
        row.id, row.slip_code or "", row.order_id, row.customer_name or row.customer_email or "", row.state,
        note_of(case), str(received), str(authorized),
        *amounts, row.currency.upper(), rfc3339(row.created_at), rfc3339(row.updated_at),
    )  # fmt: skip


def csv_lines(rows: Sequence[Sequence[str]]) -> bytes:
    """Return rows as CSV. What a spreadsheet would run as a formula begins with an apostrophe."""
    text = io.StringIO()
    safe = ([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)
    csv.writer(text).writerows(safe)
    return text.getvalue().encode()


PAGES: Final[tuple[Page, ...]] = (show_returns, export_returns, save_this_view, delete_this_view)
