"""A world that can't fail proves nothing: bugs are planted on purpose, and each must be found for its own symptom.

No shrinking: being found is the claim.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.world.world import CI, OwnWorld, World

HUNT = settings(CI, max_examples=400, phases=[Phase.generate])
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


def find(bug: tuple[Plant, str], patch: Patch, world: type[OwnWorld] = World) -> None:
    """Plant a bug and let a world find it: one of fewer rules meets each of them sooner."""
    plant, symptom = bug
    plant(patch)
    with pytest.raises(Exception, match=symptom):
        run_state_machine_as_test(world, settings=HUNT)
