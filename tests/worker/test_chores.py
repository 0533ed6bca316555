"""One bad thing keeps nothing else waiting: neither the other chores nor what stands behind it in its own queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from returns_service.commands.stripe_inbox import Folded
from returns_service.domain.policy import DEFAULT
from returns_service.return_case.loader import lock_case
from returns_service.store.tables import Payment, ReturnAuthorization, StripeEvent
from returns_service.webhook_client import WebhookClient
from returns_service.worker import loop, maintenance
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.loop import Worker
from returns_service.worker.refunds import RefundExecutor
from tests.factories import create_stripe_event
from tests.harness.shop import BY, Shop


class Broken(Exception):
    """Nobody has foreseen it."""


async def test_a_chore_that_raises_keeps_no_other_waiting(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def raise_broken(*_: object) -> bool:
        raise Broken

    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.execute(update(Payment).values(read_at=shop.time))
    await shop.execute(update(ReturnAuthorization).values(follow_up_at=shop.time))
    monkeypatch.setattr(loop, "AFTER_ERROR_SECONDS", 0.0)
    monkeypatch.setattr(maintenance, "reread_payment", raise_broken)
    worker = Worker(
        RefundExecutor(shop.db, shop.gateway), WebhookDispatcher(shop.db, WebhookClient()), DEFAULT, livemode=False
    )
    await worker._do_chores(BY)
    assert worker.executor.done["chore", "follow_up"] == 1
    async with shop.db.reading() as tx:
        assert (await tx.get_one(ReturnAuthorization, return_id)).follow_up_at is None


async def test_a_return_that_raises_lets_the_next_one_follow_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = [await shop.authorize_return(shop.pay(9000), order_id=f"order_{n}") for n in (1, 2)]
    for ago, return_id in ((0, good), (60, bad)):
        chosen = update(ReturnAuthorization).where(col(ReturnAuthorization.id) == return_id)
        await shop.execute(chosen.values(follow_up_at=shop.time - timedelta(seconds=ago)))

    async def raise_for_one(tx: Any, by: Any, policy: Any, return_id: str) -> Any:
        if return_id == bad:
            raise Broken
        return await lock_case(tx, by, policy, return_id)

    monkeypatch.setattr(maintenance, "lock_case", raise_for_one)
    with pytest.raises(Broken):
        await maintenance.retry_follow_up(shop.db, BY, DEFAULT)
    assert await maintenance.retry_follow_up(shop.db, BY, DEFAULT)
    assert not await maintenance.retry_follow_up(shop.db, BY, DEFAULT), "the other one's turn comes later"
    shop.advance(maintenance.AGAIN_SECONDS)
    with pytest.raises(Broken):
        await maintenance.retry_follow_up(shop.db, BY, DEFAULT)


async def test_an_event_whose_fold_meets_an_outage_lets_the_next_one_be_folded(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.db.transaction() as tx:
        for name, ago in (("evt_bad", 60), ("evt_good", 0)):
            moment = shop.time - timedelta(seconds=ago)
            await create_stripe_event(tx, id=name, outcome="failed", processed_at=None, next_attempt_at=moment)
    outages = [TimeoutError("the database is away")]

    async def meet_an_outage(*_: object, **__: object) -> Folded:
        if outages:
            raise outages.pop()
        return Folded("folded", attempts=2, processed_at=shop.time)

    monkeypatch.setattr(maintenance, "fold_again", meet_an_outage)
    monkeypatch.setattr(maintenance, "event_data_from_payload", lambda _: None)
    with pytest.raises(TimeoutError):
        await maintenance.refold_event(shop.db, BY, DEFAULT, livemode=False)
    assert await maintenance.refold_event(shop.db, BY, DEFAULT, livemode=False)
    async with shop.db.reading() as tx:
        waiting = select(col(StripeEvent.id)).where(col(StripeEvent.next_attempt_at).is_not(None))
        assert (await tx.execute(waiting)).scalars().all() == ["evt_bad"]
