"""A worker that is told to stop in the middle of its work: rolling out a release loses no answer."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.processes.town import Shop, Town, free_port, shop_of

PAYMENTS = 16
LATENCY_SECONDS = 2.0
BUDGET = "4"  # writes a second: most refunds still wait for their moment when the signal comes


@pytest.mark.timeout(120)
async def test_sigterm_lets_calls_end_claims_nothing_more_and_leaves_no_lease(
    tmp_path: Path, database_url: str
) -> None:
    town = Town(tmp_path, database_url, more={"RETURNS_STRIPE_BUDGET": BUDGET})
    try:
        town.cli("migrate")
        town.make_key()
        await town.simulator(webhook_port=None)
        await town.control("settings", {"latency_seconds": 0.0})
        await town.web(free_port(), "--no-worker")
        async with shop_of(town) as shop:
            for _ in range(PAYMENTS):
                await shop.ask("POST", "/v1/refunds", {"payment_intent": await shop.paid(1000)})
            await town.control("settings", {"latency_seconds": LATENCY_SECONDS})
            worker = town.worker()
            await _until_some_are_under_way(shop)
            assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0
            at_stripe = len((await shop.stripe.get("/v1/refunds?limit=100")).json()["data"])
            ours = (await shop.ask("GET", "/v1/refunds?limit=100"))["data"]
            statuses = [refund["status"] for refund in ours]
            assert 0 < at_stripe < PAYMENTS
            assert statuses.count("succeeded") == at_stripe, "what was under way was written down"
            assert statuses.count("queued") == PAYMENTS - at_stripe, "the rest is as it was, claimed by nobody"
            await town.control("settings", {"latency_seconds": 0.0})
            town.worker()
            async with asyncio.timeout(30):  # well within a lease: the next worker waits for nobody
                while len((await shop.stripe.get("/v1/refunds?limit=100")).json()["data"]) < PAYMENTS:
                    await asyncio.sleep(0.1)
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()


async def _until_some_are_under_way(shop: Shop) -> None:
    async with asyncio.timeout(30):
        while True:
            rows = (await shop.ask("GET", "/v1/refunds?limit=100"))["data"]
            if sum(row["status"] == "submitted" for row in rows) >= 3:
                return
            await asyncio.sleep(0.05)
