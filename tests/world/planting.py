"""A world that can't fail proves nothing: bugs are planted on purpose, and each must be found for its own symptom.

No shrinking: being found is the claim. Each hunt begins with a seed that met its bug within a few lives when it was
looked for (`python -m tests.world.seeds`); when rules have changed since, it goes on for as long as it takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.world.world import CI, OwnWorld

HUNT = settings(CI, max_examples=400, derandomize=False, phases=[Phase.generate])
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
    with pytest.raises(Exception, match=symptom):
        hunt(world, read_seeds().get(name, 0), HUNT)


def hunt(world: type[OwnWorld], start: int, chosen: settings) -> None:
    """Play lives from a seed until a law is broken. Raises what the world says then."""
    run_state_machine_as_test(seed(start)(type(world.__name__, (world,), {})), settings=chosen)
