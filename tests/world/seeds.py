"""Look for seeds from which each planted bug is met within a few lives: `python -m tests.world.seeds [NAME…]`.

Run it when rules of the world have changed and the hunts have become slow. It takes about ten minutes, most of them for
a few bugs that need many rules in their order.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings

from tests.world import test_planted_bugs, test_planted_bugs_of_others, test_planted_bugs_of_prices
from tests.world.conftest import silent
from tests.world.planting import HUNT, SEEDS, Bugs, hunt, read_seeds
from tests.world.prices import PricedWorld
from tests.world.stage import Stage
from tests.world.world import OwnWorld, World

WORLDS = (
    (test_planted_bugs.BUGS, OwnWorld),
    (test_planted_bugs_of_others.BUGS, World),
    (test_planted_bugs_of_prices.BUGS, PricedWorld),
)


def is_found(bugs: Bugs, name: str, world: type[OwnWorld], start: int, lives: int) -> bool:
    """Return whether `lives` lives from a seed show a bug's symptom."""
    plant, symptom = bugs[name]
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        said = hunt(world, start, settings(HUNT, max_examples=lives))
    return said is not None and re.search(symptom, said) is not None


def main() -> None:
    """Look for a seed of each bug named (none: of all), and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="a part of a bug's name")
    parser.add_argument("--lives", type=int, default=3, help="the most lives from a seed to the bug")
    parser.add_argument("--tries", type=int, default=80, help="the most seeds for a bug and a number of lives")
    asked = parser.parse_args()
    silent()
    OwnWorld.stage = Stage(Path(tempfile.mkdtemp()) / "world.db")
    OwnWorld.stage.set()
    for bugs, world in WORLDS:
        for name in bugs:
            if asked.names and not any(part in name for part in asked.names):
                continue
            began = time.process_time()
            tries = ((start, lives) for lives in range(1, asked.lives + 1) for start in range(asked.tries))
            found = next((start for start, lives in tries if is_found(bugs, name, world, start, lives)), None)
            print(f"{time.process_time() - began:6.1f} s  {'none' if found is None else found:>5}  {name}", flush=True)
            if found is not None:
                SEEDS.write_text(json.dumps(read_seeds() | {name: found}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
