"""The return's states: which trigger leads where, and what bars it.

Declared once, as data. A trigger that leads "by the rule" ends where the return's refunds and counts say (RULE, in
this order); `machine_diagram.py` draws the documentation's picture from the same data. No callbacks: effects are lines
in commands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from msgspec import Struct
from msgspec.structs import replace
from transitions import Machine

from returns_service.domain.problems import Problem, ProblemCode

if TYPE_CHECKING:
    from transitions.core import TransitionConfigDict

State = Literal["requested", "approved", "refunding", "refunded", "failed", "declined", "canceled"]
PublicTrigger = Literal[
    "approve", "decline", "cancel", "receive", "reverse", "inspect", "correct", "resolution", "refund", "retry",
    "settle_outside", "close", "reopen",
]  # fmt: skip
Trigger = Literal[PublicTrigger, "settle", "fail", "take_back", "withdraw", "adopt"]
STATES: tuple[State, ...] = get_args(State)
PUBLIC: tuple[PublicTrigger, ...] = get_args(PublicTrigger)
LIVE: tuple[State, ...] = ("approved", "refunding", "refunded", "failed")
DORMANT: tuple[State, ...] = ("requested", "declined", "canceled")  # nothing is paid, whatever is counted
logging.getLogger("transitions").setLevel(logging.WARNING)


class Facts(Struct, frozen=True):
    """What guards may look at, read under the payment's lock. Amounts in minor units."""

    due: int = 0  # in all, what is due outside Stripe included
    due_outside: int = 0  # for units that the customer wants no refund for
    amount: int = 0  # what this trigger asks for; what is due as refund where nothing is asked
    refundable: int = 0
    estimate: int = 0
    headroom: int = 0  # refundable less what the payment's other approved returns may still need
    payment_succeeded: bool = True
    disputed: bool = False
    approvals_missing: bool = False
    allowed_by_policy: bool = True  # or overridden with a named reason
    refund_open: bool = False  # queued … requires_action
    refund_unanswered: bool = False  # queued, submitted, unknown
    refund_failed: bool = False  # neither superseded nor settled outside
    paid: bool = False  # at Stripe or outside
    units_expected: bool = False
    units_received: bool = False
    units_reversible: bool = False
    units_in_flight: bool = False  # of each line that has units here, a refund is on its way
    units_to_inspect: bool = False
    units_unpaid: bool = False  # some that are neither paid nor settled: what the customer wants for them may change
    units_decided: bool = False  # of all of these, in refunds that have not paid: those are dealt with first
    undeclared_open: bool = False  # items nobody declared wait for a decision
    closed: bool = False
    closing: bool = False  # this trigger closes it: nothing more is expected then
    reopening: bool = False  # this trigger opens it again
    external_open: bool = False  # a refund made outside may pay it: a person has to assign or acknowledge that first
    settleable: int = 0  # what may be settled outside: what is due outside, else what is due, or the failed refund's
    why: str | None = None  # the reason given, where one is asked
    override: bool = False  # an override reason was given


@dataclass(frozen=True)
class Guard:
    """A condition that bars a trigger: the problem code answered then, and the reason in plain words."""

    code: ProblemCode
    reason: str
    holds: Callable[[Facts], bool]

    def __call__(self, facts: Facts) -> bool:
        return self.holds(facts)

    @property
    def __name__(self) -> str:
        return self.holds.__name__


def guard(code: ProblemCode, reason: str) -> Callable[[Callable[[Facts], bool]], Guard]:
    """Make a Guard of a claim about facts."""
    return lambda holds: Guard(code, reason, holds)


@guard("payment_not_succeeded", "The payment has not succeeded.")
def payment_succeeded(f: Facts) -> bool:
    return f.payment_succeeded


@guard("payment_disputed", "The payment is disputed: Stripe refuses refunds until the dispute is won.")
def undisputed(f: Facts) -> bool:
    return not f.disputed


@guard("amount_exceeds_refundable", "The payment has too little left for this return and the approved ones before it.")
def within_headroom(f: Facts) -> bool:
    return f.estimate <= f.headroom


@guard("policy_violation", "The policy doesn't allow it without an override reason.")
def allowed_by_policy(f: Facts) -> bool:
    return f.allowed_by_policy


@guard("reason_required", "A reason is required.")
def reason_given(f: Facts) -> bool:
    return bool(f.why)


@guard("money_moved", "Money was paid, settled outside or is on its way.")
def no_money_moved(f: Facts) -> bool:
    return not (f.paid or f.refund_open)


@guard("override_required", "Units were received: cancel only with an override reason.")
def nothing_received(f: Facts) -> bool:
    return not f.units_received or f.override


@guard("nothing_due", "Nothing received is unpaid.")
def something_to_pay(f: Facts) -> bool:
    return f.amount > 0


@guard("amount_exceeds_refundable", "The payment has less left than this would pay.")
def within_refundable(f: Facts) -> bool:
    return f.amount <= f.refundable


@guard("refund_in_progress", "A refund of this return is not answered yet.")
def none_unanswered(f: Facts) -> bool:
    return not f.refund_unanswered


@guard("failed_refund_open", "A failed refund waits for a decision: retry it or settle it outside.")
def none_failed(f: Facts) -> bool:
    return not f.refund_failed


@guard("amount_exceeds_due", "The amount must be above zero and at most what is due.")
def within_due(f: Facts) -> bool:
    return 0 < f.amount <= f.settleable


@guard("refund_in_progress", "A refund is on its way, and nothing is due outside Stripe meanwhile.")
def something_due_outside(f: Facts) -> bool:
    return f.due_outside > 0


@guard("already_refunded", "All units are paid, settled or on their way.")
def something_unpaid(f: Facts) -> bool:
    return f.units_unpaid


@guard("failed_refund_open", "A person decided about these units in a refund that has not paid: deal with that first.")
def none_decided(f: Facts) -> bool:
    return not f.units_decided


@guard("already_closed", "The return is closed already.")
def not_closed(f: Facts) -> bool:
    return not f.closed


@guard("not_closed", "The return is not closed.")
def is_closed(f: Facts) -> bool:
    return f.closed


@guard("external_refund_open", "A refund made outside this service waits: assign it to a return, or acknowledge it.")
def no_external_refund(f: Facts) -> bool:
    return not f.external_open or f.override


@guard("still_due", "Something is still due: refund it or settle it outside first.")
def nothing_due(f: Facts) -> bool:
    return f.due == 0


@guard("nothing_received", "No receipt can be reversed: none stands, or its units are refunded.")
def something_reversible(f: Facts) -> bool:
    return f.units_reversible


@guard("nothing_to_inspect", "No unit waits for inspection.")
def something_to_inspect(f: Facts) -> bool:
    return f.units_to_inspect


@guard("nothing_received", "Nothing was counted that could be corrected.")
def something_counted(f: Facts) -> bool:
    return f.units_received


@guard("refund_in_progress", "A refund of what was counted is on its way.")
def none_in_flight(f: Facts) -> bool:
    return not f.units_in_flight


@guard(
    "undeclared_open", "Items that nobody declared wait for a decision: resolve them, or close with an override reason."
)
def undeclared_resolved(f: Facts) -> bool:
    return not f.undeclared_open or f.override


# Branches: they pick a destination and bar nothing.
def approvals_missing(f: Facts) -> bool:
    return f.approvals_missing


def a_refund_is_open(f: Facts) -> bool:
    return f.refund_open


def a_refund_failed(f: Facts) -> bool:
    return f.refund_failed


def more_to_come(f: Facts) -> bool:
    return f.due > 0 or (not ((f.closed and not f.reopening) or f.closing) and (f.units_expected or not f.paid))


def something_paid(f: Facts) -> bool:
    return f.paid


def nothing_paid(f: Facts) -> bool:
    return not f.paid


RULE: list[tuple[State, Callable[[Facts], bool]]] = [
    ("refunding", a_refund_is_open),
    ("failed", a_refund_failed),
    ("approved", more_to_come),
    ("refunded", something_paid),
    ("canceled", nothing_paid),
]


def edge(
    trigger: Trigger, sources: Sequence[State], dest: State, *conditions: Callable[[Facts], bool]
) -> TransitionConfigDict:
    """Return one edge as `transitions` takes it."""
    return {"trigger": trigger, "source": list(sources), "dest": dest, "conditions": list(conditions)}


def by_the_rule(trigger: Trigger, sources: Sequence[State], *guards: Guard) -> list[TransitionConfigDict]:
    """Return the edges of a trigger whose destination the RULE picks."""
    return [edge(trigger, sources, dest, *guards, branch) for dest, branch in RULE]


def leading_back(trigger: Trigger, *guards: Guard) -> list[TransitionConfigDict]:
    """Return the edges of a dock's trigger from each dormant state to itself: counts change there, nothing is paid."""
    return [edge(trigger, [state], state, *guards) for state in DORMANT]


APPROVABLE = (payment_succeeded, undisputed, within_headroom, allowed_by_policy)
REFUNDABLE = (none_unanswered, none_failed, undisputed, no_external_refund, something_to_pay, within_refundable)
TRANSITIONS: list[TransitionConfigDict] = [
    edge("approve", ["requested"], "requested", *APPROVABLE, approvals_missing),
    edge("approve", ["requested"], "approved", *APPROVABLE),
    edge("decline", ["requested"], "declined", no_money_moved, reason_given),
    edge("cancel", ["requested", "approved"], "canceled", no_money_moved, nothing_received),
    *by_the_rule("receive", LIVE),
    *leading_back("receive"),
    *by_the_rule("reverse", LIVE, something_reversible),
    *leading_back("reverse", something_reversible),
    *by_the_rule("inspect", LIVE, something_to_inspect),
    *leading_back("inspect", something_to_inspect),
    *by_the_rule("correct", LIVE, something_counted, none_in_flight),
    *leading_back("correct", something_counted, none_in_flight),
    *by_the_rule("resolution", LIVE, something_unpaid, none_decided),
    edge("resolution", ["requested"], "requested", something_unpaid, none_decided),
    edge("refund", ["approved", "refunding", "refunded"], "refunding", *REFUNDABLE),
    *by_the_rule("settle", ["refunding", "failed"]),
    *by_the_rule("fail", LIVE),
    *by_the_rule("take_back", LIVE),
    *by_the_rule("withdraw", ["refunding"]),
    *by_the_rule("adopt", ["requested", *LIVE]),
    edge("retry", ["failed"], "refunding", undisputed, no_external_refund, within_refundable),
    *by_the_rule("settle_outside", ["approved", "failed"], within_due),
    *by_the_rule("settle_outside", ["refunding"], something_due_outside, within_due),
    *by_the_rule("close", ["approved", "refunding"], not_closed, nothing_due, undeclared_resolved),
    edge("reopen", ["declined", "canceled"], "requested", reason_given),
    *by_the_rule("reopen", LIVE, is_closed),
]
# One machine for all rows, never add_model()ed: that resets their state and keeps them alive.
MACHINE = Machine(None, states=list(STATES), transitions=TRANSITIONS, initial="requested", auto_transitions=False)


class HasState(Protocol):
    """A row with a state: a return."""

    state: State


def _collect_guards() -> dict[tuple[Trigger, State], tuple[Guard, ...]]:
    """Return what may bar each trigger in each state that an edge of it leaves, in the order it is declared."""
    declared: list[Any] = TRANSITIONS
    found: dict[tuple[Trigger, State], tuple[Guard, ...]] = {}
    for one in declared:
        for source in one["source"]:
            known = found.get((one["trigger"], source), ())
            more = (c for c in one["conditions"] if isinstance(c, Guard) and c not in known)
            found[one["trigger"], source] = (*known, *more)
    return found


GUARDS = _collect_guards()  # collected once: every answer with a return asks for all of them


def edges(trigger: Trigger, state: State) -> bool:
    """Return whether any edge of `trigger` leaves `state`."""
    return (trigger, state) in GUARDS


def unmet(trigger: Trigger, state: State, facts: Facts) -> list[Guard]:
    """Return the guards that bar `trigger` in `state`, in the order they were declared."""
    return [guard_ for guard_ in GUARDS.get((trigger, state), ()) if not guard_.holds(facts)]


def available(state: State, facts: Facts) -> list[PublicTrigger]:
    """Return the public triggers that would work now."""
    return others_than(barred_triggers(state, facts))


def others_than(barred_triggers: Container[PublicTrigger]) -> list[PublicTrigger]:
    """Return the public triggers that are not barred."""
    return [trigger for trigger in PUBLIC if trigger not in barred_triggers]


def barred_triggers(state: State, facts: Facts) -> dict[PublicTrigger, str]:
    """Return each public trigger that would not work now, and why, in plain words."""
    asked = _as_if_asked(facts)
    reasons: dict[PublicTrigger, str] = {}
    for trigger in PUBLIC:
        if not edges(trigger, state):
            reasons[trigger] = f"Not possible while the return is {state}."
        elif guards := unmet(trigger, state, asked[trigger]):
            reasons[trigger] = " ".join(g.reason for g in guards)
    return reasons


def _as_if_asked(facts: Facts) -> dict[PublicTrigger, Facts]:
    """Return the facts for the question "could somebody do it?", as if every required reason will be given."""
    given = replace(facts, why="given")
    asked = dict.fromkeys(PUBLIC, given)
    for trigger in ("approve", "cancel", "close"):
        asked[trigger] = replace(given, override=True, allowed_by_policy=True)
    asked["settle_outside"] = replace(given, amount=facts.settleable)
    return asked


def check_edge(trigger: Trigger, state: State, facts: Facts) -> None:
    """Raise Problem invalid_transition unless an edge of `trigger` leaves `state`."""
    if not edges(trigger, state):
        detail = f"`{trigger}` is not possible while the return is {state}."
        allowed = available(state, facts)
        raise Problem("invalid_transition", detail, state=state, trigger=trigger, allowed=allowed)


def check(trigger: Trigger, state: State, facts: Facts) -> None:
    """Raise the Problem that bars `trigger` in `state`, if any; nothing changes."""
    check_edge(trigger, state, facts)
    if barring := unmet(trigger, state, facts):
        guard_ = barring[0]
        raise Problem(guard_.code, guard_.reason, state=state, trigger=trigger, **_figures(guard_, facts))


def fire(trigger: Trigger, row: HasState, facts: Facts) -> State:
    """Move `row.state` along `trigger`; return the new state. Raises Problem, `row` untouched."""
    check(trigger, row.state, facts)
    if not MACHINE.events[trigger].trigger(row, facts):
        raise LookupError(f"No edge of {trigger} from {row.state} leads anywhere with {facts}.")
    return row.state


def _figures(barring: Guard, facts: Facts) -> dict[str, Any]:
    if barring is within_headroom:
        return {"estimate": facts.estimate, "refundable": facts.headroom}
    if barring in (within_refundable, something_to_pay):
        return {"amount": facts.amount, "refundable": facts.refundable}
    if barring is within_due:
        return {"amount": facts.amount, "due": facts.settleable}
    return {}


def apply_rule(facts: Facts) -> State:
    """Return the state that the RULE gives for `facts`."""
    return next(dest for dest, branch in RULE if branch(facts))
