"""A worker that is told to stop in the middle of its work: rolling out a release loses no answer."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from sqlmodel import col, func, select

from returns_service.store.database import Database
from returns_service.store.tables import Payment, Refund
from tests.harness.backend import Backend, backend_of
from tests.harness.deployment import deployed, free_port
from tests.harness.patience import wait_for

PAYMENTS = 20
LATENCY_SECONDS = 2.0
BUDGET = "2"  # writes a second: most refunds still wait for their moment when the signal comes


async def test_sigterm_lets_calls_end_claims_nothing_more_and_leaves_no_lease(
    tmp_path: Path, database_url: str
) -> None:
    async with deployed(tmp_path, database_url, RETURNS_STRIPE_BUDGET=BUDGET) as deployment:
        deployment.run("migrate")
        deployment.create_key()
        await deployment.start_simulator(webhook_port=None)
        await deployment.control("settings", {"latency_seconds": 0.0})
        await deployment.start_web(free_port(), "--no-worker")
        async with backend_of(deployment) as backend:
            for _ in range(PAYMENTS):
                await backend.ask("POST", "/v1/refunds", {"payment_intent": await backend.pay(1000)})
            await deployment.control("settings", {"latency_seconds": LATENCY_SECONDS})
            worker = deployment.start_worker()
            await wait_for(
                lambda: statuses(backend), "three calls under way", until=lambda seen: seen.count("submitted") >= 3
            )
            assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0
            at_stripe, ours = len(await refunds_at_stripe(backend)), await statuses(backend)
            assert 0 < at_stripe < PAYMENTS
            assert ours.count("succeeded") == at_stripe, "what was under way was written down"
            assert ours.count("queued") == PAYMENTS - at_stripe, "the rest is as it was, claimed by nobody"
            assert await leases(database_url) == 0, "the next worker waits for nobody"
            await deployment.control("settings", {"latency_seconds": 0.0})
            deployment.start("worker", "worker", RETURNS_STRIPE_BUDGET="500")
            await wait_for(lambda: refunds_at_stripe(backend), "the rest", until=lambda seen: len(seen) == PAYMENTS)


async def statuses(backend: Backend) -> list[str]:
    """Return the statuses of our refunds."""
    return [refund["status"] for refund in (await backend.ask("GET", "/v1/refunds?limit=100"))["data"]]


async def refunds_at_stripe(backend: Backend) -> list[Any]:
    """Return Stripe's refunds."""
    return list((await backend.stripe.get("/v1/refunds?limit=100")).json()["data"])


async def leases(database_url: str) -> int:
    """Return how many refunds are leased, and payments held."""
    database = Database(database_url)
    async with database.reading() as tx:
        refunds = select(func.count()).select_from(Refund).where(col(Refund.lease_until).is_not(None))
        payments = select(func.count()).select_from(Payment).where(col(Payment.busy_until) > tx.now)
        count = (await tx.exec(refunds)).one() + (await tx.exec(payments)).one()
    await database.close()
    return count
