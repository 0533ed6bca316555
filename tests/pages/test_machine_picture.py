"""The picture of the machine shows what its declaration says: every state, every edge, and where a return is."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.domain.return_machine import STATES, TRANSITIONS, State
from returns_service.web.pages.machine_picture import CENTERS, RULE_NODE, declared_edges, draw_machine


def test_every_state_has_a_place_and_every_transition_an_edge() -> None:
    assert set(CENTERS) == {*STATES, RULE_NODE}
    drawn = declared_edges()
    declared: list[Any] = list(TRANSITIONS)
    for transition in declared:
        for source in transition["source"]:
            ends = (source, transition["dest"])
            if source != transition["dest"]:
                assert ends in drawn or (source, RULE_NODE) in drawn, ends
    assert drawn["requested", "declined"] == ["decline"]
    assert drawn["failed", "refunding"] == ["retry"]
    assert {dest for source, dest in drawn if source == RULE_NODE} == {"canceled"}, "the others lead both ways"


@pytest.mark.parametrize("now", STATES)
def test_the_present_state_is_marked_and_nothing_leaves_the_picture(now: State) -> None:
    picture = draw_machine(now, {"requested"})
    assert [node.name for node in picture.nodes if node.kind == "now"] == [now]
    assert {edge.label_x for edge in picture.edges} <= set(range(picture.width))
    assert {edge.label_y for edge in picture.edges} <= set(range(picture.height))
