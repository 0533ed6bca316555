"""The refund rate of each day, and the one event that tells when it is above what the policy expects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, select
from sqlmodel import col

from returns_service.commands.charge_totals import counted_span
from returns_service.domain.periods import begin_of, day_at, end_of
from returns_service.domain.policy import Policy
from returns_service.domain.refund_rate import is_above, is_above_so_far, refund_rate
from returns_service.domain.refund_status import FINAL
from returns_service.return_case.events import Actor, record, to_json_object
from returns_service.return_case.views.event_data import RefundRateData
from returns_service.store.database import Tx
from returns_service.store.tables import ChargeTotal, Event, Refund, Sweep

ADAY: Final = timedelta(days=1)
TOLD_SINCE: Final = timedelta(days=4)  # events about yesterday or today are younger than that in every time zone


def refunded_between(begin: datetime, end: datetime) -> Any:
    """Return the condition of refunds that Stripe made between two moments, and that nothing undid since."""
    made_at = col(Refund.stripe_created_at)
    # Said by what it is not: else SQLite would read all of history by its index on the status.
    return and_(made_at >= begin, made_at < end, col(Refund.status).not_in(FINAL))


async def judge_refund_rate(tx: Tx, by: Actor, policy: Policy) -> int:
    """Record which currencies are above the policy's limit, today and yesterday, each day once; return how many."""
    await tx.get_one(Sweep, "charges", with_for_update=True)  # one worker at a time, so that each day is recorded once
    span, zone = await counted_span(tx), ZoneInfo(policy.time_zone)
    if span is None:
        return 0
    today = day_at(tx.now, zone)
    yesterday = today - ADAY
    if not span.holds(begin_of(yesterday, zone), end_of(yesterday, zone)):
        return 0  # it is not known yet what a day like this one charges
    refunded = {day: await _sum_refunds(tx, day, zone) for day in (yesterday, today)}
    charged = {day: await _sum_charges(tx, day, zone) for day in (yesterday, today)}
    told, number = await _read_told_days(tx), 0
    for day in (yesterday, today):
        for currency, amount in sorted(refunded[day].items()):
            of_day, of_yesterday = charged[day].get(currency, 0), charged[yesterday].get(currency, 0)
            so_far = day == today
            if so_far:
                above = is_above_so_far(policy.refund_rate_alert, amount, of_day, of_yesterday)
            else:
                above = is_above(policy.refund_rate_alert, amount, of_day)
            if above and (day.isoformat(), currency) not in told:
                said = RefundRateData(
                    day=day.isoformat(), time_zone=policy.time_zone, so_far=so_far, currency=currency,
                    amount_refunded=amount, amount_charged=of_day, refund_rate=refund_rate(amount, of_day),
                    refund_rate_alert=policy.refund_rate_alert,
                )  # fmt: skip
                await record(tx, by, "refund_rate.exceeded", data=to_json_object(said))
                number += 1
    return number


async def _sum_refunds(tx: Tx, day: date, zone: ZoneInfo) -> Mapping[str, int]:
    chosen = select(col(Refund.currency), func.sum(col(Refund.amount)))
    chosen = chosen.where(refunded_between(begin_of(day, zone), end_of(day, zone))).group_by(col(Refund.currency))
    return {currency: int(amount) for currency, amount in (await tx.execute(chosen)).all()}


async def _sum_charges(tx: Tx, day: date, zone: ZoneInfo) -> Mapping[str, int]:
    begins_at = col(ChargeTotal.begins_at)
    chosen = select(col(ChargeTotal.currency), func.sum(col(ChargeTotal.amount)))
    chosen = chosen.where(begins_at >= begin_of(day, zone), begins_at < end_of(day, zone))
    found = (await tx.execute(chosen.group_by(col(ChargeTotal.currency)))).all()
    return {currency: int(amount) for currency, amount in found}


async def _read_told_days(tx: Tx) -> set[tuple[str, str]]:
    """Return the days and currencies that were told of lately."""
    chosen = select(col(Event.data)).where(col(Event.type) == "refund_rate.exceeded")
    found = (await tx.execute(chosen.where(col(Event.created_at) > tx.now - TOLD_SINCE))).scalars().all()
    return {(str(said.get("day")), str(said.get("currency"))) for said in found}
