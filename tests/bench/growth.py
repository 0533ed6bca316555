"""What a year, or ten, does to how quickly things are read: each look on a small, a larger and a large shop.

`python -m tests.bench.growth --returns 1000000` prints the rows as JSON; `measure_growth` returns them. Each look is
compared with itself on the smallest shop of the same run; the CPU of this process and of PostgreSQL's counts, as
other work on the machine hardly changes it. A million returns take 12 GB of disk in `--folder` for as long as it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from returns_service.store import schema
from returns_service.store.database import Database
from tests.bench.fill import fill
from tests.bench.looks import Look, looks_at
from tests.harness.clock import Clock
from tests.harness.postgres import Postgres, fast_folder
from tests.harness.served_shop import ServedShop, open_shop
from tests.pages.conftest import Desk, add_person, open_desk

SMALLEST = 1_000
ROUNDS = 15
WARM_UP = 3
MOST_SECONDS = 20.0  # that one look is measured for
LARGE = 200_000  # returns, from which a shop doesn't belong in memory
Kind = Literal["sqlite", "postgresql"]
Row = dict[str, Any]
BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


async def measure_growth(
    sizes: Sequence[int], kinds: Sequence[Kind], *, rounds: int = ROUNDS, folder: Path | None = None
) -> list[Row]:
    """Return a row for each look, size and database: its CPU and median time against the smallest shop's."""
    rows = []
    for kind in kinds:
        smallest: dict[str, Row] = {}
        for size in sorted({SMALLEST, *sizes}):
            async with filled_shop(kind, size, folder) as (shop, pages, server):
                for what, look in (await looks_at(shop, pages)).items():
                    row: Row = {"name": "growth", "what": what, "database": kind, "returns": size, "unit": "ms CPU"}
                    row |= await measure(look, rounds, server)
                    first = smallest.setdefault(what, row)
                    row |= {"reference": first["ours"], "ratio": round(first["ours"] / max(row["ours"], 0.01), 2)}
                    rows.append(row)
    return rows


@asynccontextmanager
async def filled_shop(
    kind: Kind, returns: int, root: Path | None
) -> AsyncIterator[tuple[ServedShop, Desk, Postgres | None]]:
    """Lend a service over a shop of so many returns, its pages to an administrator, and the server that holds it."""
    root = root or (fast_folder() if returns < LARGE else Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=root))
    folder.chmod(0o711)
    server = Postgres(folder / "postgres") if kind == "postgresql" else None
    try:
        if server is not None:
            server.create()
        url = server.url(server.create_database()) if server is not None else f"sqlite:///{folder}/returns.db"
        database = Database(url, now=Clock())
        await schema.upgrade(database)
        with Progress(*BAR, console=Console(stderr=True)) as progress:
            task = progress.add_task(f"{returns:,} returns on {kind}", total=returns)
            await fill(database, returns, on_rows=lambda done: progress.update(task, completed=done))
        await database.close()
        async with open_shop(url) as shop, open_desk(shop) as desk:
            await add_person(shop, "admin")
            await desk.sign_in("admin@shop.test")
            yield shop, desk, server
    finally:
        if server is not None:
            server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


async def measure(look: Look, rounds: int, server: Postgres | None) -> Row:
    """Return what a look takes: ms of CPU as `ours`, and its median, least and most time in ms."""
    for _ in range(WARM_UP):
        await look()
    times: list[float] = []
    cpu = cpu_seconds(server)
    while len(times) < rounds and sum(times) < MOST_SECONDS * 1000:
        began = time.perf_counter()
        await look()
        times.append((time.perf_counter() - began) * 1000)
    cpu = cpu_seconds(server) - cpu
    found = {"p50_ms": statistics.median(times), "min": min(times), "max": max(times), "ours": cpu * 1000 / len(times)}
    return {"rounds": len(times), **{name: round(value, 2) for name, value in found.items()}}


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
    words.add_argument("--folder", type=Path, help="for the databases (memory for small ones, else the disk)")
    asked = words.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for the rows
    kinds: list[Kind] = asked.database or ["sqlite", "postgresql"]
    for row in asyncio.run(measure_growth(asked.returns, kinds, rounds=asked.rounds, folder=asked.folder)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
