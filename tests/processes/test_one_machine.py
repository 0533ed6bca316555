"""One `serve` on SQLite: lost answers, doubled webhooks and sudden death end in exact sums."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.processes.town import Shop, Town, answering, free_port, shop_of

RETURNS = 100


async def a_town(folder: Path) -> Town:
    port = free_port()
    town = Town(folder, f"sqlite:///{folder}/returns.db")
    await town.simulator(webhook_port=port)
    town.make_key()
    await town.web(port)
    return town


async def bad_weather(town: Town) -> None:
    """A tenth of the refunds' answers is lost after they were applied, a tenth of the webhooks comes twice."""
    refunds = {"method": "POST", "path": "/v1/refunds"}
    await town.control("faults", {"name": "drop_after", "share": 0.1, "seed": 7, **refunds})
    await town.control("faults", {"name": "double", "share": 0.1, "seed": 8})


async def assert_exact(shop: Shop, ids: list[str]) -> None:
    await shop.all_refunded(ids, seconds=60)
    ours, theirs = await shop.ledgers()
    assert ours == theirs
    assert sum(amount for _, amount in ours.values()) == 10_000 * len(ids)


@pytest.mark.timeout(150)
async def test_a_hundred_returns_in_bad_weather_end_refunded_with_exact_sums(tmp_path: Path) -> None:
    town = await a_town(tmp_path)
    try:
        await bad_weather(town)
        async with shop_of(town) as shop:
            ids = await asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(RETURNS)))
            await assert_exact(shop, ids)
        web = next(p for p in town.processes if "web" in p.log.name)
        assert web.end(signal.SIGTERM) == 0
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()


@pytest.mark.timeout(200)
async def test_kill_9_of_serve_at_any_moment_ends_in_the_same_sums(tmp_path: Path) -> None:
    town = await a_town(tmp_path)
    try:
        await bad_weather(town)
        await town.control("settings", {"latency_seconds": 0.05})
        web = next(p for p in town.processes if "web" in p.log.name)
        async with shop_of(town) as shop:
            playing = asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(RETURNS)))
            for _ in range(5):
                await asyncio.sleep(random.uniform(0.5, 2.0))
                web.end(signal.SIGKILL)
                web.start()
                await answering(f"{town.webs[0]}/healthz")
            ids = await playing
            web.end(signal.SIGKILL)
            web.start()
            await answering(f"{town.webs[0]}/healthz")
            await assert_exact(shop, ids)
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()
