"""How many refunds a second workers send against a Stripe that takes its time, and whether they keep to the budget."""

from __future__ import annotations

import asyncio
import signal
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import httpx

from returns_service.store import schema
from returns_service.store.database import Database, Tx
from tests.factories import create_payment, create_refund
from tests.harness.deployment import Deployment
from tests.harness.postgres import Postgres
from tests.harness.shop import KEY


@dataclass(frozen=True)
class Measured:
    """What was seen at the simulator."""

    refunds: int
    a_second: float  # over the middle four fifths: without start and end
    most_in_a_second: int  # in any second, wherever it begins
    sent_twice: int


async def measured(folder: Path, workers: int, refunds: int, budget: int, latency_seconds: float) -> Measured:
    """Queue `refunds` on as many payments, let `workers` processes send them, and read the simulator's log."""
    server = Postgres(folder / "postgres")
    folder.chmod(0o711)
    server.create()
    settings = {"RETURNS_STRIPE_BUDGET": str(budget), "RETURNS_WORKER_CONCURRENCY": "64"}
    deployment = Deployment(folder, server.url(server.create_database()), settings)
    try:
        await deployment.start_simulator(webhook_port=None)
        payments = await _paid(deployment, refunds)
        await _queued(deployment.database_url, payments)
        await deployment.control("settings", {"latency_seconds": latency_seconds})
        started = [deployment.start_worker() for _ in range(workers)]
        stats = await _all_sent(deployment, refunds)
        for process in started:
            process.end(signal.SIGTERM)
        arrivals = sorted(stats)
        middle = arrivals[refunds // 10 : -refunds // 10 or None]
        most = max(bisect_right(arrivals, at + 1.0) - number for number, at in enumerate(arrivals))
        held = await _held(deployment)
        return Measured(refunds, (len(middle) - 1) / (middle[-1] - middle[0]), most, held - refunds)
    finally:
        deployment.close()
        server.destroy()


async def _paid(deployment: Deployment, number: int) -> list[tuple[str, str]]:
    async with httpx.AsyncClient(base_url=deployment.stripe, headers={"Authorization": f"Bearer {KEY}"}) as stripe:

        async def pay() -> tuple[str, str]:
            form = {"amount": 10_000, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
            answer = (await stripe.post("/v1/payment_intents", data=form)).raise_for_status().json()
            return answer["id"], answer["latest_charge"]

        return [await pay() for _ in range(number)]


async def _queued(url: str, payments: list[tuple[str, str]]) -> None:
    database = Database(url)
    await schema.upgrade(database)

    async def work(tx: Tx) -> None:
        for intent, charge in payments:
            await create_refund(tx, await create_payment(tx, payment_intent=intent, charge=charge))

    await database.run(work)
    await database.close()


async def _all_sent(deployment: Deployment, number: int) -> list[float]:
    async with httpx.AsyncClient(base_url=deployment.stripe) as stripe:
        while True:
            found: list[float] = (await stripe.get("/_control/stats")).json()["refunds_asked_at"]
            if len(found) >= number:
                await asyncio.sleep(2)
                return list((await stripe.get("/_control/stats")).json()["refunds_asked_at"])
            await asyncio.sleep(1)


async def _held(deployment: Deployment) -> int:
    async with httpx.AsyncClient(base_url=deployment.stripe) as stripe:
        state = (await stripe.get("/_control/state")).json()
        return sum(len(payment["refunds"]) for payment in state["payments"])
