"""The dashboard: how much is refunded, why, how long it takes; a period beside the one before, in one currency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from litestar import Response

from returns_service.commands.charge_totals import CountedSpan, counted_span
from returns_service.domain.periods import Period, begin_of, day_at, end_of
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_figures import DayFigures, PeriodFigures, Waits, sum_days, waits_of
from returns_service.domain.roles import APPROVE, PAY
from returns_service.queries.dashboard import (
    OpenReturns,
    RefundsOfDay,
    charges_by_day,
    currencies_between,
    open_returns,
    reasons_of_skus,
    refunds_by_day,
    skus_back,
    units_by_reason,
)
from returns_service.store.database import Tx
from returns_service.web.pages.dashboard_plots import (
    Plot,
    plot_ages,
    plot_money,
    plot_rate,
    plot_reasons,
    plot_skus,
    plot_waits,
    say_days,
)
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.rendering import render, zone_name
from returns_service.web.pages.returns import csv_lines

USUAL_DAYS: Final = (7, 30, 90)
DEFAULT_DAYS: Final = 30
LONGEST_DAYS: Final = 366
OLD_AFTER: Final = 3  # groups of ages: what is older than 14 days is late


@dataclass(frozen=True, slots=True)
class Choice:
    """What an address asks for: a period, how many days it counts back from today (0: it has own ends), a currency."""

    period: Period
    days: int
    currency: str | None
    problem: str = ""  # why the own ends in the address were not taken

    def parameters(self, **changes: str) -> str:
        """Return the query string of this choice with some parameters changed; an empty one is left out."""
        ends = {"from": self.period.first.isoformat(), "to": self.period.last.isoformat()}
        given = {"days": str(self.days)} if self.days else ends
        kept = {name: value for name, value in ({**given, "currency": self.currency or ""} | changes).items() if value}
        return f"?{urlencode(kept)}"


@dataclass(frozen=True, slots=True)
class Shown:
    """All figures of a period and the one before, in one currency."""

    currency: str
    days: Sequence[DayFigures]
    before: Sequence[DayFigures]
    refunds: Sequence[RefundsOfDay]
    refunds_before: Sequence[RefundsOfDay]
    open: Sequence[OpenReturns]
    plots: Sequence[Plot]
    skus: Plot

    @property
    def total(self) -> PeriodFigures:
        """The sums of the period."""
        return sum_days(self.days)

    @property
    def total_before(self) -> PeriodFigures:
        """The sums of the period before."""
        return sum_days(self.before)

    @property
    def waits(self) -> Waits | None:
        """How long customers waited."""
        return waits_of((refund.hours, refund.number) for refund in self.refunds)

    @property
    def waits_before(self) -> Waits | None:
        """How long customers waited in the period before."""
        return waits_of((refund.hours, refund.number) for refund in self.refunds_before)

    @property
    def open_number(self) -> int:
        """How many returns are open."""
        return sum(row.number for row in self.open)

    @property
    def late_number(self) -> int:
        """How many of them are older than 14 days."""
        return sum(row.number for row in self.open if row.age >= OLD_AFTER)


@shows("/dashboard", scope=PAY, or_scope=APPROVE, personal=True)
async def show_dashboard(call: PageCall) -> Response[Any]:
    """Show a period's figures."""
    policy, zone = call.context.policy, ZoneInfo(call.context.policy.time_zone)
    choice = read_choice(call, zone)
    async with call.context.database.reading() as tx:
        currencies = await _currencies(tx, choice.period, zone)
        choice = _in_currency(choice, currencies)
        span = await counted_span(tx)
        shown = await _read(tx, policy, choice, choice.currency, span) if choice.currency else None
    above = [day for day in shown.days if day.is_above(policy.refund_rate_alert)] if shown else []
    return render(
        call, "dashboard.html", choice=choice, shown=shown, currencies=sorted(currencies), usual=USUAL_DAYS,
        above=above[::-1], limit=policy.refund_rate_alert, zone_words=policy.time_zone, say_days=say_days,
        typed={name: call.query(name) for name in ("from", "to")} if choice.problem else {},
        counted_until=_clock(span.end, zone) if span else "", today=day_at(call.context.database.now(), zone),
    )  # fmt: skip


@shows("/dashboard/{file:str}", scope=PAY, or_scope=APPROVE, personal=True)
async def export_plot(call: PageCall) -> Response[Any]:
    """Answer what one plot shows as CSV."""
    policy, zone = call.context.policy, ZoneInfo(call.context.policy.time_zone)
    choice, file = read_choice(call, zone), call.path("file")
    if file not in FILES:
        raise Problem("not_found")
    async with call.context.database.reading() as tx:
        choice = _in_currency(choice, await _currencies(tx, choice.period, zone))
        if choice.currency is None:
            raise Problem("not_found")
        shown = await _read(tx, policy, choice, choice.currency, await counted_span(tx))
    plot = next(plot for plot in (*shown.plots, shown.skus) if plot.file == file)
    ends = f"{choice.period.first}-{choice.period.last}"
    headers = {
        "Content-Disposition": f'attachment; filename="{plot.name}-{choice.currency}-{ends}.csv"',
        "Cache-Control": "no-store",
    }
    rows = [[column.name for column in plot.columns], *([cell.value for cell in row] for row in plot.rows)]
    return Response(csv_lines(rows), media_type="text/csv", headers=headers)


FILES: Final = frozenset({"rate.csv", "money.csv", "ages.csv", "reasons.csv", "waits.csv", "skus.csv"})


def read_choice(call: PageCall, zone: ZoneInfo) -> Choice:
    """Return what the address asks for, in days of `zone`; what it can't mean gives way to the last 30 days."""
    today = day_at(call.context.database.now(), zone)
    currency = call.query("currency").lower() or None
    first, last = call.query("from"), call.query("to")
    if first or last:
        period = _own_period(first, last or today.isoformat(), today)
        if isinstance(period, Period):
            usual = period.last == today and period.days in USUAL_DAYS
            return Choice(period, period.days if usual else 0, currency)
        return Choice(_days_until(today, DEFAULT_DAYS), DEFAULT_DAYS, currency, period)
    days = next((days for days in USUAL_DAYS if str(days) == call.query("days")), DEFAULT_DAYS)
    return Choice(_days_until(today, days), days, currency)


def _days_until(today: date, days: int) -> Period:
    return Period(date.fromordinal(today.toordinal() - days + 1), today)


def _own_period(first: str, last: str, today: date) -> Period | str:
    """Return the period between two days, or what is wrong with them."""
    try:
        period = Period(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        return "Choose a first and a last day."
    if period.first > period.last:
        return "Choose a first day that is not after the last one."
    if period.last > today:
        return "Choose a last day that is not ahead."
    if period.days > LONGEST_DAYS or period.first.year < 2010:  # before Stripe nothing was refunded there
        return f"Choose at most {LONGEST_DAYS} days."
    return period


async def _currencies(tx: Tx, period: Period, zone: ZoneInfo) -> list[str]:
    return await currencies_between(tx, begin_of(period.before.first, zone), end_of(period.last, zone))


def _in_currency(choice: Choice, currencies: Sequence[str]) -> Choice:
    """Return the choice in a currency that is there: the one asked for, else the one with the most refunds."""
    chosen = choice.currency if choice.currency in currencies else next(iter(currencies), None)
    return Choice(choice.period, choice.days, chosen, choice.problem)


async def _read(tx: Tx, policy: Policy, choice: Choice, currency: str, span: CountedSpan | None) -> Shown:
    zone, period = ZoneInfo(policy.time_zone), choice.period
    whole = Period(period.before.first, period.last)
    begin, end = begin_of(period.first, zone), end_of(period.last, zone)
    refunds = await refunds_by_day(tx, whole, zone, currency)
    charges = await charges_by_day(tx, whole, zone, currency)
    is_open = await open_returns(tx, currency)
    reasons = await units_by_reason(tx, begin, end, currency, policy.reasons)
    skus = await skus_back(tx, begin, end, currency)
    why = await reasons_of_skus(tx, begin, end, currency, policy.reasons, [sku.sku for sku in skus])
    labels = {reason: entry.label for reason, entry in policy.reasons.items()}
    days = _figures_of(whole, refunds, charges, span, zone, tx.now)
    of_period = [refund for refund in refunds if refund.day in period]
    mine, before = days[period.days :], days[: period.days]
    today = day_at(tx.now, zone)
    return Shown(
        currency, mine, before, of_period, [refund for refund in refunds if refund.day not in period], is_open,
        (
            plot_rate(mine, policy.refund_rate_alert, currency, today),
            plot_money(is_open, sum_days(mine).refunded, currency),
            plot_ages(is_open),
            plot_reasons(reasons, labels),
            plot_waits(of_period, period),
        ),
        plot_skus(skus, why, labels, currency),
    )  # fmt: skip


def _figures_of(
    period: Period,
    refunds: Sequence[RefundsOfDay],
    charges: Mapping[date, int],
    span: CountedSpan | None,
    zone: ZoneInfo,
    now: datetime,
) -> list[DayFigures]:
    """Return each day's figures; its charges only where they are known, of today as far as they were counted."""
    numbers, amounts = Counter[date](), Counter[date]()
    for refund in refunds:
        numbers[refund.day] += refund.number
        amounts[refund.day] += refund.amount
    figures = []
    for day in period:
        begin, end = begin_of(day, zone), end_of(day, zone)
        known = span is not None and span.begin <= begin and (end if end <= now else begin) <= span.end
        figures.append(DayFigures(day, numbers[day], amounts[day], charges.get(day, 0) if known else None))
    return figures


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    there = moment.astimezone(zone)
    return f"{there:%H:%M} {zone_name(there)}"


PAGES: Final[tuple[Page, ...]] = (show_dashboard, export_plot)
