"""What time it is: one clock for all leases and schedules, whatever the machines' own clocks say."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Now = Callable[[], datetime]
# CLOCK_BOOTTIME goes on while a laptop sleeps; elsewhere the monotonic clock has to do.
BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def elapsed_seconds() -> float:
    """Return seconds that never jump: the base of all durations."""
    return time.clock_gettime(BOOT) if BOOT is not None else time.monotonic()


def machine_time() -> datetime:
    """Return this machine's idea of UTC."""
    return datetime.now(UTC)


class SharedClock:
    """PostgreSQL's clock, kept in between by this machine's monotonic one.

    Why: wall clocks of machines differ and jump; a lease must end at one moment for all. The difference to the
    database's clock is at most one round trip, and is measured again with each `set`.
    """

    RESET_SECONDS = 30.0

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._since = 0.0

    def __call__(self) -> datetime:
        return self._at + timedelta(seconds=elapsed_seconds() - self._since) if self._at else machine_time()

    @property
    def is_stale(self) -> bool:
        """Whether the database should be asked again."""
        return self._at is None or elapsed_seconds() - self._since > self.RESET_SECONDS

    def set(self, told: datetime, asked_at: float) -> None:
        """Take the time that the database told between `asked_at` (monotonic seconds) and now."""
        self._at, self._since = told, (asked_at + elapsed_seconds()) / 2
