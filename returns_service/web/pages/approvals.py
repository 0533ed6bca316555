"""Approvals: what waits, oldest first, with the policy's view; one by one, or several after a look at the list."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response

from returns_service.domain.money import format_amount
from returns_service.domain.policy import local_day
from returns_service.domain.problems import Problem
from returns_service.domain.roles import APPROVE, PAY, RECEIVE
from returns_service.domain.vocabulary import find_word
from returns_service.queries.approvals import (
    APPROVAL_VIEWS,
    MOST_WAITING,
    Waiting,
    count_waiting,
    put_aside,
    waiting_returns,
)
from returns_service.queries.desk_explanations_dock import describe_wanted
from returns_service.queries.history import events_of_request, names_of
from returns_service.queries.photos import photos_about, photos_of_returns
from returns_service.queries.second_person import UnapprovedRefund, unapproved_refunds
from returns_service.store.database import Tx
from returns_service.web.errors import request_id_of
from returns_service.web.operations.returns import approve_return, decline_return
from returns_service.web.pages.flashes import MOST_TOLD, read_flashes
from returns_service.web.pages.forms import ONCE, Act, checked_once, new_once
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.live import live_address
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.payments import payment_path
from returns_service.web.pages.perform import perform
from returns_service.web.pages.problem_words import describe_problem
from returns_service.web.pages.refund_acts import approve_act
from returns_service.web.pages.rendering import render
from returns_service.web.pages.return_acts import FOR_THE_CUSTOMER, approvals_of, roles_with
from returns_service.web.pages.stories import told_first

LABELS: Final = {
    "waiting": "Waiting", "inside": "Inside the policy", "outside": "Needs a reason", "second": "Second person",
    "aside": "Put aside at the dock",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing the policy says of a request: `ok`, `warn` or `danger`."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One request as the page shows it: what can be done, or what bars it."""

    waiting: Waiting
    tags: Sequence[Tag]
    approve: Act | None
    decline: Act | None
    why_not: str

    @property
    def id(self) -> str:
        """The return's id."""
        return self.waiting.case.row.id

    @property
    def why(self) -> list[str]:
        """The reasons of the return and of its lines, each once."""
        case = self.waiting.case
        named = [line.reason for line in case.lines if line.reason]
        return list(dict.fromkeys(named or ([case.row.reason] if case.row.reason else [])))

    @property
    def can_be_chosen(self) -> bool:
        """Whether it may be decided together with others: no reason has to be given for it."""
        return self.approve is not None and not self.approve.required


@dataclass(frozen=True, slots=True)
class RefundRow:
    """One refund that waits for a second person, and where to read about it; without an act this person decided it."""

    waiting: UnapprovedRefund
    path: str | None
    approve: Act | None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one of several requests decided together; `refused` says why not."""

    return_id: str
    order_id: str
    refused: str = ""


def tags_of(waiting: Waiting) -> list[Tag]:
    """Return what the policy says of a request."""
    case, decision, policy = waiting.case, waiting.decision, waiting.case.policy_in_force
    tags = [Tag("danger", violation.message) for violation in decision.violations]
    outside = {violation.code for violation in decision.violations}
    by_delivery = policy.window_from == "delivery"
    begun = case.row.delivered_at if by_delivery else case.row.purchased_at
    if begun is None:
        tags.append(Tag("warn", f"No date of {policy.window_from}: the window can’t be judged"))
    elif "outside_window" not in outside:
        days = (local_day(case.row.created_at, policy.time_zone) - local_day(begun, policy.time_zone)).days
        tags.insert(0, Tag("ok", f"Day {max(0, days)} of {policy.window_days}"))
    if decision.approvals_required > 1:
        above = policy.second_person_above.get(case.row.currency)
        limit = f"Above {format_amount(above, case.row.currency)}" if above is not None else "No limit for its currency"
        tags.append(Tag("warn", f"{limit}: two people"))
    if case.outside_lines:
        tags.append(Tag("warn", f"Wants {describe_wanted(case)}: nothing of it is paid through Stripe"))
    tags.extend(Tag("warn", f"Free reason: {reason}") for reason in decision.unlisted_reasons)
    if decision.warning is not None:
        tags.append(Tag("warn", decision.warning.message))
    return tags


def row_of(call: PageCall, waiting: Waiting) -> Row:
    """Return a request as this person sees it."""
    approve, decline, why_not = approvals_of(waiting, call.by.actor)
    return Row(waiting, tags_of(waiting), approve, decline, why_not)


@shows("/approvals", scope=APPROVE, personal=True)
async def show_approvals(call: PageCall) -> Response[Any]:
    """Show what waits for a decision."""
    view = "aside" if call.query("view") == "aside" else find_word(APPROVAL_VIEWS, call.query("view")) or "waiting"
    async with call.context.database.reading() as tx:
        live = await live_address(tx)
        rows = [row_of(call, waiting) for waiting in await waiting_returns(tx, call.context.policy, call.by.actor)]
        number = await count_waiting(tx)
        flashes = await read_flashes(call, tx)
        refunds = [_refund_row(call, waiting) for waiting in await unapproved_refunds(tx, call.by.actor)]
        names = await _names(tx, rows, refunds)
        aside = await put_aside(tx)
        photos = await photos_of_returns(tx, [row.id for row in rows])
        of_aside = await photos_about(tx, [one.item.id for one in aside]) if view == "aside" else {}
    numbers = {name: sum(row.waiting.view == name for row in rows) for name in APPROVAL_VIEWS} | {
        "waiting": number, "aside": len(aside),
    }  # fmt: skip
    numbers["second"] += len(refunds)
    shown = [row for row in rows if view in ("waiting", row.waiting.view)]
    return render(
        call, "approvals.html", live=live, rows=shown, view=view, numbers=numbers, labels=LABELS, flashes=flashes,
        names=names, refunds=refunds, most=MOST_WAITING,
        oldest=rows[0].waiting.case.row.created_at if rows else None, reasons=_reasons(call), photos=photos,
        aside=aside if view == "aside" else [], photos_about=of_aside, who_decides=roles_with(RECEIVE),
    )  # fmt: skip


def _reasons(call: PageCall) -> dict[str, str]:
    return {name: reason.label for name, reason in call.context.policy.reasons.items()}


def _refund_row(call: PageCall, waiting: UnapprovedRefund) -> RefundRow:
    refund, path = waiting.refund, payment_path(waiting.payment) if call.may(PAY) else None
    if refund.return_id is not None:
        path = f"/returns/{refund.return_id}"
    return RefundRow(waiting, path, None if waiting.decided_it else approve_act(refund, waiting.payment))


async def _names(tx: Tx, rows: Sequence[Row], refunds: Sequence[RefundRow]) -> dict[str, str]:
    actors = {given["by"] for row in rows for given in row.waiting.case.row.approvals}
    return await names_of(tx, sorted(actors | {row.waiting.refund.created_by for row in refunds}))


@shows("/approvals/chosen", scope=APPROVE, personal=True)
async def show_chosen(call: PageCall) -> Response[Any]:
    """List what was chosen, with its sums, before anything is decided."""
    wanted = set(call.request.query_params.getall("return", []))
    return await _ask_about(call, wanted, declines=call.query("do") == "decline")


async def _show_again(call: PageCall, problem: Problem) -> Response[Any]:
    """Show the list again that a form of an older session brought, with the reason that was typed."""
    wanted, words = set(call.form.get("return", [])), describe_problem(problem)
    told = f"{words.title}. {words.text}"
    return await _ask_about(call, wanted, declines=call.field("do") == "decline", told=told, status=403)


async def _ask_about(
    call: PageCall, wanted: Collection[str], *, declines: bool, told: str = "", status: int = 200
) -> Response[Any]:
    async with call.context.database.reading() as tx:
        rows = [row_of(call, waiting) for waiting in await waiting_returns(tx, call.context.policy, call.by.actor)]
    chosen = [row for row in rows if row.id in wanted and row.can_be_chosen]
    left_out = len(wanted) - len(chosen)
    return _ask(call, chosen, declines=declines, left_out=left_out, told=told, status=status)


def _ask(
    call: PageCall, chosen: Sequence[Row], *, declines: bool, left_out: int = 0, error: str = "", told: str = "",
    status: int = 200,
) -> Response[Any]:  # fmt: skip
    return render(
        call, "approvals_chosen.html", status=status, rows=chosen, declines=declines, left_out=left_out,
        sums=sums_of(chosen), once=new_once(), field=FOR_THE_CUSTOMER, error=error, told=told,
        typed=call.field("reason"),
    )  # fmt: skip


def sums_of(rows: Sequence[Row]) -> str:
    """Return the sums of several requests by currency: never added over currencies."""
    sums: dict[str, int] = {}
    for row in rows:
        case = row.waiting.case
        sums[case.row.currency] = sums.get(case.row.currency, 0) + case.estimate
    return " and ".join(format_amount(amount, currency) for currency, amount in sorted(sums.items()))


@posts("/approvals/chosen", scope=APPROVE, personal=True, labels={"reason": "Why?"}, show_again=_show_again)
async def decide_chosen(call: PageCall) -> Response[Any]:
    """Decide several requests, each in a transaction of its own, each with its own result."""
    once, reason = checked_once(call.field(ONCE)), call.field("reason")
    declines = call.field("do") == "decline"
    ids = list(dict.fromkeys(call.form.get("return", [])))[:MOST_WAITING]
    async with call.context.database.reading() as tx:
        rows = [row_of(call, waiting) for waiting in await waiting_returns(tx, call.context.policy, call.by.actor)]
    orders = {row.id: row.waiting.case.row.order_id for row in rows}
    if not ids:
        raise Problem("invalid_request", "Choose at least one return.")
    if declines and not reason:
        chosen = [row for row in rows if row.id in ids]
        return _ask(call, chosen, declines=True, error=FOR_THE_CUSTOMER.missing, status=422)
    results = []
    for return_id in ids:
        operation, body = (decline_return, {"reason": reason}) if declines else (approve_return, {})
        try:
            shown, key = f'"{call.field(f"seen-{return_id}")}"', f"{once}-{return_id}"  # the version in the list
            answer = await perform(call, operation, {"return_id": return_id}, body, key, if_match=shown)
            results.append(Result(return_id, str(answer["order_id"])))
        except Problem as problem:
            if problem.kind.status not in (404, 409, 412, 422):
                raise
            results.append(Result(return_id, orders.get(return_id, return_id), _why_not(problem)))
    if all(not result.refused for result in results) and len(results) <= MOST_TOLD:
        return redirect(f"/approvals?did={'.'.join(await _events_of(call, results))}")
    return render(
        call,
        "approvals_results.html",
        status=200 if all(not r.refused for r in results) else 409,
        results=results,
        declines=declines,
    )


def _why_not(problem: Problem) -> str:
    changed = problem.code == "version_mismatch"
    return "It changed after the list was shown: look at it once more." if changed else describe_problem(problem).text


async def _events_of(call: PageCall, results: Sequence[Result]) -> list[str]:
    actor, request_id = call.by.actor, request_id_of(call.request)
    async with call.context.database.reading() as tx:
        found = [await events_of_request(tx, actor, request_id, [result.return_id]) for result in results]
    return [event_id for events in found if (event_id := told_first(events)) is not None]


PAGES: Final[tuple[Page, ...]] = (show_approvals, show_chosen, decide_chosen)
