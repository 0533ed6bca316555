"""One stage for all worlds of a session, and no log in between."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.world.stage import Stage
from tests.world.world import OwnWorld


@pytest.fixture(scope="session")
def world_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage, on a file of its own."""
    stage = Stage(tmp_path_factory.mktemp("world") / "world.db")
    gc.freeze()  # what lives as long as the process need not be looked at each time
    yield stage
    stage.close()


@pytest.fixture(autouse=True)
def stage(world_stage: Stage) -> Iterator[Stage]:
    """The stage set, the service's log silent."""
    before, thresholds = structlog.get_config(), gc.get_threshold()
    silent()
    collect_rarely()
    world_stage.set()
    OwnWorld.stage = world_stage
    yield world_stage
    world_stage.strike()
    structlog.configure(**before)
    gc.set_threshold(*thresholds)


def silent() -> None:
    """Let the service log nothing: it would tell of every bad luck."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def collect_rarely() -> None:
    """Let the garbage of many steps be collected at once: most of it goes by itself."""
    gc.set_threshold(50_000, 10, 10)
