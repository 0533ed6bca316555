"""What a year, or ten, does to how quickly things are read: each look on a small, a larger and a large shop.

`python -m tests.bench.growth --returns 100000` prints the rows as JSON; `measure_growth` returns them. Each look is
compared with itself on the smallest shop of the same run; the CPU of this process and of PostgreSQL's counts, as
other work on the machine hardly changes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text

from returns_service.store import schema
from returns_service.store.claims import claim_refunds
from returns_service.store.database import Database
from tests.bench.fill import fill
from tests.harness.clock import Clock
from tests.harness.postgres import Postgres, fast_folder
from tests.harness.served_shop import ServedShop, open_shop
from tests.pages.conftest import Desk, add_person, open_desk

SMALLEST = 1_000
ROUNDS = 15
WARM_UP = 3
Kind = Literal["sqlite", "postgresql"]
Look = Callable[[], Awaitable[Any]]
Row = dict[str, Any]


async def measure_growth(sizes: Sequence[int], kinds: Sequence[Kind], *, rounds: int = ROUNDS) -> list[Row]:
    """Return a row for each look, size and database: its CPU and median time against the smallest shop's."""
    rows = []
    for kind in kinds:
        smallest: dict[str, Row] = {}
        for size in sorted({SMALLEST, *sizes}):
            async with filled_shop(kind, size) as (shop, pages, server):
                for what, look in (await looks_at(shop, pages)).items():
                    row: Row = {"name": "growth", "what": what, "database": kind, "returns": size, "unit": "ms CPU"}
                    row |= await measure(look, rounds, server)
                    first = smallest.setdefault(what, row)
                    row |= {"reference": first["ours"], "ratio": round(first["ours"] / max(row["ours"], 0.01), 2)}
                    rows.append(row)
    return rows


@asynccontextmanager
async def filled_shop(kind: Kind, returns: int) -> AsyncIterator[tuple[ServedShop, Desk, Postgres | None]]:
    """Lend a service over a shop of so many returns, its pages to an administrator, and the server that holds it."""
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=fast_folder()))
    folder.chmod(0o711)
    server = Postgres(folder / "postgres") if kind == "postgresql" else None
    try:
        if server is not None:
            server.create()
        url = server.url(server.create_database()) if server is not None else f"sqlite:///{folder}/returns.db"
        database = Database(url, now=Clock())
        await schema.upgrade(database)
        await fill(database, returns)
        await database.close()
        async with open_shop(url) as shop, open_desk(shop) as desk:
            await add_person(shop, "admin")
            await desk.sign_in("admin@shop.test")
            yield shop, desk, server
    finally:
        if server is not None:
            server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


async def looks_at(shop: ServedShop, pages: Desk) -> dict[str, Look]:
    """Return what people, programs, scrapers and workers look at, by name."""
    async with shop.db.reading() as tx:
        found = (await tx.execute(text("SELECT id, customer_email, order_id FROM return_authorization LIMIT 1"))).one()
    lately = (shop.db.now() - timedelta(hours=3)).isoformat().replace("+", "%2B")
    api = {
        "read": f"/v1/returns/{found[0]}",
        "list": "/v1/returns?limit=20",
        "list by state": "/v1/returns?state=failed",
        "list by two states": "/v1/returns?state=requested,refunded",
        "list by e-mail": f"/v1/returns?customer_email={found[1]}",
        "list by order": f"/v1/returns?order_id={found[2]}",
        "list by metadata": "/v1/returns?metadata[cart]=c7",
        "list made since": f"/v1/returns?created[gte]={lately}",
        "list changed since": f"/v1/returns?updated[gte]={lately}",
        "search": f"/v1/returns?q={found[2]}",
        "search without a hit": "/v1/returns?q=nobody",
        "search a common word": "/v1/returns?q=ana",
        "refunds by status": "/v1/refunds?status=failed",
        "events by type": "/v1/events?type=refund.created",
        "deliveries": "/v1/deliveries?status=dead",
        "desk": "/v1/desk",
        "metrics": "/metrics",
    }
    shown = {
        "page home": "/", "page returns": "/returns", "page returns, done": "/returns?view=done",
        "page returns, search": "/returns?q=ana", "page approvals": "/approvals", "page desk": "/refunds",
        "page return": f"/returns/{found[0]}", "page dock": "/receive", "page settings": "/settings",
    }  # fmt: skip

    def ask(path: str) -> Look:
        async def look() -> None:
            (await shop.get(path)).raise_for_status()

        return look

    def show(path: str) -> Look:
        async def look() -> None:
            (await pages.get(path)).raise_for_status()

        return look

    async def claim() -> None:
        async with shop.db.transaction() as tx:
            await claim_refunds(tx, 10)

    return {
        **{name: ask(path) for name, path in api.items()},
        **{name: show(path) for name, path in shown.items()},
        "claim": claim,
    }


async def measure(look: Look, rounds: int, server: Postgres | None) -> Row:
    """Return what a look takes: ms of CPU as `ours`, and its median, least and most time in ms."""
    for _ in range(WARM_UP):
        await look()
    times = []
    cpu = cpu_seconds(server)
    for _ in range(rounds):
        began = time.perf_counter()
        await look()
        times.append((time.perf_counter() - began) * 1000)
    cpu = cpu_seconds(server) - cpu
    found = {"p50_ms": statistics.median(times), "min": min(times), "max": max(times), "ours": cpu * 1000 / rounds}
    return {"rounds": rounds, **{name: round(value, 2) for name, value in found.items()}}


def cpu_seconds(server: Postgres | None) -> float:
    """Return the CPU that this process and the server's have used."""
    used = time.process_time()
    if server is None:
        return used
    tick = os.sysconf("SC_CLK_TCK")
    main = int((server.root / "pid").read_text())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == main:
            used += (int(fields[11]) + int(fields[12])) / tick
    return used


def main() -> None:
    """Parse, measure, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--returns", type=int, nargs="+", default=[100_000])
    words.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    words.add_argument("--rounds", type=int, default=ROUNDS)
    asked = words.parse_args()
    kinds: list[Kind] = asked.database or ["sqlite", "postgresql"]
    for row in asyncio.run(measure_growth(asked.returns, kinds, rounds=asked.rounds)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
