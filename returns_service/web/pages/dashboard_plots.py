"""The dashboard's plots: each a drawing, beside a table of the same figures, which is also its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from returns_service.domain.money import decimal_amount, format_amount
from returns_service.domain.periods import Period
from returns_service.domain.refund_figures import DayFigures, parts_of, waits_of
from returns_service.domain.return_machine import State
from returns_service.queries.dashboard import OpenReturns, RefundsOfDay, SkuBack
from returns_service.web.pages.charts import (
    BarKind,
    Drawing,
    Point,
    RowKind,
    draw_bars,
    draw_meters,
    draw_ranges,
)
from returns_service.web.pages.rendering import plural

AGE_LABELS: Final = ("0 to 2 days", "3 to 7 days", "8 to 14 days", "15 to 30 days", "over 30 days")
AGE_KINDS: Final[tuple[RowKind, ...]] = ("", "", "", "late", "over")
STATES: Final[Sequence[State]] = ("requested", "approved", "refunding", "failed")
HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name in the CSV and over it, and whether it holds figures."""

    name: str
    label: str
    figures: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or name as people read it, and as the CSV has it. `day`: it names one."""

    text: str
    value: str
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot. `said` tells in a sentence what it shows; `empty` stands where it would show nothing."""

    name: str
    title: str
    note: str
    said: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    drawing: Drawing | None = None
    empty: str = ""
    links: Sequence[str] = field(default=())  # of the rows, what to search for

    @property
    def file(self) -> str:
        """The name of its CSV."""
        return f"{self.name}.csv"


def say_day(day: date) -> str:
    """Return a day as `23 Nov 2026`."""
    return f"{day.day} {day:%b %Y}"


def say_days(period: Period) -> str:
    """Return a period as `27 Oct to 23 Nov 2026`, the year once where it is one."""
    if period.first == period.last:
        return say_day(period.last)
    first = f"{period.first.day} {period.first:%b}" if period.first.year == period.last.year else say_day(period.first)
    return f"{first} to {say_day(period.last)}"


def say_percent(rate: float | None) -> str:
    """Return a rate as `2.8 %`."""
    return "–" if rate is None else f"{100 * rate:,.1f} %"


def _name(text: str) -> Cell:
    return Cell(text, text)


def _number(number: int) -> Cell:
    return Cell(f"{number:,}", str(number))


def _amount(amount: int | None, currency: str) -> Cell:
    if amount is None:
        return Cell("not known", "")
    return Cell(format_amount(amount, currency), decimal_amount(amount, currency))


def plot_rate(days: Sequence[DayFigures], limit: float, currency: str, today: date) -> Plot:
    """Return the refund rate by day, the newest day first in its table."""
    points, rows = [], []
    for day in days:
        above, rate = day.is_above(limit), day.rate
        so_far = day.day == today
        kind: BarKind = "over" if above else "so-far" if so_far else ""
        mark = "today" if so_far else f"{day.day.day} {day.day:%b}"
        value = None if rate is None else 100 * rate
        points.append(Point(value, mark, say_percent(rate), f"{mark}: {say_percent(rate)}", kind))
        said = f"{say_day(day.day)}{', so far' if so_far else ''}"
        shown = f"{say_percent(rate)}{' above' if above else ''}" if rate is not None else "no charges"
        rows.append((
            Cell(said, day.day.isoformat(), day.day),
            _amount(day.refunded, currency),
            _amount(day.charged, currency),
            Cell(shown if day.charged is not None else "not known", "" if rate is None else f"{rate:.4f}"),
        ))  # fmt: skip
    known = [day for day in days if day.rate is not None]
    above_days = [day for day in days if day.is_above(limit)]
    line = f"Alert line {100 * limit:g} %"
    said = f"{plural(len(above_days), 'day')} of {len(days)} above the alert line of {100 * limit:g} percent."
    empty = "" if known else (
        "Nothing was charged in this time." if any(day.charged is not None for day in days)
        else "Stripe’s charges of this time are not counted yet. A worker counts them, the newest first."
    )  # fmt: skip
    return Plot(
        "rate", "Refund rate by day", f"Money refunded ÷ money captured that day, {currency.upper()}.", said,
        (Column("day", "Day", figures=False), Column("refunded", "Refunded"), Column("captured", "Captured"),
         Column("rate", "Rate")),
        rows[::-1], draw_bars(points, 100 * limit, line) if known else None, empty,
    )  # fmt: skip


def plot_money(rows: Sequence[OpenReturns], refunded: int, currency: str) -> Plot:
    """Return the value of what is open now by state, and what was refunded in the period."""
    amounts = {state: sum(row.amount for row in rows if row.state == state) for state in STATES}
    named: list[tuple[str, int, RowKind]] = [
        (state.capitalize(), amounts[state], "over" if state == "failed" else "") for state in STATES
    ]
    named.append(("Refunded", refunded, ""))
    shown = [(label, format_amount(amount, currency), amount, kind) for label, amount, kind in named]
    return Plot(
        "money", "Money by state",
        f"{currency.upper()}. Value of the returns in each state now; refunded: in this period.",
        f"{', '.join(f'{label} {text}' for label, text, _, _ in shown)}.",
        (Column("state", "State", figures=False), Column("value", "Value")),
        [(_name(label), _amount(amount, currency)) for label, amount, _ in named],
        draw_meters(shown) if any(amount for _, amount, _ in named) else None,
        "No return is open, and nothing was refunded in this period.",
    )  # fmt: skip


def plot_ages(rows: Sequence[OpenReturns]) -> Plot:
    """Return how old open returns are."""
    numbers = [sum(row.number for row in rows if row.age == age) for age in range(len(AGE_LABELS))]
    named = list(zip(AGE_LABELS, numbers, AGE_KINDS, strict=True))
    return Plot(
        "ages", "Age of what is open",
        "Days since the request, of returns requested, approved, refunding or failed now.",
        f"{', '.join(f'{label}: {number}' for label, number, _ in named)}.",
        (Column("age", "Age", figures=False), Column("returns", "Returns")),
        [(_name(label), _number(number)) for label, number, _ in named],
        draw_meters([(label, f"{number:,}", number, kind) for label, number, kind in named]) if any(numbers) else None,
        "No return is open.",
    )  # fmt: skip


def label_of(reason: str | None, labels: Mapping[str, str]) -> str:
    """Return how a reason is spoken of; `""`: a reason that the catalogue lacks, None: none was given."""
    if reason is None:
        return "None given"
    return labels.get(reason, reason) if reason else "In other words"


def plot_reasons(units: Mapping[str | None, int], labels: Mapping[str, str]) -> Plot:
    """Return why units came back, most first."""
    total = sum(units.values())
    ranked = sorted(units.items(), key=lambda pair: (-pair[1], label_of(pair[0], labels)))
    named = [
        (label_of(reason, labels), number, f"{number:,} · {100 * number / total:.0f} %") for reason, number in ranked
    ]
    return Plot(
        "reasons", "Reasons", f"Why the {plural(total, 'unit')} came back that the dock counted in this period.",
        f"{', '.join(f'{label} {number}' for label, number, _ in named)}.",
        (Column("reason", "Reason", figures=False), Column("units", "Units")),
        [(_name(label), Cell(text, str(number))) for label, number, text in named],
        draw_meters([(label, text, number, "") for label, number, text in named]) if total else None,
        "No parcel was counted in this period.",
    )  # fmt: skip


def plot_waits(refunds: Sequence[RefundsOfDay], period: Period) -> Plot:
    """Return how long customers waited from their request to the refund, by the time of the refund."""
    parts = parts_of(period)
    named = []
    for part in parts:
        waits = waits_of((refund.hours, refund.number) for refund in refunds if refund.day in part)
        named.append((_short(part), part, waits))
    rows = [
        (
            Cell(say_days(part), part.first.isoformat()),
            Cell(f"{waits.number:,}" if waits else "0", str(waits.number) if waits else "0"),
            Cell(f"{waits.half / HOURS:.1f} days" if waits else "–", f"{waits.half / HOURS:.1f}" if waits else ""),
            Cell(
                f"{waits.nine_of_ten / HOURS:.1f} days" if waits else "–",
                f"{waits.nine_of_ten / HOURS:.1f}" if waits else "",
            ),
        )
        for _, part, waits in named
    ]
    drawn = [(label, (waits.half / HOURS, waits.nine_of_ten / HOURS) if waits else None) for label, _, waits in named]
    all_waits = waits_of((refund.hours, refund.number) for refund in refunds)
    said = f"Half within {all_waits.half / HOURS:.1f} days, nine of ten within {all_waits.nine_of_ten / HOURS:.1f}." \
        if all_waits else ""  # fmt: skip
    return Plot(
        "waits", "From request to refund",
        "Days, by when Stripe made the refund. Full dot: half are within. Open dot: nine of ten are.", said,
        (Column("from", "Refunded", figures=False), Column("refunds", "Refunds"), Column("half_days", "Half within"),
         Column("nine_of_ten_days", "Nine of ten within")),
        rows[::-1], draw_ranges(drawn) if all_waits else None, "No return was refunded in this period.",
    )  # fmt: skip


def _short(part: Period) -> str:
    """Return a part of a period for a narrow gutter: `2–8 Nov`, `30 Nov–6 Dec`, `2 Nov`."""
    last = f"{part.last.day} {part.last:%b}"
    if part.first == part.last:
        return last
    return f"{part.first.day}{'' if part.first.month == part.last.month else f' {part.first:%b}'}–{last}"


def plot_skus(skus: Sequence[SkuBack], why: Mapping[str, str | None], labels: Mapping[str, str], currency: str) -> Plot:
    """Return the SKUs that come back most."""
    rows = [
        (
            Cell(row.title or row.sku, row.sku),
            _name(label_of(why.get(row.sku), labels)),
            _number(row.units),
            _amount(row.amount, currency),
        )
        for row in skus
    ]
    return Plot(
        "skus", "SKUs that come back most", "Units that the dock counted in this period.", "",
        (Column("sku", "SKU", figures=False), Column("reason", "Most given reason", figures=False),
         Column("units", "Units back"), Column("paid", "Paid for them")),
        rows, None, "No parcel was counted in this period.", [row.sku for row in skus],
    )  # fmt: skip
