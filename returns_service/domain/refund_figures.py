"""The refunds of a period as figures: by day, in all, and how long the customers waited. Amounts are minor units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from returns_service.domain.periods import Period
from returns_service.domain.refund_rate import is_above, quantile, refund_rate

LONGEST_BY_DAY = 14  # days of a period whose waits are told day by day
LONGEST_BY_WEEK = 98


@dataclass(frozen=True, slots=True)
class DayFigures:
    """What was refunded and charged on one day. `charged` None: it is not known."""

    day: date
    number: int
    refunded: int
    charged: int | None

    @property
    def rate(self) -> float | None:
        """The day's refund rate; None where it is not known, or nothing was charged."""
        return None if self.charged is None else refund_rate(self.refunded, self.charged)

    def is_above(self, limit: float) -> bool:
        """Return whether the day is above the policy's limit."""
        return self.charged is not None and is_above(limit, self.refunded, self.charged)


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """The sums of some days. `rate` and `charged` are of the days whose charges are known; None: of none."""

    number: int
    refunded: int
    charged: int | None
    rate: float | None


def sum_days(days: Sequence[DayFigures]) -> PeriodFigures:
    """Return the sums of some days."""
    known = [day for day in days if day.charged is not None]
    charged = sum(day.charged or 0 for day in known)
    return PeriodFigures(
        number=sum(day.number for day in days),
        refunded=sum(day.refunded for day in days),
        charged=charged if known else None,
        rate=refund_rate(sum(day.refunded for day in known), charged) if known else None,
    )


@dataclass(frozen=True, slots=True)
class Waits:
    """How many hours the customers of some refunds had waited: half of them at most, nine of ten at most."""

    number: int
    half: int
    nine_of_ten: int


def waits_of(counts: Iterable[tuple[int | None, int]]) -> Waits | None:
    """Return the waits among pairs of hours and how many refunds took so long; None where no return is among them."""
    by_hours: Counter[int] = Counter()
    for hours, number in counts:
        if hours is not None:
            by_hours[max(0, hours)] += number  # a refund made outside may be older than the return it was assigned to
    half, nine_of_ten = quantile(by_hours, 0.5), quantile(by_hours, 0.9)
    if half is None or nine_of_ten is None:
        return None
    return Waits(by_hours.total(), half, nine_of_ten)


def parts_of(period: Period) -> list[Period]:
    """Return a period in parts that a plot has room for: days, else calendar weeks (from Monday), else months."""
    parts: list[Period] = []
    for day in period:
        begins = period.days <= LONGEST_BY_DAY or (
            day.weekday() == 0 if period.days <= LONGEST_BY_WEEK else day.day == 1
        )
        if begins or not parts:
            parts.append(Period(day, day))
        else:
            parts[-1] = Period(parts[-1].first, day)
    return parts
