"""A simulator, webs and workers as processes of their own, on one database."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update
from sqlmodel import col

from returns_service.store.database import Database
from returns_service.store.tables import Delivery, Payment, Refund
from tests.harness.patience import wait_for
from tests.harness.process import Process
from tests.harness.shop import KEY, SECRET


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def clean_environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with these settings of the service, and none of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STRIPE_", "RETURNS_", "DATABASE_"))}
    return {**kept, **settings}


@dataclass
class Deployment:
    """All processes of one test, and where they listen."""

    folder: Path
    database_url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    webs: list[str] = field(default_factory=list)
    stripe: str = ""
    api_key: str = ""

    def environment(self) -> dict[str, str]:
        """Return the environment that all processes share."""
        settings = {
            "DATABASE_URL": self.database_url,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": self.stripe,
            "RETURNS_RATE_LIMIT": "100000",
            "RETURNS_STRIPE_BUDGET": "500",
            "RETURNS_LOG_LEVEL": "warning",
            **self.settings,
        }
        return clean_environment(**settings)

    def start(self, name: str, *words: str, program: str = "returns_service.cli", **settings: str) -> Process:
        """Start a process."""
        log = self.folder / f"{len(self.processes)}-{name}.log"
        environment = {**self.environment(), **settings}
        process = Process(words, environment, log, folder=self.folder, program=program)
        process.start()
        self.processes.append(process)
        return process

    async def start_simulator(self, webhook_port: int | None) -> Process:
        """Start the Stripe simulator; it posts its webhooks to the web on `webhook_port`, if there is one."""
        port = free_port()
        self.stripe = f"http://127.0.0.1:{port}"
        words = ["simulator", "--port", str(port), "--seed", "7"]
        if webhook_port is not None:
            hook = f"http://127.0.0.1:{webhook_port}/webhooks/stripe"
            words += ["--webhook-url", hook, "--webhook-secret", SECRET]
        process = self.start("simulator", *words)
        await answering(f"{self.stripe}/_control/state", process)
        return process

    async def start_web(self, port: int, *flags: str) -> Process:
        """Start a web."""
        process = self.start("web", "serve", "--port", str(port), *flags)
        self.webs.append(f"http://127.0.0.1:{port}")
        await answering(f"{self.webs[-1]}/healthz", process)
        return process

    def start_worker(self) -> Process:
        """Start a worker."""
        return self.start("worker", "worker")

    def start_crashing_worker(self, point: str, calls: int) -> Process:
        """Start a worker that kills itself at `point` of its n-th call."""
        concurrency = "1"  # else its first claim takes all there is into its grave
        program = "tests.harness.crashing_worker"
        name = f"crashing-{point}"
        return self.start(name, point, str(calls), program=program, RETURNS_WORKER_CONCURRENCY=concurrency)

    def run(self, *words: str) -> str:
        """Run a command to its end and return what it prints."""
        process = Process(words, self.environment(), self.folder / f"{words[0]}.log", folder=self.folder)
        process.start()
        assert process.wait() == 0, process.printed()
        return process.printed()

    def create_key(self) -> None:
        """Create the shop's API key."""
        made = self.run("keys", "create", "--name", "shop", "--scope", "admin", "--json")
        self.api_key = json.loads(made)["secret"]

    async def control(self, path: str, body: dict[str, Any]) -> None:
        """Tell the simulator what to do."""
        async with httpx.AsyncClient(base_url=self.stripe, timeout=None) as client:  # noqa: S113 - the test's own process
            (await client.post(f"/_control/{path}", json=body)).raise_for_status()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.is_alive:
                process.end(signal.SIGKILL)

    def logs(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {process.log.name}\n{process.printed()[-1500:]}" for process in self.processes)


@asynccontextmanager
async def deployed(folder: Path, database_url: str, **settings: str) -> AsyncIterator[Deployment]:
    """Lend a deployment, with nothing started yet. Its logs are printed if the test fails, its processes killed."""
    deployment = Deployment(folder, database_url, settings)
    try:
        yield deployment
    except BaseException:
        print(deployment.logs())
        raise
    finally:
        deployment.close()


async def answering(url: str, process: Process) -> None:
    """Wait until `process` answers at `url`. Raises NoProgress, or AssertionError once it has ended."""

    async def look() -> int | str:
        assert process.is_alive, f"{process.log.name} ended: {process.exit_status}\n{process.printed()[-1500:]}"
        try:
            return (await client.get(url)).status_code
        except httpx.HTTPError as error:
            return type(error).__name__

    async with httpx.AsyncClient() as client:
        await wait_for(look, url, until=lambda seen: isinstance(seen, int) and seen < 500)


async def end_leases(database_url: str) -> None:
    """Let all leases be over, as if half a minute had passed. Call it while no owner of one is alive."""
    database = Database(database_url)
    async with database.transaction() as tx:
        leased = update(Refund).where(col(Refund.lease_until) > tx.now)
        await tx.execute(leased.values(lease_until=tx.now, next_attempt_at=tx.now))
        await tx.execute(update(Payment).where(col(Payment.busy_until) > tx.now).values(busy_until=tx.now))
        waiting = update(Delivery).where(col(Delivery.next_attempt_at).is_not(None))
        await tx.execute(waiting.values(next_attempt_at=tx.now))
    await database.close()
