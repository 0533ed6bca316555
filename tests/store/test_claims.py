"""Leases: one owner at a time, oldest first, one refund a payment, taken over when they end."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text
from sqlmodel import SQLModel

from returns_service.domain.refund_attempt import REFUND_LEASE_SECONDS
from returns_service.store.claims import CANDIDATES, Claim, claim_refunds, renew
from returns_service.store.database import Database, Tx
from returns_service.store.tables import Payment, Refund
from tests.factories import create_payment, create_refund
from tests.harness.clock import Clock
from tests.harness.patience import complete


async def claim(database: Database, limit: int = 10) -> list[Claim]:
    async with database.transaction() as tx:
        return await claim_refunds(tx, limit)


async def with_refunds(database: Database, number: int) -> list[str]:
    async with database.transaction() as tx:
        rows = [await create_refund(tx, await create_payment(tx), due_in_seconds=n - number) for n in range(number)]
        return [row.id for row in rows]


async def test_the_oldest_due_is_claimed_first(database: Database) -> None:
    ids = await with_refunds(database, 5)
    assert [c.refund_id for c in await claim(database, 2)] == ids[:2]
    assert [c.refund_id for c in await claim(database, 9)] == ids[2:]
    assert await claim(database) == []


async def test_two_refunds_of_one_payment_are_never_under_way_at_once(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        payment = await create_payment(tx)
        first, second = [(await create_refund(tx, payment, due_in_seconds=n - 2)).id for n in range(2)]
    assert [c.refund_id for c in await claim(database)] == [first]
    assert await claim(database) == []
    clock.advance(REFUND_LEASE_SECONDS + 1)
    async with database.transaction() as tx:
        (await tx.get_one(Refund, first)).next_attempt_at = None
    assert [c.refund_id for c in await claim(database)] == [second]


async def test_a_lease_that_ended_is_taken_over_as_unknown(database: Database, clock: Clock) -> None:
    (refund_id,) = await with_refunds(database, 1)
    (lost,) = await claim(database)
    clock.advance(REFUND_LEASE_SECONDS + 1)
    (taken,) = await claim(database)
    assert (taken.refund_id, taken.token, taken.status) == (refund_id, lost.token + 1, "unknown")
    assert taken.ever_unknown
    assert taken.key == lost.key
    assert taken.first_attempt_at == lost.first_attempt_at


async def test_a_renewed_lease_is_not_taken_over(database: Database, clock: Clock) -> None:
    await with_refunds(database, 1)
    claims = await claim(database)
    clock.advance(REFUND_LEASE_SECONDS - 1)
    async with database.transaction() as tx:
        assert list(await renew(tx, claims)) == [claims[0].refund_id]
    clock.advance(REFUND_LEASE_SECONDS - 1)
    assert await claim(database) == []


async def test_a_lease_that_is_over_cannot_be_renewed(database: Database, clock: Clock) -> None:
    await with_refunds(database, 1)
    claims = await claim(database)
    clock.advance(REFUND_LEASE_SECONDS + 1)
    async with database.transaction() as tx:
        assert await renew(tx, claims) == {}


async def test_a_dispute_holds_what_is_queued_and_nothing_else(database: Database) -> None:
    async with database.transaction() as tx:
        payment = await create_payment(tx, disputed=True)
        await create_refund(tx, payment, due_in_seconds=-9)
        unknown = await create_refund(tx, payment, status="unknown", ever_unknown=True)
    assert [c.refund_id for c in await claim(database)] == [unknown.id]


async def test_the_key_is_old_after_23_hours(database: Database, clock: Clock) -> None:
    await with_refunds(database, 1)
    (first,) = await claim(database)
    clock.advance(23 * 3600)
    (again,) = await claim(database)
    assert not first.must_look_first(first.first_attempt_at or clock())
    assert again.must_look_first(clock())


async def test_twenty_workers_at_once_claim_each_refund_once(postgresql: Database) -> None:
    async with postgresql.transaction() as tx:
        payments = [await create_payment(tx) for _ in range(10)]
        for payment in payments:
            for n in range(6):
                await create_refund(tx, payment, due_in_seconds=-n)
    batches = await asyncio.gather(*(claim(postgresql, 4) for _ in range(20)))
    claimed = [c for batch in batches for c in batch]
    assert len({c.refund_id for c in claimed}) == len(claimed)
    assert len({c.payment_id for c in claimed}) == len(claimed), "two refunds of one payment under way"
    assert claimed


async def test_a_worker_never_waits_for_a_locked_row(postgresql: Database) -> None:
    ids = await with_refunds(postgresql, 2)
    async with postgresql.transaction() as tx:
        row = await tx.get_one(Refund, ids[0])
        await tx.execute(text("SELECT 1 FROM refund WHERE id = :id FOR UPDATE"), {"id": row.id})
        assert [c.refund_id for c in await complete(claim(postgresql), "a claim")] == [ids[1]]
        await tx.execute(text("SELECT 1 FROM payment WHERE id = :id FOR UPDATE"), {"id": row.payment_id})


async def test_the_claim_reads_only_what_is_due(postgresql: Database, clock: Clock) -> None:
    async with postgresql.transaction() as tx:
        await create_refund(tx, await create_payment(tx))
        await copied(tx, Payment, payment_intent="id || n", charge="'ch' || id || n")
        await copied(tx, Refund, payment_id="payment_id || n", status="'succeeded'", next_attempt_at="NULL")
    async with postgresql.writer.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(text("ANALYZE"))
    plan = await explained(postgresql, clock)
    assert "ix_refund_due" in plan
    assert "Seq Scan on refund" not in plan
    assert "Seq Scan on payment" not in plan


async def copied(tx: Tx, kind: type[SQLModel], **changed: str) -> None:
    """Copy the table's one row 20,000 times, with other ids and what is `changed` (SQL over its columns and `n`)."""
    table: Any = kind.metadata.tables[str(kind.__tablename__)]
    changed = {"id": "id || n", **changed}
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    values = ", ".join(changed.get(column.name, f'"{column.name}"') for column in table.columns)
    numbers = "generate_series(1, 20000) n"
    await tx.execute(text(f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM {table.name}, {numbers}"))  # noqa: S608


async def explained(database: Database, clock: Clock) -> str:
    """Return PostgreSQL's plan of the claim's statement."""
    engine = database.writer.sync_engine
    statement = CANDIDATES.params(now=clock(), most=50).compile(engine, compile_kwargs={"literal_binds": True})

    async def work(tx: Tx) -> str:
        rows = await tx.execute(text(f"EXPLAIN {statement}".replace(":", r"\:")))
        return "\n".join(row[0] for row in rows)

    return await database.run(work)


async def test_a_claim_marks_its_payment_busy(database: Database) -> None:
    await with_refunds(database, 1)
    (taken,) = await claim(database)
    async with database.reading() as tx:
        payment = await tx.get_one(Payment, taken.payment_id)
        assert payment.busy_until == taken.lease_until
