"""As many lives as are asked for: `pytest -m soak --lives N --seed S`.

Each process plays chunks of lives, each chunk from its own seed, so that a failure is replayed by its chunk alone,
and then shrunk to a short story. How long its lives are is the seed's too. A failure ends its chunk, not the soak: the
others go on, and all failures are told at the end.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.harness.postgres import fast_folder
from tests.world.conftest import collect_rarely, silent
from tests.world.met import Met
from tests.world.prices import PricedWorld
from tests.world.stage import Stage
from tests.world.world import CI, World, tell_each

CHUNK = 100  # lives
# Rules in each life of a chunk. Most bugs need a few rules in the right order, so most lives are short: an hour then
# holds twice as many beginnings.
LENGTHS = (5, 5, 8, 8, 12, 30)
ENOUGH = 2000  # lives: so many should have met all there is
PRICED_EVERY = 3  # chunks: one of so many plays with fees, labels and adjustments
WARM_CHUNKS = 2  # of a process, before its memory is measured
LARGEST_GROWTH = 1.1


@dataclass(frozen=True)
class Played:
    """What a process says of a chunk. `memory`: what it has after it, MiB; `blocks`: what of it Python still uses."""

    seed: int
    lives: int
    met: Met
    process: int
    memory: float
    blocks: int
    failure: str | None = None


def play(start: int, lives: int, shrink: bool) -> Played:
    """Play `lives` lives from a seed, in a process of a pool."""
    if not hasattr(World, "stage"):
        silent()
        World.stage = Stage(Path(tempfile.mkdtemp(prefix="soak-", dir=fast_folder())) / "world.db")
        World.stage.set()
        gc.freeze()  # what lives as long as the process need not be looked at each time
        collect_rarely()
    met, failure = Met(), None

    counted = tell_each(PricedWorld if start % PRICED_EVERY == 0 else World, met.add)
    chosen = settings(
        CI,
        max_examples=lives,
        stateful_step_count=random.Random(start).choice(LENGTHS),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )
    try:
        run_state_machine_as_test(seed(start)(counted), settings=chosen)
    except Exception as error:  # noqa: BLE001 - told by the test that asked for it
        failure = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    gc.collect()
    return Played(start, lives, met, os.getpid(), _memory(), sys.getallocatedblocks(), failure)


def _memory() -> float:
    """Return how much memory this process has, MiB: its longest life decides, since little is given back."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_many_lives(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    lives, start = pytestconfig.getoption("--lives"), pytestconfig.getoption("--seed")
    chunks = [(start + number, min(CHUNK, lives - number * CHUNK)) for number in range(-(-lives // CHUNK))]
    processes = min(len(chunks), os.cpu_count() or 1)
    met, memory, began = Met(), 0.0, time.monotonic()
    blocks, failures = defaultdict[int, list[int]](list), list[str]()
    with capsys.disabled(), _bar() as bar:
        task = bar.add_task("lives", total=lives, speed="")
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(play, *chunk, len(chunks) == 1) for chunk in chunks]):
                played = done.result()
                if played.failure is not None:
                    again = f"pytest -m soak --lives {played.lives} --seed {played.seed}"
                    failures.append(f"{played.failure}\n\nReplay: {again}")
                    print(f"\n{failures[-1]}", file=sys.__stderr__, flush=True)
                met.join(played.met)
                memory = max(memory, played.memory)
                blocks[played.process].append(played.blocks)
                speed = f"{met.worlds / (time.monotonic() - began):.1f} lives/s, {memory:.0f} MiB"
                bar.update(task, completed=min(met.worlds, lives), speed=speed)
                if not bar.console.is_terminal:
                    print(f"{met.worlds} of {lives} lives, {speed}", file=sys.__stderr__, flush=True)
        seconds = time.monotonic() - began
        speed = f"{seconds:.0f} s, {met.worlds / seconds:.1f} lives/s"
        print(f"\n{met.report()}\nseeds {start} to {start + len(chunks) - 1}, {speed}")
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)
    if lives >= ENOUGH:
        assert not met.missing(), f"these were never met: {met.missing()}"
    for kept in blocks.values():
        if len(kept) > 2 * WARM_CHUNKS:
            assert kept[-1] <= LARGEST_GROWTH * kept[WARM_CHUNKS - 1], f"what Python uses grows: {kept} blocks"


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    console = Console(file=sys.__stderr__)
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, refresh_per_second=2)
