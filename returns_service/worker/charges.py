"""Counts what Stripe charged: first what is new, then back in time until the longest period is known.

Each look lists one time at Stripe, with no transaction open, and writes its sums down. Then the refund rate is judged.
https://docs.stripe.com/api/charges/list
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial

import structlog

from returns_service.commands.charge_totals import (
    CHARGE_SWEEPS,
    ChargeSum,
    ChargeWindow,
    Totals,
    claim_window,
    is_count_due,
    postpone,
    record_totals,
)
from returns_service.commands.refund_rate import judge_refund_rate
from returns_service.domain.periods import quarter_of
from returns_service.domain.policy import Policy
from returns_service.return_case.events import Actor
from returns_service.store.database import Database
from returns_service.stripe_gateway import Gateway, StripeSilent

log = structlog.get_logger("returns.charges")


async def count_charges(db: Database, gateway: Gateway, by: Actor, policy: Policy) -> int:
    """Count one window of each sweep that is due, then judge the refund rate; return how many windows there were."""
    async with db.reading() as tx:
        if not await is_count_due(tx):
            return 0
    number = 0
    for sweep in CHARGE_SWEEPS:
        window = await db.run(partial(claim_window, sweep=sweep))
        if window is not None:
            number += await _count(db, gateway, window)
    if number:
        await db.run(lambda tx: judge_refund_rate(tx, by, policy))
    return number


async def _count(db: Database, gateway: Gateway, window: ChargeWindow) -> bool:
    try:
        totals = await sum_charges(gateway, window)
    except BaseException as error:  # a worker that is stopped gives its window back, too
        await db.run(lambda tx: postpone(tx, window))
        if not isinstance(error, StripeSilent):
            raise
        log.warning("charges.not_listed", answer=error.answer.code)
        return False
    return await db.run(lambda tx: record_totals(tx, window, totals))


async def sum_charges(gateway: Gateway, window: ChargeWindow) -> Totals:
    """Return the sums of a window's charges by quarter and currency. Raises StripeSilent."""
    numbers, amounts = defaultdict[tuple[datetime, str], int](int), defaultdict[tuple[datetime, str], int](int)
    async for charge in gateway.charges_between(window.since, window.before):
        if charge.captured:
            place = (quarter_of(charge.created), charge.currency)
            numbers[place] += 1
            amounts[place] += charge.captured
    return {place: ChargeSum(numbers[place], amounts[place]) for place in numbers}
