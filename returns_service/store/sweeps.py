"""Whose turn it is: the rows by which workers share what is done now and then."""

from __future__ import annotations

from datetime import datetime, timedelta

from returns_service.store.tables import Sweep


def is_waiting(row: Sweep, now: datetime, every_seconds: float, lease_seconds: float) -> bool:
    """Return whether the sweep's time has not come yet, or another worker is at it.

    A time further ahead than we ever set one was set by a clock that was set back since: it counts for nothing.
    """
    ahead = ((row.next_at, every_seconds), (row.lease_until, lease_seconds))
    return any(moment is not None and now < moment <= now + timedelta(seconds=most) for moment, most in ahead)
