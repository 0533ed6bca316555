"""A seed for what these tests draw: which process dies, and when."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of a test's draws, shown if it fails. Replayed by `--kill-seed`, but for the machine's own timing."""
    chosen = pytestconfig.getoption("--kill-seed")
    number = random.SystemRandom().randrange(1_000_000) if chosen is None else int(chosen)
    print(f"replay: pytest tests/processes --kill-seed {number}")
    return number
