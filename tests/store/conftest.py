"""A migrated database of each kind, on a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from returns_service.store.database import Database


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


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
