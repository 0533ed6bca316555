"""Runs of whole days in one time zone, and the moments (UTC) at which they begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

QUARTER_SECONDS = 900  # every zone's day begins on a quarter of an hour of UTC


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days; the first and the last one belong to it."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """The period of as many days that ends where this one begins."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    def __iter__(self) -> Iterator[date]:
        """Yield its days, the first one first."""
        return (self.first + timedelta(days=n) for n in range(self.days))

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last


def day_at(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day that it is in `zone` at a moment."""
    return moment.astimezone(zone).date()


def begin_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment (UTC) at which a day begins in `zone`, also where its clocks skip midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment (UTC) at which a day has ended in `zone`."""
    return begin_of(day + timedelta(days=1), zone)


def quarter_of(moment: datetime) -> datetime:
    """Return the begin (UTC) of the quarter of an hour that a moment lies in."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % QUARTER_SECONDS, UTC)


def offsets_in(begin: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, int]]:
    """Return the distances from UTC (seconds) in `zone` between two moments, each with when (UTC) it begins to hold."""
    found: list[tuple[datetime, int]] = []
    moment, step = quarter_of(begin), timedelta(days=1)
    while moment < end:
        offset = _offset(moment, zone)
        if found and offset != found[-1][1]:  # it changed within the step that led here: where?
            moment -= step
            while _offset(moment, zone) == found[-1][1]:
                moment += timedelta(seconds=QUARTER_SECONDS)
        if not found or offset != found[-1][1]:
            found.append((moment, _offset(moment, zone)))
        moment += step
    return found


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    return int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds())
