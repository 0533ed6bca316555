"""From nothing to the first answer, and the memory that is then taken, against a bare Litestar application."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from returns_service.store import schema
from returns_service.store.database import Database
from tests.bench.costs import cpu_ms, resident_mb
from tests.bench.result import Row, row_of_costs
from tests.bench.stage import open_folder
from tests.harness.deployment import clean_environment, free_port
from tests.harness.patience import Patience
from tests.harness.shop import KEY, SECRET

AIM = 0.5  # at most twice as long
ROOT = Path(__file__).parents[3]


class Start(NamedTuple):
    """What a start took: CPU and wall-clock milliseconds to the first answer, and megabytes resident then."""

    cpu: float
    wall: float
    megabytes: float


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare starts of programs that nobody has loaded."""
    ours, reference = [], []
    async with open_folder() as folder:
        database = Database(f"sqlite:///{folder}/returns.db")
        await schema.upgrade(database)
        await database.close()
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/returns.db", "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": "http://127.0.0.1:9", "RETURNS_LOG_LEVEL": "error",
        }  # fmt: skip
        for number in range(rounds + 1):
            # As installed programs have it: compiled once, whatever this environment says.
            compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
            mine = start(["returns_service", "serve", "--port"], clean_environment(**settings, **compiled))
            theirs = start(["tests.bench.hello"], clean_environment(**compiled))
            if number:  # the first ones compile, and read the files from the disk
                ours.append(mine)
                reference.append(theirs)
                on_round()
    return [
        row_of_costs(
            "start", [one.cpu for one in ours], [one.cpu for one in reference], aim=AIM,
            ours_wall_ms=round(median(one.wall for one in ours)),
            reference_wall_ms=round(median(one.wall for one in reference)),
            memory_mb={"ours": round(median(one.megabytes for one in ours), 1),
                       "reference": round(median(one.megabytes for one in reference), 1)},
        )
    ]  # fmt: skip


def start(words: Sequence[str], environment: Mapping[str, str]) -> Start:
    """Start a module with a port as its last word, ask it until it answers, and end it."""
    port = free_port()
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *words, str(port)], cwd=ROOT, env=dict(environment),
                               stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        patience = Patience(f"an answer of {words[0]}")
        while not answers(port):
            assert process.poll() is None, f"{words[0]} ended"
            patience.spend(cpu_ms(process.pid))
            time.sleep(0.01)
        return Start(cpu_ms(process.pid), (time.monotonic() - began) * 1000, resident_mb(process.pid))
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Return whether there is an answer on a port."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.HTTPError:
        return False
