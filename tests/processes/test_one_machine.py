"""One `serve` on SQLite: lost answers, doubled webhooks and sudden death end in exact sums."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.backend import backend_of
from tests.harness.deployment import Deployment, answering, deployed, end_leases, free_port
from tests.harness.process import Process

RETURNS = 40
KILLED_RETURNS = 30
KILLS = 5
REQUESTS = 5  # a return: create, approve, three receipts


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A web with a worker inside, in bad weather.

    A tenth of the refunds' answers is lost after they were applied, a tenth of the webhooks comes twice.
    """
    async with deployed(tmp_path, f"sqlite:///{tmp_path}/returns.db") as made:
        port = free_port()
        await made.start_simulator(webhook_port=port)
        refunds = {"method": "POST", "path": "/v1/refunds"}
        await made.control("faults", {"name": "drop_after", "share": 0.1, "seed": 7, **refunds})
        await made.control("faults", {"name": "double", "share": 0.1, "seed": 8})
        made.create_key()
        await made.start_web(port)
        yield made


def web_of(deployment: Deployment) -> Process:
    return next(process for process in deployment.processes if "web" in process.log.name)


async def kill_and_restart(deployment: Deployment) -> None:
    """Kill the web; start it again half a minute later, by the clock of the leases."""
    web = web_of(deployment)
    web.end(signal.SIGKILL)
    await end_leases(deployment.database_url)
    web.start()
    await answering(f"{deployment.webs[0]}/healthz", web)


async def test_returns_in_bad_weather_end_refunded_with_exact_sums(deployment: Deployment) -> None:
    async with backend_of(deployment) as backend:
        await backend.assert_exact(await backend.return_many(RETURNS))
    assert web_of(deployment).end(signal.SIGTERM) == 0


async def test_kill_9_of_serve_at_any_moment_ends_in_the_same_sums(deployment: Deployment, seed: int) -> None:
    dice = random.Random(seed)
    await deployment.control("settings", {"latency_seconds": 0.05})
    share = KILLED_RETURNS * REQUESTS // (KILLS + 1)
    async with backend_of(deployment, seed) as backend:
        returning = asyncio.ensure_future(backend.return_many(KILLED_RETURNS))
        for _ in range(KILLS):
            await backend.more_answers(dice.randint(share // 2, share))
            await kill_and_restart(deployment)
        ids = await returning
        await kill_and_restart(deployment)
        await backend.assert_exact(ids)
