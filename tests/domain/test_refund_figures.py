"""Rates, waits and parts of a period, from counts alone."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.periods import Period
from returns_service.domain.refund_figures import DayFigures, parts_of, sum_days, waits_of
from returns_service.domain.refund_rate import is_above, is_above_so_far, quantile, refund_rate

DAY = date(2026, 11, 24)


def test_a_rate_at_the_limit_is_not_above_it_to_the_cent() -> None:
    assert not is_above(0.1, 1000, 10_000)
    assert is_above(0.1, 1001, 10_000)
    assert not is_above(0.07, 7 * 10**15, 10**17), "no float rounds it up"


def test_where_nothing_was_charged_there_is_no_rate_and_no_alarm() -> None:
    assert refund_rate(500, 0) is None
    assert not is_above(0.0, 500, 0)


def test_a_day_that_is_not_over_is_held_against_the_day_before() -> None:
    assert not is_above_so_far(0.1, 900, 100, 10_000)
    assert is_above_so_far(0.1, 1001, 100, 10_000)
    assert is_above_so_far(0.1, 200, 1000, 0)


@given(st.dictionaries(st.integers(0, 500), st.integers(1, 9), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_what_that_share_lies_within(counts: dict[int, int], share: float) -> None:
    everything = sorted(value for value, number in counts.items() for _ in range(number))
    found = quantile(counts, share)
    assert found is not None
    assert sum(value <= found for value in everything) >= share * len(everything)
    assert sum(value < found for value in everything) < share * len(everything)


def test_waits_leave_out_what_is_of_no_return_and_are_never_below_zero() -> None:
    waits = waits_of([(None, 50), (-3, 1), (24, 1), (72, 8)])
    assert waits is not None
    assert (waits.number, waits.half, waits.nine_of_ten) == (10, 72, 72)
    assert waits_of([(None, 5)]) is None


def test_sums_take_the_rate_of_days_whose_charges_are_known() -> None:
    days = [DayFigures(DAY, 1, 500, None), DayFigures(DAY, 2, 300, 1000), DayFigures(DAY, 0, 0, 2000)]
    total = sum_days(days)
    assert (total.number, total.refunded, total.charged, total.rate) == (3, 800, 3000, 0.1)
    assert sum_days(days[:1]).rate is None


def test_a_period_comes_in_days_weeks_or_months_that_make_it_up() -> None:
    for days, parts in ((1, 1), (7, 7), (14, 14), (30, 5), (90, 13), (366, 13)):
        period = Period(date.fromordinal(DAY.toordinal() - days + 1), DAY)
        found = parts_of(period)
        assert sum(part.days for part in found) == days
        assert (found[0].first, found[-1].last) == (period.first, period.last)
        assert abs(len(found) - parts) <= 1
