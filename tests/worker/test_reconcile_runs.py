"""A comparison's run: interrupted it goes on, one works on it, once a day it is made."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from returns_service.commands import reconciliation_runs as runs
from returns_service.domain.policy import DEFAULT
from returns_service.store.tables import ReconciliationRun, Sweep
from returns_service.stripe_gateway import StripeSilent
from returns_service.worker import reconcile as reconciling
from returns_service.worker.reconcile import reconcile, reconcile_daily
from tests.harness.shop import BY, Shop
from tests.worker.steps import forget_row


@pytest.mark.parametrize("fix", [False, True])
async def test_an_interrupted_run_goes_on_and_tells_nothing_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fix: bool
) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 2)
    lost = []
    for _ in range(8):
        lost.append(await shop.complete_refund())
        shop.advance(1)
    for row in lost:
        await forget_row(shop, row)
    shop.wire.cut_after = len(shop.wire.requests) + 6
    since = shop.time - timedelta(days=1)
    with pytest.raises(StripeSilent):
        await reconcile(shop.db, shop.gateway, since, fix=fix)
    async with shop.db.reading() as tx:
        (run,) = (await tx.exec(select(ReconciliationRun))).all()
    assert run.finished_at is None
    assert run.cursor
    assert 0 < run.counts["at_stripe"] < 8
    shop.wire.cut_after = None
    shop.advance(60)
    report = await reconcile(shop.db, shop.gateway, since + timedelta(seconds=60), fix=fix)
    assert report.run.id == run.id
    assert report.run.counts["at_stripe"] == 8
    told = [one for one in await shop.outcomes(report) if one[0] == "missing_here"]
    assert told == [("missing_here", "fixed" if fix else "found")] * 8
    assert len(await shop.refunds()) == (8 if fix else 0)


async def test_a_run_that_somebody_works_on_is_left_to_them(shop: Shop) -> None:
    since = shop.time - timedelta(days=1)
    first = await shop.db.run(lambda tx: runs.begin_or_resume(tx, BY, since, fix=False))
    second = await shop.db.run(lambda tx: runs.begin_or_resume(tx, BY, since, fix=False))
    assert first.id != second.id
    shop.advance(runs.RUN_LEASE_SECONDS + 1)
    third = await shop.db.run(lambda tx: runs.begin_or_resume(tx, BY, since, fix=False))
    assert third.id in (first.id, second.id)


async def test_the_daily_run_is_made_once_a_day_and_repairs_nothing(shop: Shop) -> None:
    lost = await shop.complete_refund()
    await forget_row(shop, lost)
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
    shop.advance(3601)
    first = await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT)
    assert first is not None
    assert first.differs
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
    assert await shop.refunds() == []
    shop.advance(86_401)
    second = await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT)
    assert second is not None
    assert second.run.id != first.run.id


async def test_the_daily_run_tries_again_when_stripe_was_silent(shop: Shop) -> None:
    await shop.complete_refund()
    await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT)
    shop.advance(3601)
    shop.wire.cut_after = 0
    assert await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT) is None
    shop.wire.cut_after = None
    async with shop.db.reading() as tx:
        sweep = await tx.get_one(Sweep, "reconciliation")
    assert sweep.lease_until is None
    shop.advance(reconciling.RESUME_SECONDS + 1)
    report = await reconcile_daily(shop.db, shop.gateway, BY, DEFAULT)
    assert report is not None
    assert not report.differs


async def test_a_killed_run_is_shown_as_interrupted_once_its_lease_is_over(shop: Shop) -> None:
    since = shop.time - timedelta(days=1)
    run = await shop.db.run(lambda tx: runs.begin_or_resume(tx, BY, since, fix=False))
    assert runs.show_run(run, shop.time).status == "running"
    shop.advance(runs.RUN_LEASE_SECONDS + 1)
    assert runs.show_run(run, shop.time).status == "interrupted"
