"""The payment's lock on PostgreSQL: what is read under it is what is committed by then."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import lock_payment, lock_payment_of_refund
from returns_service.store.database import CommitLost, Database, Tx
from returns_service.store.tables import Payment
from tests.factories import create_payment, create_refund, create_return

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def until_somebody_waits(database: Database) -> None:
    """Return once a transaction waits for a lock."""
    while True:
        async with database.reading() as tx:
            if (await tx.execute(text(WAITS))).scalar_one():
                return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["case", "payment", "refund"])
async def test_a_refund_made_while_we_waited_for_the_lock_is_seen(postgresql: Database, way: str) -> None:
    """Refunds read in the locking statement would be those of before the wait, and the payment be refunded twice."""
    async with postgresql.transaction() as tx:
        payment = await create_payment(tx)
        row = await create_return(tx, payment)
        first = await create_refund(tx, payment, amount=1000)

    async def left(tx: Tx) -> int:
        if way == "case":
            return (await lock_case(tx, Actor("key_2"), DEFAULT, row.id)).refundable
        locked = await (lock_payment(tx, payment.id) if way == "payment" else lock_payment_of_refund(tx, first.id))
        return locked.refundable

    async with postgresql.transaction() as tx:
        await lock_payment(tx, payment.id)
        waiting = asyncio.create_task(postgresql.run(left))
        await until_somebody_waits(postgresql)
        await create_refund(tx, payment, amount=8000)
    assert await waiting == 1000


async def cut(database: Database, tx: Tx) -> None:
    """End the connection of a transaction, as a restarted server does."""
    pid = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with database.reading() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_a_connection_lost_before_commit_is_done_once_more(postgresql: Database) -> None:
    attempts = 0

    async def work(tx: Tx) -> str:
        nonlocal attempts
        attempts += 1
        payment = await create_payment(tx)
        if attempts == 1:
            await cut(postgresql, tx)
        await create_refund(tx, payment)
        return payment.id

    kept = await postgresql.run(work)
    async with postgresql.reading() as tx:
        assert (await tx.execute(text("SELECT id FROM payment"))).scalars().all() == [kept]
    assert attempts == 2


@pytest.mark.parametrize("safe", [True, False])
async def test_a_connection_lost_in_commit_is_done_again_only_where_twice_is_once(
    postgresql: Database, safe: bool
) -> None:
    attempts = 0

    async def work(tx: Tx) -> str:
        nonlocal attempts
        attempts += 1
        payment = await create_payment(tx)
        if attempts == 1:
            await cut(postgresql, tx)
        return payment.id

    if safe:
        await postgresql.run(work, safe_to_repeat=True)
    else:
        with pytest.raises(CommitLost):
            await postgresql.run(work)
    assert attempts == (2 if safe else 1)


async def test_a_read_over_a_connection_that_died_idle_is_done_once_more(postgresql: Database) -> None:
    async with postgresql.transaction() as tx:
        payment = await create_payment(tx)
    async with postgresql.reading() as tx:
        pids = (await tx.execute(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))).scalars()
        others = [pid for pid in pids.all() if pid != (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()]
    async with postgresql.reading() as tx:
        own = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    killer = Database(postgresql.url)
    try:
        async with killer.reading() as tx:
            for pid in {own, *others}:
                await tx.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    finally:
        await killer.close()
    assert (await postgresql.read(lambda tx: tx.get_one(Payment, payment.id))).captured == 10_000
