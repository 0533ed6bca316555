"""Where benchmarks are played: a PostgreSQL, the service's processes, and a shop's backend that drives them.

The driver and Stripe's simulator take part in no figure.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from returns_service.store import schema
from returns_service.store.database import Database
from tests.bench.costs import Meter
from tests.bench.facts import Facts, read_facts
from tests.bench.rounds import Side
from tests.harness.deployment import Deployment, answering, free_port
from tests.harness.patience import wait_for
from tests.harness.postgres import Postgres, fast_folder
from tests.harness.process import Process
from tests.harness.shop import KEY

SHOPS = 8  # that have a return under way at once
LIVES = 24  # a round
AMOUNT = 10_000  # minor units
APPROVAL = {"note": "Within the window."}
PARCEL = {"lines": [{"sku": "MUG", "quantity": 3, "condition": "new"}], "scan_id": "parcel_1"}
asyncpg_: Any = asyncpg  # typed in part only
Connection = Any
_orders = itertools.count(1)


def asked_for(order: str, payment: str) -> dict[str, Any]:
    """Return the body that asks for a return of all of an order."""
    line = {"sku": "MUG", "title": "Stoneware mug", "quantity": 3, "total_amount": AMOUNT}
    return {
        "order_id": order, "payment_intent": payment, "currency": "usd", "reason": "too_small",
        "customer_email": "customer@shop.test", "lines": [line],
    }  # fmt: skip


@asynccontextmanager
async def open_folder() -> AsyncIterator[Path]:
    """Lend a folder in memory."""
    folder = Path(tempfile.mkdtemp(prefix="returns-bench-", dir=fast_folder()))
    folder.chmod(0o711)  # where we are root, PostgreSQL is somebody else and has to get through
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_server() -> AsyncIterator[Postgres]:
    """Lend a PostgreSQL."""
    async with open_folder() as folder:
        server = Postgres(folder / "postgres")
        try:
            server.create()
            yield server
        finally:
            server.destroy()


async def create_database(server: Postgres) -> str:
    """Return the name of a new database, migrated."""
    name = server.create_database()
    database = Database(server.url(name))
    await schema.upgrade(database)
    await database.close()
    return name


def driver_url(server: Postgres, database: str) -> str:
    """Return the address of a database as asyncpg takes it."""
    return server.url(database).replace("+asyncpg", "")


@dataclass
class Target:
    """What a shop drives: the service, or a reference that answers the same calls."""

    urls: Sequence[str]  # asked in turn
    stripe: str  # the simulator that it asks
    headers: Mapping[str, str]
    client: httpx.AsyncClient
    refunded: Callable[[], Awaitable[int]]  # how many returns are refunded so far
    meter: Meter
    asked: int = 0

    async def pay(self, number: int) -> list[str]:
        """Let so many customers pay, and all that Stripe has to tell of it arrive; return the PaymentIntents."""
        paid = [await self.pay_once() for _ in range(number)]
        await self.quiet()
        return paid

    async def pay_once(self) -> str:
        """Let a customer pay; return the PaymentIntent."""
        form = {"amount": AMOUNT, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
        headers = {"Authorization": f"Bearer {KEY}"}
        response = await self.client.post(f"{self.stripe}/v1/payment_intents", data=form, headers=headers)
        return str(response.raise_for_status().json()["id"])

    async def quiet(self) -> None:
        """Wait until all of Stripe's webhooks have arrived."""

        async def look() -> int:
            return len((await self.client.get(f"{self.stripe}/_control/webhooks")).json()["mailbox"])

        await wait_for(look, "Stripe's webhooks to arrive", until=lambda left: not left)

    async def live(self, payments: Sequence[str]) -> list[str]:
        """Play a life on each payment, up to its refund's last webhook; return the returns."""
        places, began = asyncio.Semaphore(SHOPS), await self.refunded()

        async def one(payment: str) -> str:
            async with places:
                return await self.ask_for_all(payment)

        returns = await asyncio.gather(*(one(payment) for payment in payments))
        await wait_for(self.refunded, "the refunds", until=lambda done: done - began >= len(payments))
        await self.quiet()
        return returns

    async def ask_for_all(self, payment: str) -> str:
        """Create, approve and receive one return; return its id."""
        order = f"order_{next(_orders)}"
        made = await self.post("/v1/returns", asked_for(order, payment), f"{order}-1")
        path = f"/v1/returns/{made['id']}"
        await self.post(f"{path}/approve", APPROVAL, f"{order}-2")
        await self.post(f"{path}/receipts", PARCEL, f"{order}-3")
        return str(made["id"])

    async def post(self, path: str, body: Any, key: str) -> dict[str, Any]:
        """Post under an idempotency key."""
        headers, self.asked = {**self.headers, "Idempotency-Key": key}, self.asked + 1
        url = self.urls[self.asked % len(self.urls)]
        response = await self.client.post(url + path, json=body, headers=headers)
        assert response.is_success, response.text
        return dict(response.json())


@dataclass
class Service(Target):
    """The service on a database: its processes, and what it wrote of one life."""

    deployment: Deployment = field(kw_only=True)
    workers: Sequence[Process] = field(kw_only=True)
    facts: Facts = field(kw_only=True)
    returns: list[str] = field(kw_only=True)

    def end_workers(self) -> None:
        """End the workers, where what is measured needs none."""
        for worker in self.workers:
            worker.end()
        pids = {worker.pid for worker in self.workers}
        kept = {part: pid for part, pid in self.meter.processes.items() if pid not in pids}
        self.meter = replace(self.meter, processes=kept)


@asynccontextmanager
async def open_service(
    server: Postgres, database: str, *, workers: int = 1, webs: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    """Start the service as processes of their own, and play one life."""
    async with open_folder() as folder, open_connection(server, database) as connection:
        deployment = Deployment(folder, server.url(database), settings or {})
        try:
            port = free_port()
            await deployment.start_simulator(webhook_port=port)
            deployment.create_key()
            ports = [port, *(free_port() for _ in range(webs - 1))]
            served = [await deployment.start_web(one, "--no-worker") for one in ports]
            working = [deployment.start_worker() for _ in range(workers)]
            processes = {
                f"{part} {number}".removesuffix(" 1"): process
                for part, all_of_it in (("web", served), ("worker", working))
                for number, process in enumerate(all_of_it, 1)
            }
            headers = {"Authorization": f"Bearer {deployment.api_key}"}
            async with open_client() as client:
                meter = meter_of(processes, server, database, connection)
                service = Service(
                    deployment.webs, deployment.stripe, headers, client, refunded_in(connection), meter,
                    deployment=deployment, workers=working, facts=Facts({}), returns=[],
                )  # fmt: skip
                service.returns = await service.live(await service.pay(1))
                service.facts = await facts_of(connection, service.returns[0])
                yield service
        except BaseException:
            print(deployment.logs())
            raise
        finally:
            deployment.close()


async def facts_of(connection: Connection, return_id: str) -> Facts:
    """Return what the service wrote of one return."""

    async def read(sql: str, values: list[Any]) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(sql, *values)]

    order = await connection.fetchval("SELECT order_id FROM return_authorization WHERE id = $1", return_id)
    return await read_facts(read, return_id, [f"{order}-{number}" for number in (1, 2, 3)])


def refunded_in(connection: Connection) -> Callable[[], Awaitable[int]]:
    """Return what tells how many returns are refunded."""

    async def count() -> int:
        return int(await connection.fetchval("SELECT count(*) FROM return_authorization WHERE state = 'refunded'"))

    return count


def open_client() -> httpx.AsyncClient:
    """Return the driver's client. It takes answers as they are: the reference compresses none."""
    limits = httpx.Limits(max_connections=50)
    return httpx.AsyncClient(timeout=60, limits=limits, headers={"Accept-Encoding": "identity"})


def side_of(target: Target) -> Side:
    """Return a target's lives as a side of a comparison."""
    return Side(target.pay, target.live, target.meter, LIVES)


def meter_of(processes: Mapping[str, Process], server: Postgres, database: str, driver: Connection) -> Meter:
    """Return what measures processes and their database, without the driver's own connection."""
    pids = {part: process.pid for part, process in processes.items()}
    return Meter(pids, server, database, frozenset([driver.get_server_pid()]))


@asynccontextmanager
async def open_pool(url: str, connections: int) -> AsyncIterator[Any]:
    """Lend a pool of the driver's own, which doesn't reset what nobody has changed."""

    async def leave_as_it_is(_: Connection) -> None:
        return

    async with asyncpg_.create_pool(url, min_size=connections, max_size=connections, reset=leave_as_it_is) as pool:
        yield pool


@asynccontextmanager
async def open_connection(server: Postgres, database: str) -> AsyncIterator[Connection]:
    """Lend the driver's own connection to a database."""
    connection = await asyncpg_.connect(driver_url(server, database))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def open_bare(server: Postgres, database: str, facts: Facts) -> AsyncIterator[Target]:
    """Start the reference (`bare.py`) with a simulator of its own, over a database of its own."""
    async with open_folder() as folder, open_connection(server, database) as connection:
        deployment = Deployment(folder, server.url(database))
        try:
            port = free_port()
            await deployment.start_simulator(webhook_port=port)
            file = folder / "facts"
            file.write_bytes(pickle.dumps(facts))
            words = [str(port), driver_url(server, database), deployment.stripe, str(file)]
            process = deployment.start("bare", *words, program="tests.bench.bare")
            url = f"http://127.0.0.1:{port}"
            await answering(f"{url}/healthz", process)
            async with open_client() as client:
                meter = meter_of({"bare": process}, server, database, connection)
                yield Target([url], deployment.stripe, {}, client, refunded_in(connection), meter)
        except BaseException:
            print(deployment.logs())
            raise
        finally:
            deployment.close()
