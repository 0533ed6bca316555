"""A migrated database of each kind, on a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from returns_service.store.database import Database
from tests.harness.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(database_url: str, clock: Clock) -> AsyncIterator[Database]:
    made = Database(database_url, now=clock)
    yield made
    await made.close()


@pytest.fixture
async def postgresql(postgresql_url: str, clock: Clock) -> AsyncIterator[Database]:
    made = Database(postgresql_url, now=clock, pool_size=20)
    yield made
    await made.close()
