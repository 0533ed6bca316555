"""What nobody will ask for again goes, in small transactions; what is not done yet stays."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from returns_service.store.database import Database, Tx
from returns_service.store.tables import IdempotencyKey, StaffMail, StripeEvent
from returns_service.worker import maintenance
from tests.factories import create_idempotency_key, create_staff_mail, create_stripe_event
from tests.harness.clock import Clock


async def test_old_answers_and_folded_events_go_and_the_rest_stays(database: Database, clock: Clock) -> None:
    async def fill(tx: Tx) -> None:
        for days in (0, 2, 40):
            then = tx.now - timedelta(days=days)
            await create_idempotency_key(tx, key=str(days), created_at=then)
            await create_stripe_event(tx, id=f"evt_{days}", received_at=then)
        old = tx.now - timedelta(days=99)
        await create_stripe_event(tx, id="evt_raised", received_at=old, processed_at=None, outcome="failed")

    await database.run(fill)
    await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=4)
    async with database.reading() as tx:
        keys = (await tx.execute(select(col(IdempotencyKey.key)))).scalars().all()
        events = dict((await tx.execute(select(col(StripeEvent.id), col(StripeEvent.payload)))).all())
    assert list(keys) == ["0"]
    assert events == {"evt_0": "{}", "evt_2": "{}", "evt_raised": "{}"}
    clock.advance(3 * 86_400)
    await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=4)
    async with database.reading() as tx:
        events = dict((await tx.execute(select(col(StripeEvent.id), col(StripeEvent.payload)))).all())
    assert events == {"evt_0": "{}", "evt_2": "", "evt_raised": "{}"}


async def test_a_cleaning_takes_more_than_one_batch(database: Database) -> None:
    async def fill(tx: Tx) -> None:
        old = tx.now - timedelta(days=9)
        for number in range(maintenance.BATCH + 1):
            await create_idempotency_key(tx, key=str(number), created_at=old)

    await database.run(fill)
    assert await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=4) == maintenance.BATCH + 1


async def test_mail_to_staff_goes_once_it_has_ended_long_ago(database: Database) -> None:
    async def fill(tx: Tx) -> None:
        old = tx.now - timedelta(days=9)
        await create_staff_mail(tx, id="eml_sent", status="sent", created_at=old, ended_at=old, next_attempt_at=None)
        await create_staff_mail(tx, id="eml_waits", created_at=old)

    await database.run(fill)
    await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=4)
    async with database.reading() as tx:
        assert (await tx.execute(select(col(StaffMail.id)))).scalars().all() == ["eml_waits"]
