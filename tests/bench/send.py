"""How many refunds a second workers send, whether they keep to the budget, and what it costs them."""

from __future__ import annotations

import asyncio
import signal
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from returns_service.store.database import Database, Tx
from tests.bench.costs import Meter
from tests.bench.stage import create_database, open_folder, open_server
from tests.factories import create_payment, create_refund
from tests.harness.deployment import Deployment
from tests.harness.patience import wait_for
from tests.harness.postgres import Postgres
from tests.harness.shop import KEY


@dataclass(frozen=True)
class Sent:
    """What was seen at the simulator."""

    refunds: int
    a_second: float  # over the middle four fifths: without start and end
    most_in_a_second: int  # in any second, wherever it begins
    sent_twice: int
    cpu_ms: Mapping[str, float]  # a refund, by part


async def measure_sending(workers: int, refunds: int, budget: int, latency_seconds: float) -> Sent:
    """Queue `refunds` on as many payments, let `workers` processes send them, and read the simulator's log."""
    async with open_server() as server, open_folder() as folder:
        return await _measure(server, folder, workers, refunds, budget, latency_seconds)


async def _measure(
    server: Postgres, folder: Path, workers: int, refunds: int, budget: int, latency_seconds: float
) -> Sent:
    name = await create_database(server)
    settings = {"RETURNS_STRIPE_BUDGET": str(budget), "RETURNS_WORKER_CONCURRENCY": "64"}
    deployment = Deployment(folder, server.url(name), settings)
    try:
        await deployment.start_simulator(webhook_port=None)
        payments = await _pay(deployment, refunds)
        await _queue(deployment.database_url, payments)
        await deployment.control("settings", {"latency_seconds": latency_seconds})
        started = [deployment.start_worker() for _ in range(workers)]
        meter = Meter({f"worker {at}": worker.pid for at, worker in enumerate(started, 1)}, server, name)
        arrivals: list[float] = []

        async def work() -> None:
            arrivals.extend(sorted(await _wait_until_sent(deployment, refunds)))

        cpu_ms = await meter.measure(work, refunds)
        for process in started:
            process.end(signal.SIGTERM)
        middle = arrivals[refunds // 10 : -refunds // 10 or None]
        most = max(bisect_right(arrivals, at + 1.0) - number for number, at in enumerate(arrivals))
        a_second = (len(middle) - 1) / (middle[-1] - middle[0])
        return Sent(refunds, a_second, most, await _count_at_stripe(deployment) - refunds, cpu_ms)
    finally:
        deployment.close()


async def _pay(deployment: Deployment, number: int) -> list[tuple[str, str]]:
    async with httpx.AsyncClient(base_url=deployment.stripe, headers={"Authorization": f"Bearer {KEY}"}) as stripe:

        async def pay() -> tuple[str, str]:
            form = {"amount": 10_000, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
            answer = (await stripe.post("/v1/payment_intents", data=form)).raise_for_status().json()
            return answer["id"], answer["latest_charge"]

        return [await pay() for _ in range(number)]


async def _queue(url: str, payments: list[tuple[str, str]]) -> None:
    database = Database(url)

    async def work(tx: Tx) -> None:
        for intent, charge in payments:
            await create_refund(tx, await create_payment(tx, payment_intent=intent, charge=charge))

    await database.run(work)
    await database.close()


async def _wait_until_sent(deployment: Deployment, number: int) -> list[float]:
    async with httpx.AsyncClient(base_url=deployment.stripe) as stripe:

        async def look() -> list[float]:
            await asyncio.sleep(1)
            return list((await stripe.get("/_control/stats")).json()["refunds_asked_at"])

        await wait_for(look, f"{number} refunds to be sent", until=lambda arrivals: len(arrivals) >= number)
        await asyncio.sleep(2)  # what is sent twice comes by then
        return await look()


async def _count_at_stripe(deployment: Deployment) -> int:
    async with httpx.AsyncClient(base_url=deployment.stripe) as stripe:
        state = (await stripe.get("/_control/state")).json()
        return sum(len(payment["refunds"]) for payment in state["payments"])
