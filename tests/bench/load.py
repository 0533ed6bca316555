"""A shop's day, pressed into minutes: `python -m tests.bench.load [--minutes N] [--share X] [--out FILE]`.

First it measures how many lives a second the machine takes: create, approve, read, receive, refund, webhooks. Then
new returns begin at a fixed share of that, whether or not the service keeps up, while Stripe delivers every webhook
twice and fails one call in a hundred. The report says how long each call took and whether memory, queue or
write-ahead log grew; the command ends with 1 unless Stripe then holds exactly one refund for each payment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.bench.costs import resident_mb
from tests.bench.load_report import Load, Sample, write_report
from tests.bench.stage import (
    AMOUNT,
    APPROVAL,
    PARCEL,
    Service,
    asked_for,
    create_database,
    open_connection,
    open_server,
    open_service,
)
from tests.harness.patience import wait_for

MINUTES, SHARE = 30.0, 0.7
CEILING_PART = 0.1  # of the minutes: to measure what the machine takes, and as long to warm up before
CEILING_SHOPS = 8  # that ask one after another while the ceiling is measured
MOST_UNDER_WAY = 200  # lives: beyond it the machine is lost, and no new one begins
SAMPLES = 30  # over the whole run
FAULTS = ("drop_before", "drop_after", "500", "429_rate_limit")  # of the service's calls to Stripe
CALLS = ({"method": "GET"}, {"method": "POST", "path": "/v1/refunds"})  # which the driver makes none of
FAULT_SHARE = 0.01  # of the calls, all faults together
LARGEST_TABLES = 5
REPEATS = 8  # of a request that was answered 5xx, under its Idempotency-Key
REPEAT_AFTER_SECONDS = 0.5


@dataclass
class Shop:
    """A shop's backend that times each call, and repeats under the same key what was answered 5xx."""

    service: Service
    number: int = 0
    repeated: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def ask(self, name: str, method: str, path: str, body: Any = None, key: str = "") -> dict[str, Any]:
        """Ask the service; the time of all attempts together is the call's. Raises AssertionError if it is refused."""
        headers = {**self.service.headers, **({"Idempotency-Key": key} if key else {})}
        began = time.perf_counter()
        url, attempts = self.service.urls[0] + path, 1
        response = await self.service.client.request(method, url, json=body, headers=headers)
        while response.status_code >= 500 and attempts <= REPEATS:
            await asyncio.sleep(REPEAT_AFTER_SECONDS * attempts)
            response = await self.service.client.request(method, url, json=body, headers=headers)
            attempts += 1
        self.repeated += attempts - 1
        assert response.is_success, f"{name}: {response.status_code} {response.text}"
        self.milliseconds[name].append((time.perf_counter() - began) * 1000)
        return dict(response.json())

    async def live(self) -> None:
        """Let a customer pay and send all of it back."""
        self.number += 1
        order = f"load_{self.number}"
        body = asked_for(order, await self.service.pay_once())
        made = await self.ask("create a return", "POST", "/v1/returns", body, f"{order}-1")
        path = f"/v1/returns/{made['id']}"
        await self.ask("approve it", "POST", f"{path}/approve", APPROVAL, f"{order}-2")
        await self.ask("read it", "GET", path)
        await self.ask("receive its parcel", "POST", f"{path}/receipts", PARCEL, f"{order}-3")
        await self.ask("list 20 returns", "GET", "/v1/returns?limit=20&state=approved")


async def measure_ceiling(shop: Shop, seconds: float, on_second: Callable[[float], None]) -> float:
    """Return the lives a second that the machine takes, up to their refunds."""
    began, first, done = time.monotonic(), shop.number, await shop.service.refunded()

    async def live_on() -> None:
        while time.monotonic() - began < seconds:
            await shop.live()
            on_second(time.monotonic() - began)

    await asyncio.gather(*(live_on() for _ in range(CEILING_SHOPS)))
    lives = shop.number - first
    await wait_for(shop.service.refunded, "the refunds", until=lambda now: now - done >= lives)
    return lives / (time.monotonic() - began)


async def play(load: Load, shop: Shop, connection: Any, seconds: float, on_second: Callable[[float], None]) -> None:
    """Begin lives at a fixed rate for so many seconds, and wait for the last refund."""
    service = shop.service
    under_way: set[asyncio.Task[None]] = set()
    began, begun, refunded = time.monotonic(), 0, await service.refunded()
    cpu_before = service.meter.read()
    while (elapsed := time.monotonic() - began) < seconds:
        on_second(elapsed)
        if elapsed >= len(load.samples) * seconds / SAMPLES:
            load.samples.append(await take_sample(service, connection, elapsed))
        while begun < elapsed * load.lives_a_second and len(under_way) < MOST_UNDER_WAY:
            life = asyncio.create_task(shop.live())
            under_way.add(life)
            life.add_done_callback(under_way.discard)
            begun += 1
        await asyncio.sleep(0.02)
        load.most_under_way = max(load.most_under_way, len(under_way))
    await asyncio.gather(*under_way)
    await wait_for(service.refunded, "the refunds", until=lambda now: now - refunded >= begun)
    await service.quiet()
    load.samples.append(await take_sample(service, connection, time.monotonic() - began))
    spent = {key: ms - cpu_before.get(key, 0.0) for key, ms in service.meter.read().items()}
    load.lives, load.seconds = begun, time.monotonic() - began
    load.cpu_ms_a_life = sum(spent.values()) / begun


async def take_sample(service: Service, connection: Any, at: float) -> Sample:
    """Return what the service holds at a moment: memory, refunds that wait, and what the database has written."""
    memory = {part: resident_mb(pid) for part, pid in service.meter.processes.items()}
    ended = ("succeeded", "failed", "canceled")
    queue = await connection.fetchval("SELECT count(*) FROM refund WHERE NOT status = ANY($1)", ended)
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    written = await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    kept = await connection.fetchval("SELECT sum(size) FROM pg_ls_waldir()")
    return Sample(at, memory, int(queue), int(size), int(written), int(kept))


async def count_wrong_payments(service: Service) -> int:
    """Return how many payments don't have exactly one refund, of all of it, at Stripe."""
    state = (await service.client.get(f"{service.stripe}/_control/state")).raise_for_status().json()
    return sum(
        [refund["amount"] for refund in payment["refunds"] if refund["status"] == "succeeded"] != [AMOUNT]
        for payment in state["payments"]
    )


async def run(minutes: float, share: float) -> Load:
    """Play the day; return what was seen."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    ceiling_seconds, seconds = minutes * 60 * CEILING_PART, minutes * 60
    async with open_server() as server:
        database = await create_database(server)
        async with open_service(server, database) as service, open_connection(server, database) as connection:
            with Progress(*columns, console=Console(stderr=True)) as bar:
                await measure_ceiling(Shop(service), ceiling_seconds, show(bar, "warm up", ceiling_seconds))
                measured = show(bar, "measure the ceiling", ceiling_seconds)
                ceiling = await measure_ceiling(Shop(service, number=10_000_000), ceiling_seconds, measured)
                for number, (fault, calls) in enumerate(product(FAULTS, CALLS)):
                    armed = {"name": fault, "share": FAULT_SHARE / len(FAULTS), "seed": number, **calls}
                    await service.deployment.control("faults", armed)
                await service.deployment.control("faults", {"name": "double", "share": 1.0})
                shop = Shop(service, number=20_000_000)
                load = Load(ceiling, share, ceiling * share)
                shown = show(bar, f"{load.lives_a_second:.1f} lives a second", seconds)
                await play(load, shop, connection, seconds, shown)
                load.milliseconds, load.repeated = dict(shop.milliseconds), shop.repeated
                load.refund_seconds = await read_refund_seconds(connection)
                load.table_kilobytes = await read_table_kilobytes(connection)
                load.wrong_payments = await count_wrong_payments(service)
            return load


def show(bar: Progress, name: str, seconds: float) -> Callable[[float], None]:
    """Add a bar; return what moves it to a second."""
    task = bar.add_task(name, total=seconds)
    return lambda at: bar.update(task, completed=at)


async def read_refund_seconds(connection: Any) -> list[float]:
    """Return how long each refund took, from its decision at the dock to Stripe's last word."""
    sql = """SELECT extract(epoch FROM max(e.created_at) FILTER (WHERE e.type = 'return.state_changed')
                                     - min(e.created_at) FILTER (WHERE e.type = 'receipt.created'))::float
               FROM event e JOIN return_authorization r ON r.id = e.return_id
              WHERE r.order_id LIKE 'load_2%' AND length(r.order_id) = length('load_20000001') GROUP BY e.return_id"""
    return [seconds for (seconds,) in await connection.fetch(sql) if seconds is not None]


async def read_table_kilobytes(connection: Any) -> dict[str, float]:
    """Return what each of the largest tables takes a return, its indexes included, the largest first."""
    sql = """SELECT relname, pg_total_relation_size(oid) / 1024.0
                    / greatest(1, (SELECT count(*) FROM return_authorization))
               FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
              ORDER BY 2 DESC LIMIT $1"""
    return {str(name): float(kilobytes) for name, kilobytes in await connection.fetch(sql, LARGEST_TABLES)}


def machine() -> str:
    """Return what the figures were measured on."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def main() -> None:
    """Parse, play, report."""
    words = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    words.add_argument("--minutes", type=float, default=MINUTES, help=f"of load ({MINUTES:g}); a fifth more to measure")
    words.add_argument("--share", type=float, default=SHARE, help=f"of the measured ceiling, 0 to 1 ({SHARE})")
    words.add_argument("--out", type=Path, metavar="FILE", help="write the report here, too")
    asked = words.parse_args()
    load = asyncio.run(run(asked.minutes, asked.share))
    report = write_report(load, machine())
    print(report, end="")
    if asked.out:
        asked.out.write_text(report, encoding="utf-8")
    sys.exit(1 if load.wrong_payments else 0)


if __name__ == "__main__":
    main()
