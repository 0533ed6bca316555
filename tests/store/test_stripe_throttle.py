"""All workers together keep Stripe's pace, share one breaker, and slow down when told."""

from __future__ import annotations

import asyncio

import pytest

from returns_service.store import stripe_throttle
from returns_service.store.database import Database
from returns_service.store.tables import StripePace
from tests.harness.clock import Clock

BUDGET = 100.0


async def given(database: Database, wanted: int, late: float = 0.0) -> list[float]:
    """Return the moments one claim gets, in seconds from now."""
    async with database.transaction() as tx:
        allowed = await stripe_throttle.request_slots(tx, BUDGET, wanted, late)
        return list(stripe_throttle.slots(allowed, allowed.allowed))


async def test_no_second_holds_more_than_the_budget(database: Database, clock: Clock) -> None:
    moments = []
    for _ in range(200):
        moments += [clock().timestamp() + seconds for seconds in await given(database, 7)]
        clock.advance(0.05)
    moments.sort()
    busiest = max(sum(at <= other < at + 1 for other in moments) for at in moments)
    assert busiest <= BUDGET
    assert len(moments) / (moments[-1] - moments[0]) > 0.95 * BUDGET


async def test_nobody_is_given_a_moment_far_ahead(database: Database) -> None:
    moments = await given(database, 500)
    assert 0 < len(moments) <= stripe_throttle.AHEAD_SECONDS * BUDGET
    assert moments[-1] <= stripe_throttle.AHEAD_SECONDS
    assert await given(database, 500) == []


async def test_a_process_that_is_late_pushes_everybodys_moments_back(database: Database) -> None:
    moments = await given(database, 3, late=0.1)
    assert moments[0] == pytest.approx(0.1)


async def test_a_slow_budget_still_lets_one_through(database: Database) -> None:
    async with database.transaction() as tx:
        assert (await stripe_throttle.request_slots(tx, 1.0, 10)).allowed == 1


async def test_ten_failures_in_a_row_open_the_breaker_and_one_probe_closes_it(database: Database, clock: Clock) -> None:
    for _ in range(stripe_throttle.BREAK_AFTER):
        assert await given(database, 1)
        async with database.transaction() as tx:
            await stripe_throttle.record_failure(tx, BUDGET, "timeout")
        clock.advance(1)
    assert await given(database, 9) == []
    clock.advance(stripe_throttle.PROBE_SECONDS)
    assert len(await given(database, 9)) == 1, "one probe"
    assert await given(database, 9) == []
    async with database.transaction() as tx:
        await stripe_throttle.record_success(tx, BUDGET)
    assert len(await given(database, 9)) == 9


async def test_a_429_halves_the_pace_and_calm_raises_it_again(database: Database, clock: Clock) -> None:
    for _ in range(3):  # a burst of 429 is one message
        async with database.transaction() as tx:
            await stripe_throttle.slow_down(tx, BUDGET)
    assert await given_row(database) == BUDGET / 2
    for _ in range(10):
        clock.advance(stripe_throttle.FASTER_AFTER_SECONDS + 1)
        await given(database, 1)
    assert await given_row(database) == BUDGET


async def test_a_stray_429_a_minute_holds_nobody_up(database: Database, clock: Clock) -> None:
    """Other programs on the account draw them; what recovers no sooner sinks with each one."""
    for _ in range(10):
        async with database.transaction() as tx:
            await stripe_throttle.slow_down(tx, BUDGET)
        for _ in range(60):
            clock.advance(1)
            await given(database, 1)
        assert await given_row(database) == BUDGET


async def given_row(database: Database) -> float:
    """Return the present pace, writes a second."""
    async with database.reading() as tx:
        row = await tx.get(StripePace, 1)
        return row.writes_a_second if row else BUDGET


async def test_many_workers_at_once_get_different_moments(postgresql: Database) -> None:
    batches = await asyncio.gather(*(given(postgresql, 2) for _ in range(10)))
    moments = sorted(round(at, 6) for batch in batches for at in batch)
    assert len(set(moments)) == len(moments)


async def test_who_asks_again_when_told_to_gets_a_moment_at_a_slow_pace_too(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        stripe_throttle.slots(await stripe_throttle.request_slots(tx, 4.0, 1), 1)
    async with database.transaction() as tx:
        wait = stripe_throttle.next_slot_seconds(await stripe_throttle.request_slots(tx, 4.0, 1))
    assert 0.2 < wait < 0.3
    clock.advance(wait + 1e-3)
    async with database.transaction() as tx:
        assert (await stripe_throttle.request_slots(tx, 4.0, 1)).allowed == 1


async def test_a_clock_set_back_holds_up_nobody(database: Database, clock: Clock) -> None:
    clock.advance(7200)
    assert await given(database, 1)
    for _ in range(stripe_throttle.BREAK_AFTER):
        async with database.transaction() as tx:
            await stripe_throttle.record_failure(tx, BUDGET, "timeout")
    clock.advance(-7200)
    assert len(await given(database, 1)) == 1, "the breaker of an hour to come is over: one probe"
    async with database.transaction() as tx:
        await stripe_throttle.record_success(tx, BUDGET)
    assert await given(database, 1), "and so are its moments"
