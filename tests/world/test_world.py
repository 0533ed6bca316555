"""The world test: whatever happens, in whatever order, the money comes out right."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from tests.world.world import CI, World


def test_money_comes_out_right() -> None:
    run_state_machine_as_test(World, settings=CI)
