"""Periods are whole days of one zone, however its clocks are turned."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from returns_service.domain.periods import Period, begin_of, day_at, end_of, offsets_in, quarter_of


def test_a_period_and_the_one_before_touch_and_are_equally_long() -> None:
    period = Period(date(2026, 11, 1), date(2026, 11, 30))
    assert period.days == 30
    assert period.before == Period(date(2026, 10, 2), date(2026, 10, 31))
    assert list(period)[0::29] == [period.first, period.last]
    assert date(2026, 11, 30) in period
    assert date(2026, 12, 1) not in period


@pytest.mark.parametrize(
    "zone, day, hours",
    [
        ("UTC", date(2026, 11, 24), 24),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("America/Santiago", date(2026, 9, 6), 23),  # its clocks skip midnight
        ("Asia/Kathmandu", date(2026, 11, 24), 24),
    ],
)
def test_a_day_begins_where_the_one_before_ends(zone: str, day: date, hours: int) -> None:
    there = ZoneInfo(zone)
    begin, end = begin_of(day, there), end_of(day, there)
    assert end - begin == timedelta(hours=hours)
    assert day_at(begin, there) == day
    assert day_at(begin - timedelta(seconds=1), there) == day - timedelta(days=1)
    assert day_at(end - timedelta(seconds=1), there) == day
    assert quarter_of(begin) == begin


def test_offsets_say_when_clocks_are_turned() -> None:
    begin, end = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    assert offsets_in(begin, end, ZoneInfo("Europe/Berlin")) == [
        (begin, 7200),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), 3600),
    ]
    assert offsets_in(begin, end, ZoneInfo("Asia/Kathmandu")) == [(begin, 20_700)]


def test_offsets_agree_with_the_zone_all_year() -> None:
    zone = ZoneInfo("America/New_York")
    begin, end = begin_of(date(2026, 1, 1), zone), begin_of(date(2027, 1, 1), zone)
    found = offsets_in(begin, end, zone)
    assert len(found) == 3
    for hours in range(0, 8760, 5):
        moment = begin + timedelta(hours=hours)
        offset = [seconds for since, seconds in found if since <= moment][-1]
        assert (moment + timedelta(seconds=offset)).date() == day_at(moment, zone)
