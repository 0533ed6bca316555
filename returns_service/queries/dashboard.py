"""What the dashboard shows: each figure by one statement over a period's own rows, found by an index on time.

Refunds are found by when Stripe made them, counts of the dock by their sortable ids, what is open by its state: a
period of thirty days reads nothing older. Amounts are minor units of one currency.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Interval, String, case, cast, extract, func, literal, select, union_all
from sqlmodel import col

from returns_service.commands.refund_rate import refunded_between
from returns_service.domain.periods import Period, begin_of, end_of, offsets_in
from returns_service.domain.return_machine import State
from returns_service.store.database import Tx
from returns_service.store.ids import first_id
from returns_service.store.tables import ChargeTotal, Receipt, ReceiptLine, Refund, ReturnAuthorization, ReturnLine

OPEN_STATES: Final[tuple[State, ...]] = ("requested", "approved", "refunding", "failed")
AGES: Final = (3, 8, 15, 31)  # days from which an open return belongs to the next group
MOST_SKUS: Final = 10
_ROW: Final = ReturnAuthorization


class RefundsOfDay(NamedTuple):
    """Refunds of one day that took equally long from the request on; `hours` None: of no return."""

    day: date
    hours: int | None
    number: int
    amount: int


class OpenReturns(NamedTuple):
    """Open returns in one state and of one group of ages (a position in AGES, or past its end)."""

    state: State
    age: int
    number: int
    amount: int


class SkuBack(NamedTuple):
    """A SKU's units that came back, and what the customers had paid for them."""

    sku: str
    title: str | None
    units: int
    amount: int


async def currencies_between(tx: Tx, begin: datetime, end: datetime) -> list[str]:
    """Return the currencies that a period or what is open has money in, the one with the most refunds first."""
    made_at, begins_at = col(Refund.stripe_created_at), col(ChargeTotal.begins_at)
    refunds: Any = select(col(Refund.currency).label("currency"), func.count().label("number"))
    charges = select(col(ChargeTotal.currency), literal(0)).where(begins_at >= begin, begins_at < end)
    returns = select(col(_ROW.currency), literal(0)).where(col(_ROW.state).in_(OPEN_STATES))
    found = union_all(
        refunds.where(made_at >= begin, made_at < end).group_by(col(Refund.currency)),
        charges.group_by(col(ChargeTotal.currency)),
        returns.group_by(col(_ROW.currency)),
    ).subquery()
    ranked = select(found.c.currency).group_by(found.c.currency)
    ranked = ranked.order_by(func.sum(found.c.number).desc(), found.c.currency)
    return list((await tx.execute(ranked)).scalars().all())


async def refunds_by_day(tx: Tx, period: Period, zone: ZoneInfo, currency: str) -> list[RefundsOfDay]:
    """Return what Stripe refunded, by the day in `zone` and the hours from the return's request on."""
    begin, end, made_at = begin_of(period.first, zone), end_of(period.last, zone), col(Refund.stripe_created_at)
    hours = (_unix(tx, made_at) - _unix(tx, col(_ROW.created_at))) // 3600  # null without a return
    rows = (
        select(
            _day(tx, made_at, begin, end, zone).label("day"),
            hours.label("hours"),
            col(Refund.amount).label("amount"),
        )
        .select_from(Refund)
        .outerjoin(_ROW, col(_ROW.id) == col(Refund.return_id))
        .where(refunded_between(begin, end), col(Refund.currency) == currency)
        .subquery()
    )
    summed = select(rows.c.day, rows.c.hours, func.count(), func.sum(rows.c.amount)).group_by(rows.c.day, rows.c.hours)
    found = (await tx.execute(summed)).all()
    return [RefundsOfDay(date.fromisoformat(day), hours, number, int(amount)) for day, hours, number, amount in found]


async def charges_by_day(tx: Tx, period: Period, zone: ZoneInfo, currency: str) -> Mapping[date, int]:
    """Return what Stripe's charges captured, by the day in `zone`."""
    begin, end, begins_at = begin_of(period.first, zone), end_of(period.last, zone), col(ChargeTotal.begins_at)
    rows = (
        select(_day(tx, begins_at, begin, end, zone).label("day"), col(ChargeTotal.amount).label("amount"))
        .where(begins_at >= begin, begins_at < end, col(ChargeTotal.currency) == currency)
        .subquery()
    )
    found = (await tx.execute(select(rows.c.day, func.sum(rows.c.amount)).group_by(rows.c.day))).all()
    return {date.fromisoformat(day): int(amount) for day, amount in found}


async def open_returns(tx: Tx, currency: str) -> list[OpenReturns]:
    """Return what is open now, by state and age: how many, and what they are worth as they were asked for."""
    lines = select(func.coalesce(func.sum(col(ReturnLine.total_amount)), 0))
    lines = lines.where(col(ReturnLine.return_id) == col(_ROW.id)).correlate(_ROW)
    since = [(col(_ROW.created_at) > tx.now - timedelta(days=days), place) for place, days in enumerate(AGES)]
    rows = (
        select(
            col(_ROW.state).label("state"),
            case(*since, else_=len(AGES)).label("age"),
            (col(_ROW.shipping_amount) + lines.scalar_subquery()).label("amount"),
        )
        # `lower`: without it SQLite goes by the currency, which nearly all returns share, not by the state
        .where(col(_ROW.state).in_(OPEN_STATES), func.lower(col(_ROW.currency)) == currency)
        .subquery()
    )
    summed = select(rows.c.state, rows.c.age, func.count(), func.sum(rows.c.amount)).group_by(rows.c.state, rows.c.age)
    found = (await tx.execute(summed)).all()
    return [OpenReturns(state, age, number, int(amount)) for state, age, number, amount in found]


async def units_by_reason(
    tx: Tx, begin: datetime, end: datetime, currency: str, catalogue: Collection[str]
) -> Mapping[str | None, int]:
    """Return how many units came back, by a reason of the catalogue; `""`: another one, None: none was given."""
    reason = _reason(catalogue)
    rows = _units_back(
        begin, end, currency, reason.label("reason"), col(ReceiptLine.quantity).label("units")
    ).subquery()
    found = (await tx.execute(select(rows.c.reason, func.sum(rows.c.units)).group_by(rows.c.reason))).all()
    return {reason: int(units) for reason, units in found}


async def skus_back(tx: Tx, begin: datetime, end: datetime, currency: str) -> list[SkuBack]:
    """Return the SKUs of which most units came back, up to MOST_SKUS, most units first."""
    paid = col(ReturnLine.total_amount) * col(ReceiptLine.quantity) // col(ReturnLine.quantity)
    rows = _units_back(
        begin, end, currency,
        col(ReturnLine.sku).label("sku"), col(ReturnLine.title).label("title"),
        col(ReceiptLine.quantity).label("units"), paid.label("amount"),
    ).subquery()  # fmt: skip
    units = func.sum(rows.c.units)
    ranked = select(rows.c.sku, func.max(rows.c.title), units, func.sum(rows.c.amount)).group_by(rows.c.sku)
    found = (await tx.execute(ranked.order_by(units.desc(), rows.c.sku).limit(MOST_SKUS))).all()
    return [SkuBack(sku, title, int(units), int(amount)) for sku, title, units, amount in found]


async def reasons_of_skus(
    tx: Tx, begin: datetime, end: datetime, currency: str, catalogue: Collection[str], skus: Sequence[str]
) -> Mapping[str, str | None]:
    """Return the reason that most units of each SKU came back for, as in `units_by_reason`."""
    rows = _units_back(
        begin, end, currency,
        col(ReturnLine.sku).label("sku"), _reason(catalogue).label("reason"), col(ReceiptLine.quantity).label("units"),
    ).where(col(ReturnLine.sku).in_(skus)).subquery()  # fmt: skip
    units = func.sum(rows.c.units)
    ranked = select(rows.c.sku, rows.c.reason).group_by(rows.c.sku, rows.c.reason).order_by(units, rows.c.reason)
    found = (await tx.execute(ranked)).all()
    return {row[0]: row[1] for row in found}  # of each SKU the last one: with most units


def _units_back(begin: datetime, end: datetime, currency: str, *columns: Any) -> Any:
    """Return the statement over units that the dock counted in a time, without missing ones and undone counts."""
    receipt_id = col(Receipt.id)
    return (
        select(*columns)
        .select_from(Receipt)
        .join(ReceiptLine, col(ReceiptLine.receipt_id) == receipt_id)
        .join(ReturnLine, col(ReturnLine.id) == col(ReceiptLine.line_id))
        .join(_ROW, col(_ROW.id) == col(Receipt.return_id))
        .where(
            receipt_id >= first_id("rcp", begin),
            receipt_id < first_id("rcp", end),
            col(Receipt.reversed_at).is_(None),
            col(ReceiptLine.condition) != "missing",
            col(_ROW.currency) == currency,
        )
    )


def _reason(catalogue: Collection[str]) -> Any:
    """Return a unit's reason: its line's, else its return's; `""` for one that the catalogue lacks."""
    given = func.coalesce(col(ReturnLine.reason), col(_ROW.reason))
    listed = given.in_(list(catalogue))
    return case((given.is_(None), cast(None, String)), (listed, given), else_=literal("", String()))


def _day(tx: Tx, moment: Any, begin: datetime, end: datetime, zone: ZoneInfo) -> Any:
    """Return the day in `zone` (`2026-11-23`) of a moment between two, whatever the database knows of zones."""
    offsets = offsets_in(begin, end, zone)
    days = [_shifted_day(tx, moment, seconds) for _, seconds in offsets]
    ends = [moment < ends_at for ends_at, _ in offsets[1:]]
    return case(*zip(ends, days, strict=False), else_=days[-1]) if ends else days[-1]


def _shifted_day(tx: Tx, moment: Any, seconds: int) -> Any:
    if tx.database.postgresql:
        there = func.timezone("UTC", moment) + literal(timedelta(seconds=seconds), Interval())
        return func.to_char(there, "YYYY-MM-DD")
    return func.date(moment, f"{seconds:+d} seconds")


def _unix(tx: Tx, moment: Any) -> Any:
    """Return a moment in whole seconds since 1970."""
    if tx.database.postgresql:
        return cast(func.floor(extract("epoch", moment)), BigInteger)
    return cast(func.strftime("%s", moment), BigInteger)
