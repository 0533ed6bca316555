"""Two webs and three workers on one PostgreSQL, killed again and again: each refund exists once."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.processes.town import Town, answering, free_port, shop_of

RETURNS = 60
POINTS = ["before_call", "in_call", "after_call", "before_commit"]


async def a_city(folder: Path, url: str) -> Town:
    ports = [free_port(), free_port()]
    town = Town(folder, url, {"RETURNS_DATABASE_POOL": "5"})
    await town.simulator(webhook_port=ports[0])
    town.cli("migrate")
    town.make_key()
    for port in ports:
        await town.web(port, "--no-worker")
    return town


@pytest.mark.timeout(240)
async def test_workers_and_webs_die_and_the_ledgers_agree_row_by_row(tmp_path: Path, own_pg: Postgres) -> None:
    town = await a_city(tmp_path, own_pg.url(own_pg.create_database()))
    try:
        await town.control("settings", {"latency_seconds": 0.1})
        await town.control("faults", {"name": "drop_after", "share": 0.05, "seed": 3, "path": "/v1/refunds"})
        webs = [p for p in town.processes if "web" in p.log.name]
        workers = [town.worker() for _ in range(2)]
        async with shop_of(town) as shop:
            playing = asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(RETURNS)))
            for round_ in range(8):
                doomed = town.dying_worker(POINTS[round_ % 4], calls=random.randint(1, 4))
                await asyncio.sleep(random.uniform(0.8, 1.5))
                victim = random.choice([*workers, *webs])
                victim.end(signal.SIGKILL)
                victim.start()
                if round_ == 4:
                    own_pg.kill(signal.SIGQUIT)  # immediate mode
                    await asyncio.sleep(0.5)
                    own_pg.start()
                if doomed.is_alive:
                    doomed.end(signal.SIGKILL)
            for web in town.webs:
                await answering(f"{web}/healthz")
            ids = await playing
            await shop.all_refunded(ids, seconds=90)
            ours, theirs = await shop.ledgers()
            assert ours == theirs
            assert sum(amount for _, amount in ours.values()) == 10_000 * RETURNS
        assert [worker.end(signal.SIGTERM) for worker in workers] == [0, 0]
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()


@pytest.mark.timeout(120)
async def test_death_at_each_named_point_pays_once(tmp_path: Path, own_pg: Postgres) -> None:
    town = await a_city(tmp_path, own_pg.url(own_pg.create_database()))
    try:
        await town.control("settings", {"latency_seconds": 0.1})
        async with shop_of(town) as shop:
            doomed = [town.dying_worker(point, calls=1) for point in POINTS]
            ids = await asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(8)))
            for process in doomed:
                assert process.running is not None
                assert await asyncio.to_thread(process.running.wait, 60) == -signal.SIGKILL, process.log.name
            town.worker()
            await shop.all_refunded(ids, seconds=60)
            ours, theirs = await shop.ledgers()
            assert ours == theirs
            assert sum(amount for _, amount in ours.values()) == 10_000 * len(ids)
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()
