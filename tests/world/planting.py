"""A world that can't fail proves nothing: bugs are planted on purpose, and each must be found for its own symptom.

Being found is the claim, so a life that ends a hunt is neither shrunk nor played again. Each hunt begins with a seed
that met its bug within a few lives when it was looked for (`python -m tests.world.seeds`); when rules have changed
since, it goes on for as long as it takes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, assume, seed, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from tests.world import dice
from tests.world.world import CI, OwnWorld

HUNT = settings(CI, max_examples=600, stateful_step_count=14, phases=[Phase.generate])
SEEDS = Path(__file__).with_name("seeds.json")
Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
Bugs = dict[str, tuple[Plant, str]]  # name -> how it is planted, and what the world must say about it


def listed_in(bugs: Bugs) -> Callable[[str, str], Callable[[Plant], Plant]]:
    """Return the decorator that lists a bug by its name and its symptom, a regular expression."""

    def bug(name: str, symptom: str) -> Callable[[Plant], Plant]:
        def listed(plant: Plant) -> Plant:
            bugs[name] = plant, symptom
            return plant

        return listed

    return bug


def read_seeds() -> dict[str, int]:
    """Return the seed of each bug that has one."""
    return dict(json.loads(SEEDS.read_text()))


def find(name: str, bugs: Bugs, patch: Patch, world: type[OwnWorld]) -> None:
    """Plant a bug and let a world find it: one of fewer rules meets each of them sooner."""
    plant, symptom = bugs[name]
    plant(patch)
    said = hunt(world, read_seeds().get(name, 0), HUNT)
    assert said is not None, f"no world found: {name}"
    assert re.search(symptom, said), said


class Found(BaseException):
    """A law was broken. Not an `Exception`: Hypothesis would play the life again to tell of it."""


def hunt(world: type[OwnWorld], start: int, chosen: settings) -> str | None:
    """Play lives from a seed until a law is broken; return what the world says then, None if none was."""

    def check_invariants(self: OwnWorld, *told: Any) -> None:
        assume(dice.are_thrown() or not self.kernel.births)  # the simplest life is the same in each hunt
        world.check_invariants(self, *told)

    def teardown(self: OwnWorld) -> None:
        broken = sys.exception()
        if isinstance(broken, HypothesisException):
            self.kernel.bury_all()
            return
        try:
            world.teardown(self)
        except Exception as error:  # noqa: BLE001 - what the world says is looked at
            broken = error
        if isinstance(broken, Exception):
            raise Found(str(broken)) from broken

    hunted = type(world.__name__, (world,), {"check_invariants": check_invariants, "teardown": teardown})
    try:
        run_state_machine_as_test(seed(start)(hunted), settings=chosen)
    except Found as found:
        return str(found)
    return None
