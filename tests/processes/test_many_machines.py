"""Two webs and three workers on one PostgreSQL, killed again and again: each refund exists once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.backend import backend_of
from tests.harness.deployment import Deployment, answering, deployed, end_leases, free_port
from tests.harness.postgres import Postgres

RETURNS = 40
REQUESTS = 5  # a return: create, approve, three receipts
ROUNDS = 8
POINTS = ["before_call", "in_call", "after_call", "before_commit"]


@asynccontextmanager
async def two_webs(folder: Path, url: str) -> AsyncIterator[Deployment]:
    """Lend two webs on this database, without a worker yet, and a Stripe that takes its time."""
    async with deployed(folder, url, RETURNS_DATABASE_POOL="5") as made:
        ports = [free_port(), free_port()]
        await made.start_simulator(webhook_port=ports[0])
        await made.control("settings", {"latency_seconds": 0.1})
        made.run("migrate")
        made.create_key()
        for port in ports:
            await made.start_web(port, "--no-worker")
        yield made


async def test_workers_and_webs_die_and_the_ledgers_agree_row_by_row(
    tmp_path: Path, own_pg: Postgres, seed: int
) -> None:
    dice = random.Random(seed)
    share = RETURNS * REQUESTS // (ROUNDS + 1)
    async with (
        two_webs(tmp_path, own_pg.url(own_pg.create_database())) as deployment,
        backend_of(deployment, seed) as backend,
    ):
        refunds = {"method": "POST", "path": "/v1/refunds"}  # never the test's own look at Stripe's ledger
        await deployment.control("faults", {"name": "drop_after", "share": 0.05, "seed": 3, **refunds})
        webs = [process for process in deployment.processes if "web" in process.log.name]
        workers = [deployment.start_worker() for _ in range(2)]
        returning = asyncio.ensure_future(backend.return_many(RETURNS))
        for number in range(ROUNDS):
            crashing = deployment.start_crashing_worker(POINTS[number % 4], calls=dice.randint(1, 4))
            await backend.more_answers(dice.randint(share // 2, share))
            victim = dice.choice([*workers, *webs])
            victim.end(signal.SIGKILL)
            victim.start()
            if number == ROUNDS // 2:
                own_pg.kill(signal.SIGQUIT)  # immediate mode
                await asyncio.sleep(0.5)
                own_pg.start()
            if crashing.is_alive:
                crashing.end(signal.SIGKILL)
        for url, web in zip(deployment.webs, webs, strict=True):
            await answering(f"{url}/healthz", web)
        ids = await returning
        assert [worker.end(signal.SIGTERM) for worker in workers] == [0, 0]
        await end_leases(deployment.database_url)
        deployment.start_worker()
        await backend.assert_exact(ids)


async def test_death_at_each_named_point_pays_once(tmp_path: Path, postgresql_url: str) -> None:
    async with two_webs(tmp_path, postgresql_url) as deployment, backend_of(deployment) as backend:
        crashing = [deployment.start_crashing_worker(point, calls=1) for point in POINTS]
        ids = await backend.return_many(8)
        for process in crashing:
            assert await asyncio.to_thread(process.wait) == -signal.SIGKILL, process.log.name
        await end_leases(deployment.database_url)
        deployment.start_worker()
        await backend.assert_exact(ids)
