"""The world test: whatever happens, in whatever order, the money comes out right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.world.met import Met
from tests.world.prices import PricedWorld
from tests.world.world import CI, World, tell_each

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
CHUNK = 35  # lives from one seed
# What is met is luck: with these seeds first, the least number of lives meets all of it.
SEEDS = (5, 11, 1, *range(20, 27))
LEAST = 3 * CHUNK


def stories(worlds: int, start: int) -> list[str]:
    """Play worlds from a seed; return their stories."""
    told: list[str] = []

    world = tell_each(World, lambda life: told.append("\n".join(life.kernel.story)))
    chosen = settings(CI, max_examples=worlds, stateful_step_count=14, phases=[Phase.generate])
    run_state_machine_as_test(seed(start)(world), settings=chosen)
    return told


def test_money_comes_out_right_and_every_fault_was_met(record_property: Callable[[str, object], None]) -> None:
    """Which lives meet a rare thing is luck: some more are played where one is still missing."""
    met = Met()
    counted = tell_each(World, met.add)
    for start in SEEDS:
        if met.worlds < LEAST or met.missing():
            chosen = settings(CI, max_examples=CHUNK)
            run_state_machine_as_test(seed(start)(counted), settings=chosen)
    record_property("met", met.report())
    print(met.report())  # shown where it fails, and with -s
    assert not met.missing(), f"these were never met: {met.missing()}"


def test_money_comes_out_right_with_fees_labels_and_adjustments() -> None:
    run_state_machine_as_test(seed(1)(PricedWorld), settings=settings(CI, max_examples=CHUNK))


def test_a_seed_tells_the_same_stories_twice() -> None:
    assert stories(3, start=7) == stories(3, start=7) != stories(3, start=8)
