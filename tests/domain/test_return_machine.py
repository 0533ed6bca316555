"""The return's machine: every trigger leads where the rule says, and what bars it has a name."""

from dataclasses import dataclass
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from returns_service.domain import machine_diagram
from returns_service.domain import return_machine as machine
from returns_service.domain.problems import Problem
from returns_service.domain.return_machine import RULE, STATES, TRANSITIONS, Facts, Guard, State, Trigger

TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
FACTS = st.builds(
    Facts,
    due=st.integers(0, 3),
    amount=st.integers(0, 3),
    refundable=st.integers(-1, 3),
    settleable=st.integers(0, 3),
    due_outside=st.integers(0, 2),
    units_unpaid=st.booleans(),
    estimate=st.integers(0, 3),
    headroom=st.integers(0, 3),
    why=st.sampled_from([None, "because"]),
)


@dataclass
class Row:
    state: State


@given(st.sampled_from(TRIGGERS), st.sampled_from(STATES), FACTS)
def test_a_trigger_moves_along_an_edge_or_changes_nothing(trigger: Trigger, state: State, facts: Facts) -> None:
    row, barred = Row(state), None
    try:
        machine.fire(trigger, row, facts)
    except Problem as problem:
        barred = problem.code
    if barred is None:
        assert machine.MACHINE.get_transitions(trigger, state, row.state)
    else:
        assert row.state == state
        assert (barred == "invalid_transition") == (not machine.edges(trigger, state))


@given(st.sampled_from(["receive", "fail", "take_back", "adopt"]), st.sampled_from(machine.LIVE), FACTS)
def test_what_happened_leads_by_the_rule(trigger: Trigger, state: State, facts: Facts) -> None:
    row = Row(state)
    assert machine.fire(trigger, row, facts) == machine.apply_rule(facts)


@given(FACTS)
def test_an_open_refund_means_refunding_whatever_else_is_true(facts: Facts) -> None:
    assert machine.apply_rule(replace(facts, refund_open=True)) == "refunding"


@given(FACTS)
def test_a_failed_refund_is_never_shown_as_refunded(facts: Facts) -> None:
    assert machine.apply_rule(replace(facts, refund_failed=True)) in ("refunding", "failed")


@given(st.sampled_from(STATES), FACTS)
def test_every_public_trigger_is_either_available_or_barred_with_a_reason(state: State, facts: Facts) -> None:
    available, barred = machine.available(state, facts), machine.barred_triggers(state, facts)
    assert set(available) | set(barred) == set(machine.PUBLIC)
    assert not set(available) & set(barred)
    assert all(barred.values())


@given(st.sampled_from(machine.PUBLIC), st.sampled_from(STATES), FACTS)
def test_what_is_said_to_be_possible_is(trigger: Trigger, state: State, facts: Facts) -> None:
    if trigger in machine.available(state, facts):
        amount = facts.settleable if trigger == "settle_outside" else facts.amount  # all of it, where nothing is said
        given_reasons = replace(facts, why="because", override=True, allowed_by_policy=True, amount=amount)
        machine.fire(trigger, Row(state), given_reasons)


def test_a_missing_edge_names_what_is_allowed() -> None:
    with pytest.raises(Problem) as raised:
        machine.fire("refund", Row("requested"), Facts(amount=1, refundable=1))
    assert raised.value.code == "invalid_transition"
    assert raised.value.facts["allowed"] == ["approve", "decline", "cancel", "receive"]


def test_edges_of_one_trigger_from_the_same_states_carry_the_same_guards() -> None:
    declared: list[Any] = TRANSITIONS
    for trigger, sources in {(t["trigger"], tuple(t["source"])) for t in declared}:
        mine = [t for t in declared if (t["trigger"], tuple(t["source"])) == (trigger, sources)]
        guards = [[c for c in t.get("conditions", []) if isinstance(c, Guard)] for t in mine]
        assert all(g == guards[0] for g in guards), trigger


def test_the_rule_always_has_an_answer() -> None:
    assert [dest for dest, _ in RULE] == ["refunding", "failed", "approved", "refunded", "canceled"]
    assert machine.apply_rule(Facts(closed=True)) == "canceled"
    assert machine.apply_rule(Facts(closed=True, paid=True)) == "refunded"
    assert machine.apply_rule(Facts(paid=True, units_expected=True)) == "approved"
    assert machine.apply_rule(Facts()) == "approved"


def test_the_diagram_names_every_state_and_trigger() -> None:
    drawn = machine_diagram.diagram()
    for word in [*STATES, *TRIGGERS]:
        assert word in drawn, word


def test_declined_and_canceled_end_unless_reopened_and_the_dock_counts_there() -> None:
    """C4: a parcel is counted in every state; where nothing is paid, the state stays as it is."""
    for state in ("declined", "canceled"):
        leaving = {trigger for trigger in TRIGGERS if machine.edges(trigger, state)}
        assert leaving == {"receive", "reverse", "inspect", "correct", "reopen"}


@given(st.sampled_from(["receive", "reverse", "inspect", "correct"]), st.sampled_from(machine.DORMANT), FACTS)
def test_the_dock_changes_no_state_where_nothing_is_paid(trigger: Trigger, state: State, facts: Facts) -> None:
    """C4: requested, declined and canceled returns keep their state, whatever is counted."""
    counting = replace(facts, units_reversible=True, units_to_inspect=True, units_received=True)
    assert machine.fire(trigger, Row(state), counting) == state
    row = {"trigger": trigger, "from": [state], "to": [state]}
    assert any(row.items() <= declared.items() for declared in machine_diagram.table())


def test_a_return_with_undeclared_items_closes_only_with_a_named_reason() -> None:
    """C3: `undeclared_open` bars closing, an override reason lifts it."""
    facts = Facts(undeclared_open=True, why="because")
    with pytest.raises(Problem) as raised:
        machine.fire("close", Row("approved"), facts)
    assert raised.value.code == "undeclared_open"
    assert machine.fire("close", Row("approved"), replace(facts, override=True, closing=True)) == "canceled"
