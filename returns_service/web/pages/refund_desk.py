"""The refund desk: what needs a person, beside one open case; did the money move, why, and what is safe now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from litestar import Response

from returns_service.domain.money import format_amount
from returns_service.domain.roles import PAY
from returns_service.domain.vocabulary import DESK_KINDS, DeskAction, Scope, find_word
from returns_service.queries.desk import DeskEntry, entries
from returns_service.queries.desk_items import DeskItemView, explain_entries
from returns_service.queries.desk_solved import returns_on_payment, solved_refunds
from returns_service.queries.home import last_comparison
from returns_service.queries.second_person import decided_by_person_of
from returns_service.queries.system_health import system_health
from returns_service.return_case.rows import rows_of
from returns_service.return_case.waiting import waits_for_balance
from returns_service.store.database import Tx
from returns_service.web.pages.desk_words import KINDS, KindWords
from returns_service.web.pages.flashes import read_flashes
from returns_service.web.pages.forms import Act
from returns_service.web.pages.live import live_address
from returns_service.web.pages.page import Page, PageCall, read_desk, shows
from returns_service.web.pages.payments import payment_path
from returns_service.web.pages.receipt_acts import resolve_act
from returns_service.web.pages.refund_acts import act_on_refund
from returns_service.web.pages.rendering import render, zone_of
from returns_service.web.pages.return_acts import acts_on, roles_with
from returns_service.web.pages.returns import csv_lines
from returns_service.web.pages.stories import METHODS, STATUSES

MOST_SHOWN: Final = 100
COLUMNS: Final = ("kind", "since", "amount", "currency", "order", "return", "refund", "what", "advice")
_CODE_WORD: Final = re.compile(r"`([^`]+)`")
_FORM_WORDS: Final = {**METHODS, "waive": "give the rest up"}
_SCOPES: Final[Mapping[DeskAction, Scope]] = {
    "approve": "returns:approve", "decline": "returns:approve", "reopen": "returns:approve", "close": "returns:write",
}  # fmt: skip


def _on_pages(text: str) -> str:
    """Return a sentence of the API with its words as the pages' forms have them."""
    return _CODE_WORD.sub(lambda match: f"“{_FORM_WORDS.get(match[1], match[1])}”", text)


@dataclass(frozen=True, slots=True)
class DeskRow:
    """One thing that waits, as the list shows it."""

    entry: DeskEntry
    item: DeskItemView
    words: KindWords

    @property
    def amount(self) -> str:
        """The money it is about, in words; empty where it is about none."""
        amount, currency = self.item.amount, self.item.currency
        return format_amount(amount, currency) if amount is not None and currency is not None else ""

    @property
    def fact(self) -> str:
        """The truth about the money, in words."""
        if self._waits_for_balance:
            return f"{self.amount} has not left: the Stripe balance is too low."
        if self._is_in_doubt:
            return f"Nobody knows yet whether {self.amount} too much moved."
        return self.words.fact.format(amount=self.amount or "The amount")

    @property
    def label(self) -> str:
        """What it is, in a word or two."""
        return "Balance too low" if self._waits_for_balance else self.words.label

    @property
    def advice(self) -> str:
        """What can be done now, on these pages."""
        return self.words.advice or _on_pages(self.item.advice)

    @property
    def answer_by(self) -> datetime | None:
        """When the payment's dispute has to be answered; None where it waits for no answer."""
        return datetime.fromisoformat(self.item.answer_by) if self.item.answer_by else None

    @property
    def money(self) -> str:
        """How the truth about the money is shown."""
        if self._waits_for_balance:
            return "not-moved"
        return "unknown" if self._is_in_doubt else self.words.money

    @property
    def _is_in_doubt(self) -> bool:
        return self.item.code == "overpaid_in_doubt"

    @property
    def _waits_for_balance(self) -> bool:
        return self.entry.refund is not None and waits_for_balance(self.entry.refund)

    @property
    def cause(self) -> str:
        """Why it waits, in a line: the kind's own words, else the first sentence of what happened."""
        return self.words.cause or self.item.message.partition(". ")[0].removesuffix(".")

    @property
    def about(self) -> Sequence[str]:
        """Whose it is: the order and its customer, else what was paid with."""
        case, payment = self.entry.case, self.entry.payment
        customer = (case.customer_name or case.customer_email) if case else None
        known = [self.item.order_id, customer]
        paid_with = [payment.method] if payment and payment.method else []
        return [word for word in known if word] or paid_with

    @property
    def path(self) -> str:
        """The address of the desk with this case open."""
        return f"/refunds?case={quote(self.entry.id)}"


@dataclass(frozen=True, slots=True)
class OpenCase:
    """One thing that waits, opened: what can be done, where else, and by whom."""

    row: DeskRow
    acts: Sequence[Act]
    links: Sequence[tuple[str, str]]  # address, words
    others: str  # whose work it is, where it isn't this person's
    own: str = ""  # why this person may not do it, where another may


@shows("/refunds", scope=PAY, personal=True)
async def show_desk(call: PageCall) -> Response[Any]:
    """Show what waits, most urgent first, and one case."""
    kind, wanted = find_word(DESK_KINDS, call.query("kind")), call.query("case")
    async with call.context.database.reading() as tx:
        live = await live_address(tx)
        figures = await read_desk(call, tx)
        health, numbers = figures.health, {total.kind: total.number for total in figures.totals}
        found = await entries(tx, limit=MOST_SHOWN, kinds=[kind] if kind else None) or []
        explained = await explain_entries(tx, call.context.policy, found, health)
        rows = [DeskRow(entry, item, KINDS[entry.kind]) for entry, item in explained]
        chosen = next((row for row in rows if row.entry.id == wanted), None)
        if chosen is None and wanted:  # it may wait behind those that are shown
            alone = await entries(tx, limit=1, only=wanted) or []
            explained = await explain_entries(tx, call.context.policy, alone, health)
            chosen = next((DeskRow(entry, item, KINDS[entry.kind]) for entry, item in explained), None)
        first = chosen or (rows[0] if rows and not wanted else None)
        opened = await _open(call, tx, first) if first else None
        flashes = await read_flashes(call, tx)
        solved = await solved_refunds(tx, _midnight(call))
        run = await last_comparison(tx)
    return render(
        call, "refund_desk.html", live=live, rows=rows, kinds=KINDS, numbers=numbers, kind=kind, opened=opened,
        flashes=flashes, is_open=chosen is not None, gone=bool(wanted) and chosen is None, solved=len(solved), run=run,
        here_to=f"/refunds?kind={kind}" if kind else "/refunds", number=sum(numbers.values()), rows_of=rows_of,
        left_out=max(0, (numbers[kind] if kind else sum(numbers.values())) - len(rows)),
    )  # fmt: skip


def _midnight(call: PageCall) -> datetime:
    there = call.context.database.now().astimezone(zone_of(call.request))
    return there.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


async def _open(call: PageCall, tx: Tx, row: DeskRow) -> OpenCase:
    """Return one thing with what this person can do about it."""
    entry, item = row.entry, row.item
    own = await decided_by_person_of(tx, call.by.actor, [entry.refund] if entry.refund else [])
    acts, missing = await _acts(call, tx, entry, item, decided_it=bool(own))
    links = []
    if entry.payment is not None and entry.case is None:
        links.append((payment_path(entry.payment), "Open the payment"))
    if entry.kind == "unmatched_receipt" and entry.unmatched is not None and call.may("receipts:write"):
        links.append((f"/parcels/{entry.unmatched.id}", "Open the parcel"))
    if entry.kind in ("unmatched_receipt", "undeclared_item") and not call.may("receipts:write"):
        missing = "receipts:write"
    if entry.kind == "refund_rate" and item.currency is not None:
        links.append((f"/dashboard?currency={item.currency}", "Open the dashboard"))
    if entry.kind == "webhook_disabled" and call.may("admin"):
        links.append(("/settings#hooks", "Open the webhook endpoints"))
    if entry.kind in ("stripe_refuses", "stripe_silent", "work_overdue") and call.may("admin"):
        links.append(("/settings/health", "See all checks"))
    barred = "You decided it: another person has to approve it." if own else ""
    return OpenCase(row, acts, links, f"This is for {roles_with(missing)}." if missing else "", barred)


async def _acts(
    call: PageCall, tx: Tx, entry: DeskEntry, item: DeskItemView, *, decided_it: bool
) -> tuple[list[Act], Scope | None]:
    """Return the acts that this person may do, and the scope that others need for the rest.

    `decided_it`: this person decided the refund, so that another one has to approve it.
    """
    wanted = [(action, _SCOPES.get(action, PAY)) for action in item.actions]
    missing = next((scope for _, scope in wanted if not call.may(scope)), None)
    able = [action for action, scope in wanted if call.may(scope) and not (decided_it and action == "approve")]
    if entry.refund is not None and entry.payment is not None:
        returns = await returns_on_payment(tx, entry.payment.id) if "assign" in able else []
        made = [act_on_refund(a, entry.refund, entry.payment, left=entry.left, returns=returns) for a in able]
        return [act for act in made if act is not None], missing
    if entry.whole is None:
        return [], missing
    if entry.undeclared is not None:
        return ([resolve_act(entry.whole, entry.undeclared)] if call.may("receipts:write") else []), missing
    names = {"acknowledge_return" if action == "acknowledge" else action for action in able}
    return [act for act in acts_on(entry.whole, entry.whole.available(), call.may) if act.form.name in names], missing


@shows("/refunds/solved", scope=PAY, personal=True)
async def show_solved(call: PageCall) -> Response[Any]:
    """Show what was dealt with today."""
    async with call.context.database.reading() as tx:
        solved = await solved_refunds(tx, _midnight(call))
    return render(call, "refund_desk_solved.html", solved=solved, statuses=STATUSES)


@shows("/refunds.csv", scope=PAY, personal=True)
async def export_desk(call: PageCall) -> Response[Any]:
    """Answer what waits as CSV, as the list shows it."""
    kind = find_word(DESK_KINDS, call.query("kind"))
    async with call.context.database.reading() as tx:
        health = await system_health(tx)
        found = await entries(tx, limit=MOST_SHOWN, kinds=[kind] if kind else None) or []
        items = [item for _, item in await explain_entries(tx, call.context.policy, found, health)]
    headers = {"Content-Disposition": 'attachment; filename="refund-desk.csv"', "Cache-Control": "no-store"}
    return Response(csv_lines([COLUMNS, *(_csv_row(item) for item in items)]), media_type="text/csv", headers=headers)


def _csv_row(item: DeskItemView) -> tuple[str, ...]:
    known = item.amount is not None and item.currency is not None
    amount = format_amount(item.amount or 0, item.currency or "usd").split()[0].replace(",", "") if known else ""
    return (
        item.kind, item.since, amount, (item.currency or "").upper(), item.order_id or "", item.return_ or "",
        item.refund or "", item.message, item.advice,
    )  # fmt: skip


PAGES: Final[tuple[Page, ...]] = (show_desk, show_solved, export_desk)
