"""A return: the truth about its money first, then what can be done, its items, its money, its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from litestar import Response

from returns_service.domain.money import Row, total
from returns_service.domain.refund_status import OPEN, RefundStatus
from returns_service.domain.return_machine import State
from returns_service.domain.roles import PAY
from returns_service.queries.history import names_of, timeline_of
from returns_service.queries.photos import photos_of_returns
from returns_service.queries.second_person import decided_by_person_of
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case
from returns_service.return_case.rows import counted_units, is_unapproved, open_amount, rows_of
from returns_service.return_case.waiting import amounts_by_place, place_of, waits_for_balance, what_it_waits_for
from returns_service.store.tables import Event, Receipt, ReceiptLine, Refund, ReturnLine, UndeclaredItem
from returns_service.web.pages.flashes import read_flashes
from returns_service.web.pages.forms import Act, new_once
from returns_service.web.pages.live import address_after
from returns_service.web.pages.machine_picture import show_machine
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.receipt_acts import acts_on_receipt, resolve_act
from returns_service.web.pages.refund_acts import acts_on_refund
from returns_service.web.pages.rendering import plural, render
from returns_service.web.pages.return_acts import (
    WANTED,
    WRITE_NOTE,
    acts_on,
    barred_on,
    failed_of,
    money_of,
    target_of,
    url_of,
)
from returns_service.web.pages.stories import CONDITIONS, METHODS, is_told_beside, tell

MOST_LINES: Final = 12  # shown at once: the history of a return stays in reach
PLACES: Final[Mapping[str, str]] = {
    "restock": "restock", "scrap": "scrap", "return_to_customer": "back to the customer", "inspect": "inspection",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """The truth about the money: how it is shown, in words, and what comes next."""

    money: str
    icon: str
    text: str
    next: str


@dataclass(frozen=True, slots=True)
class Step:
    """One state on the way, and when the return came there first."""

    state: State
    at: datetime | None
    is_now: bool


@dataclass(frozen=True, slots=True)
class LineShown:
    """One item with its counts; amounts in minor units."""

    line: ReturnLine
    received: int
    accepted: int
    refunded: int
    on_its_way: int


@dataclass(frozen=True, slots=True)
class RefundShown:
    """One refund with its parts, what it waits for, and what can be done."""

    refund: Refund
    rows: Sequence[Row]
    waits_for: str
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class ReceiptShown:
    """One receipt with what it counted, and what can be done."""

    receipt: Receipt
    lines: Sequence[ReceiptLine]
    undeclared: Sequence[tuple[UndeclaredItem, Act | None]]
    acts: Sequence[Act]


@shows("/returns/{return_id:str}")
async def show_return(call: PageCall) -> Response[Any]:
    """Show one return."""
    return_id = call.path("return_id")
    async with call.context.database.reading() as tx:
        timeline = await timeline_of(tx, return_id)  # first: what changes after it is told by the stream
        case = await load_case(tx, call.context.policy, return_id)
        if timeline is None:
            raise LookupError(f"{return_id} has no event: not even that it was created")
        events = timeline.events
        flashes = await read_flashes(call, tx)
        stories = [tell(event) for event in events if not is_told_beside(event)]
        actors = {story.by for story in stories} | {receipt.received_by for receipt in case.receipts}
        actors |= {given["by"] for given in case.row.approvals}
        photos = (await photos_of_returns(tx, [return_id])).get(return_id, []) if timeline.has_photos else []
        actors |= {photo.added_by for photo in photos if photo.added_by}
        names = {**timeline.names, **await names_of(tx, sorted(actors - timeline.names.keys()))}
        own = await decided_by_person_of(tx, call.by.actor, case.refunds)
    able, barred = case.able_and_barred()
    if barred.keys() >= {"refund", "settle_outside"} and not case.due_outside and failed_of(case) is None:
        barred = {**barred, "settle_outside": barred["refund"]}  # what can't be refunded needs no settling either
    acts = acts_on(case, able, call.may)
    primary = next((act for act in acts if act.primary), None)
    dock = call.may("receipts:write")
    refunds = [
        RefundShown(
            one,
            rows_of(one),
            what_it_waits_for(one, case.payment)[1] or "",
            acts_on_refund(one, case.payment, call.may, decided_it=one.id in own),
        )
        for one in reversed(case.refunds)
    ]
    receipts = [_receipt(case, receipt, acts=dock) for receipt in reversed(case.receipts)]
    at_the_bank = [one for one in reversed(case.refunds) if one.stripe_refund and _is_at_the_bank(one)]
    of_dock = {*(receipt.id for receipt in case.receipts), *(item.id for item in case.undeclared)}
    return render(
        call, "return.html", live=address_after(timeline.last_event, return_id), case=case, row=case.row,
        fact=fact_of(case), steps=steps_of(case, events), machine=show_machine(case.row.state, _states_been(events)),
        lines=[_line(case, line) for line in _unfinished_first(case)], most_lines=MOST_LINES,
        awaited=_units_to_come(case), refunds=refunds, receipts=receipts, stories=stories,
        names=names, flashes=flashes, acts=acts, primary=primary, others=[act for act in acts if act is not primary],
        barred=barred_on(able, barred, call.may), unpaid=case.unpaid_rows(), due=case.due, reasons=_reasons(case),
        goes_to=PLACES, methods=METHODS, conditions=CONDITIONS, target=target_of(case), meter=_meter(case), total=total,
        photos=[photo for photo in photos if photo.about_id not in of_dock], once=new_once,
        photos_of={name: [photo for photo in photos if photo.about_id == name] for name in of_dock},
        at_the_bank=at_the_bank, can_receive=dock, can_pay=call.may(PAY), can_note=call.may("returns:write"),
        note=WRITE_NOTE.fields[0],
        note_url=url_of(WRITE_NOTE, return_id=case.row.id), more_events=len(events) >= 200,
    )  # fmt: skip


def _reasons(case: ReturnCase) -> dict[str, str]:
    return {name: reason.label for name, reason in case.policy.reasons.items()}


def _is_at_the_bank(refund: Refund) -> bool:
    return refund.status == "succeeded" or (refund.status == "pending" and not waits_for_balance(refund))


def fact_of(case: ReturnCase) -> Fact:
    """Return what is true about a return's money, the worst first."""
    by_status: dict[RefundStatus, int] = {}
    for refund in case.refunds:
        by_status[refund.status] = by_status.get(refund.status, 0) + refund.amount
    waits = amounts_by_place(case.refunds)
    moved = by_status.get("succeeded", 0)
    outside = by_status.get("settled_outside", 0)
    failed = sum(open_amount(refund) for refund in case.unresolved_refunds())
    after = next_of(case)
    if unknown := waits["unknown"]:
        text = f"Nobody knows yet whether {money_of(case, unknown)} moved"
        return Fact("unknown", "unknown", text, after)
    if failed:
        return Fact("not-moved", "stop", f"{money_of(case, failed)} did not reach the customer", after)
    if unapproved := waits["second_person"]:
        text = f"{money_of(case, unapproved)} waits for a second person and has not moved"
        return Fact("not-moved", "clock", text, after)
    if held := waits["balance"]:
        return Fact("not-moved", "clock", f"{money_of(case, held)} has not left: the Stripe balance is too low", after)
    if unsent := waits["unsent"]:
        return Fact("not-moved", "clock", f"{money_of(case, unsent)} is decided and has not moved yet", after)
    if on_its_way := waits["on_its_way"]:
        return Fact(
            "on-its-way", "refunding", f"{money_of(case, on_its_way)} is on its way to {target_of(case)}", after
        )
    if case.due:
        return Fact("not-moved", "clock", f"{money_of(case, case.due)} is due and has not moved", after)
    if moved or outside:
        parts = [f"{money_of(case, moved)} moved to {target_of(case)}"] if moved else []
        parts += [f"{money_of(case, outside)} was settled outside Stripe"] if outside else []
        return Fact("moved", "refunded", ", ".join(parts), after)
    return Fact("none", "info", "No money has moved", after)


def next_of(case: ReturnCase) -> str:
    """Return what comes next, and who has to move."""
    row = case.row
    if row.follow_up_barred is not None:
        return str(row.follow_up_barred.get("reason", ""))
    if case.outside_lines and case.due_outside:
        wanted = " or ".join(sorted({WANTED[wants].lower() for wants in case.outside_lines.values()}))
        return f"{money_of(case, case.due_outside)} is owed as {wanted}, outside Stripe: give it, then settle it here."
    if row.closed_at is not None:
        return "It is closed: nothing more is expected."
    if row.state == "requested":
        return f"An approver decides; approved, it pays up to {money_of(case, case.estimate)}."
    to_come = _units_to_come(case)
    comes = f"{plural(to_come, 'unit')} still to come." if case.units_expected and to_come else ""
    sentences: dict[State, str] = {
        "approved": comes or "All units are here.",
        "refunding": f"{_on_the_way(case)} {comes}".strip(),
        "refunded": f"Nothing more is due. {comes}".strip(),
        "failed": "Retry it, or settle it outside.",
        "declined": "It ended here. It can be reopened.",
        "canceled": "It ended here. It can be reopened.",
    }
    return sentences[row.state]


def _on_the_way(case: ReturnCase) -> str:
    if any(map(is_unapproved, case.refunds)):
        return "Another person than the one who decided it has to approve it."
    waits = [what_it_waits_for(refund, case.payment)[1] for refund in case.refunds if refund.status in OPEN]
    told = " ".join(dict.fromkeys(filter(None, waits)))
    queued = any(refund.status == "queued" for refund in case.refunds)
    return told or ("It goes to Stripe next." if queued else "Stripe and the bank have it.")


def steps_of(case: ReturnCase, events: Sequence[Event]) -> list[Step]:
    """Return the states on the way of a return, its own end in place of the usual one."""
    now = case.row.state
    usual: list[State] = ["requested", "approved", "refunding", "refunded"]
    ends: dict[State, list[State]] = {
        "failed": ["requested", "approved", "refunding", "failed"], "declined": ["requested", "declined"],
        "canceled": ["requested", "canceled"],
    }  # fmt: skip
    reached: dict[str, datetime] = {"requested": case.row.created_at}
    for event in events:  # newest first: the first time stands at last
        if event.type == "return.state_changed":
            reached[str(event.data.get("to"))] = event.created_at
    return [Step(state, reached.get(state), state == now) for state in ends.get(now, usual)]


def _states_been(events: Sequence[Event]) -> frozenset[str]:
    """Return the states that a return has been in, as far as its events here tell."""
    changed = (str(event.data.get("to")) for event in events if event.type == "return.state_changed")
    return frozenset(["requested", *changed])


def _unfinished_first(case: ReturnCase) -> list[ReturnLine]:
    """Return a return's lines, those first that are not all here where the page can't show all of them at once."""
    if len(case.lines) <= MOST_LINES:
        return list(case.lines)
    return sorted(case.lines, key=lambda line: counted_units(line) >= line.quantity)


def _units_to_come(case: ReturnCase) -> int:
    return sum(line.quantity - counted_units(line) for line in case.lines)


def _line(case: ReturnCase, line: ReturnLine) -> LineShown:
    def amount_in(refunds: Iterable[Refund]) -> int:
        return sum(row.amount for refund in refunds for row in rows_of(refund) if row.line == line.id)

    refunded = amount_in(refund for refund in case.refunds if refund.status == "succeeded")
    leaves = ("on_its_way", "unknown")
    under_way = amount_in(one for one in case.refunds if one.status in OPEN and place_of(one) in leaves)
    return LineShown(line, counted_units(line), sum(line.accepted.values()), refunded, under_way)


def _receipt(case: ReturnCase, receipt: Receipt, *, acts: bool) -> ReceiptShown:
    items = [item for item in case.undeclared if item.receipt_id == receipt.id]
    stands = receipt.reversed_at is None
    undeclared = [
        (item, resolve_act(case, item) if acts and stands and item.decision is None else None) for item in items
    ]
    lines = [row for row in case.receipt_lines if row.receipt_id == receipt.id]
    return ReceiptShown(receipt, lines, undeclared, acts_on_receipt(case, receipt) if acts else [])


def _meter(case: ReturnCase) -> dict[str, Any]:
    """Return the payment's figures, minor units, and their shares of what was captured, in percent."""
    captured = case.payment.captured
    refunded = sum(refund.amount for refund in case.payment_refunds if refund.status == "succeeded")
    waits = amounts_by_place(case.payment_refunds)
    share = 100 / captured if captured else 0
    claimed = refunded + sum(waits.values())
    return {
        "captured": captured, "refunded": refunded, "on_its_way": waits["on_its_way"] + waits["unknown"],
        "not_sent": waits["unsent"] + waits["balance"], "unapproved": waits["second_person"],
        "left": max(0, case.refundable),
        "a": round(min(100.0, refunded * share), 1), "b": round(min(100.0, claimed * share), 1),
    }  # fmt: skip


PAGES: Final[tuple[Page, ...]] = (show_return,)
