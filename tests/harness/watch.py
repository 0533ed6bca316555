"""A watcher outside of a service: how long `/healthz` takes, asked again and again from a process of its own.

What it saw is told in multiples of what the same machine took a moment before: no test leans on its speed.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing.connection
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.harness.process import FORKS

BETWEEN_SECONDS = 0.01
LONGEST_ANSWER_SECONDS = 60.0
IDLE_SECONDS = 1.0


@dataclass
class Watch:
    """The latencies of `/healthz`, in seconds, each over a connection of its own; those of before an attack apart."""

    idle: list[float] = field(default_factory=list)
    attacked: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """How many times as long as before the attack half of the answers took."""
        return statistics.median(self.attacked) / statistics.median(self.idle)

    @property
    def longest(self) -> float:
        """How many times as long as usual before the attack the slowest answer took."""
        return max(self.attacked) / statistics.median(self.idle)


def ask_until_told(url: str, told: multiprocessing.connection.Connection) -> None:
    """Ask `/healthz` until something is told over the connection; send back the latencies."""
    host = urlsplit(url).netloc
    latencies = []
    while not told.poll(BETWEEN_SECONDS):
        began = time.perf_counter()
        connection = http.client.HTTPConnection(host, timeout=LONGEST_ANSWER_SECONDS)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        latencies.append(time.perf_counter() - began if answer.status == http.client.OK else LONGEST_ANSWER_SECONDS)
    told.send(latencies)


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Watch]:
    """Watch the service at `url`: for a moment while it is idle, then for as long as the block takes."""
    watch = Watch()
    async with asking(url, watch.idle):
        await asyncio.sleep(IDLE_SECONDS)
    async with asking(url, watch.attacked):
        yield watch


@asynccontextmanager
async def asking(url: str, latencies: list[float]) -> AsyncIterator[None]:
    """Add the latencies of the block's time to `latencies`."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=ask_until_told, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield
        ours.send("enough")
        latencies += await asyncio.to_thread(ours.recv)
    finally:
        process.kill()
        process.join()
