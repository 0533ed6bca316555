"""A clock that stands until it is turned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock:
    """The time of a service and of its Stripe, UTC; called, it tells it."""

    def __init__(self, time: datetime = NOON) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time

    def unix(self) -> float:
        """Return the time, seconds since 1970 (UTC)."""
        return self.time.timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)
