"""One trigger fired on one return, and its place in the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from returns_service.domain import money, return_machine
from returns_service.domain.return_machine import State, Trigger
from returns_service.domain.vocabulary import EventType
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import record, to_json_object
from returns_service.return_case.mail_outbox import queue_mail
from returns_service.return_case.views.return_view import show_change
from returns_service.store.tables import Event

PAYING: tuple[State, ...] = ("approved", "refunding")  # states in which what is due is paid by itself
# Those beside the machine's own lead back to the same state.
RecordedTrigger = Literal[Trigger, "refund_barred", "forget", "assign", "acknowledge", "follow_order"]


def check_edge(case: ReturnCase, trigger: Trigger) -> None:
    """Raise Problem invalid_transition unless an edge of `trigger` leaves the return's state.

    It tells what can be done now, whatever this request brought along.
    """
    if not return_machine.edges(trigger, case.row.state):
        return_machine.check_edge(trigger, case.row.state, case.facts_if_asked())


async def transition(
    case: ReturnCase, trigger: Trigger, *, why: str | None = None, in_spite: str | None = None, **facts: Any
) -> None:
    """Fire `trigger` and record it. `facts`: those that it brings along. Raises Problem, nothing changed.

    `why`: its reason. `in_spite`: the reason for doing it in spite of a guard; it counts as an override.
    """
    if in_spite:
        facts["override"] = True
    before = fire(case, trigger, why=why, **facts)
    await record_transition(case, trigger, before, why, in_spite)


def fire(case: ReturnCase, trigger: Trigger, **facts: Any) -> State:
    """Fire `trigger` and return the state before it: the caller records it once all that it announces is there.

    Raises Problem, nothing changed.
    """
    before = case.row.state
    check_edge(case, trigger)
    return_machine.fire(trigger, case.row, case.facts(**facts))
    if trigger == "refund":
        _forget_bar(case)
    return before


async def record_transition(
    case: ReturnCase, trigger: RecordedTrigger, before: State, why: str | None, in_spite: str | None = None
) -> None:
    """Record a trigger that has fired: `return.state_changed`, or `return.updated` where it led back."""
    kind: EventType = "return.updated" if case.row.state == before else "return.state_changed"
    data: dict[str, Any] = {"from": before, "to": case.row.state, "trigger": trigger, "reason": why}
    if in_spite:
        data["override_reason"] = in_spite
    await record_return(case, kind, data)


async def follow_rule(case: ReturnCase) -> None:
    """Bring a return to where its refunds and counts say, and record it where that is another state."""
    before, facts = case.row.state, case.facts()
    if return_machine.apply_rule(facts) != before:
        return_machine.fire("adopt", case.row, facts)
        await record_transition(case, "adopt", before, None)


async def tell_what_followed(case: ReturnCase, why: str) -> None:
    """Record a return whose amounts another return of its order has changed since they were last told."""
    row = case.row
    due_changed = (row.amount_due, row.due_outside) != (case.due, case.due_outside)
    if due_changed or (row.overpaid_since is not None and not case.overpaid_amount):
        await record_transition(case, "follow_order", row.state, why)


async def record_return(case: ReturnCase, kind: EventType, data: Mapping[str, Any]) -> Event:
    """Record what happened to a return, with the return as it is then: its version counts this event."""
    _update_open_amounts(case)
    if case.row.follow_up_barred is not None and (case.row.state not in PAYING or not case.due):
        _forget_bar(case)
    if case.row.overpaid_since is not None and not case.overpaid_amount:
        case.row.overpaid_since = None  # a later unit is worth it, or the refund failed
    rose = _keep_due_outside(case)
    case.row.amount_due = case.due
    event = await record(case.tx, case.by, kind, row=case.row, data={})
    event.data = to_json_object({**data, **show_change(case)})
    queue_mail(case.tx, event)
    if rose:
        due = await record(case.tx, case.by, "return.resolution_due", row=case.row, data={})
        due.data = to_json_object({"amount_due_outside": case.row.due_outside, **show_change(case)})
    return event


def _forget_bar(case: ReturnCase) -> None:
    """Forget what barred a refund, once what was due is paid or due no more; the event of that shows it."""
    case.row.follow_up_at = case.row.follow_up_barred = None


def _keep_due_outside(case: ReturnCase) -> bool:
    """Keep what is due outside Stripe, for the desk; return whether it is more than was told."""
    row, before = case.row, case.row.due_outside
    row.due_outside = case.due_outside
    row.due_outside_since = (row.due_outside_since or case.tx.now) if row.due_outside else None
    return row.due_outside > before


def _update_open_amounts(case: ReturnCase) -> None:
    """Keep what is open of each failed refund as an amount; one of which nothing is due any more is superseded.

    One in which people took something off is kept: its units, counted again, are due less that, and a person decides.
    """
    for refund_id, rows in case.open_rows().items():
        refund = next(refund for refund in case.refunds if refund.id == refund_id)
        refund.amount_open = max(0, money.total(rows))
        if refund.amount_open == 0 and not any(row.adjustment for row in case.remaining_rows(refund)):
            refund.superseded_at = refund.updated_at = case.tx.now
