"""Receivers that hang, redirect, talk nonsense or see the service die: the good one is told all, the bad ones end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col

from returns_service.store.database import Database
from returns_service.store.tables import Delivery
from tests.processes.town import Process, Shop, Town, answering, free_port, shop_of
from tests.worker.receivers import Arrived

RETURNS = 12
PROMPTLY_SECONDS = 8.0  # on a busy machine; alone it is below one
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = [
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    b"220 mail.test ESMTP\r\n",
]


@dataclass
class Listener:
    """A receiver on loopback. `answer` says what to send back; None: nothing, the line stays open."""

    answer: Callable[[Arrived], Awaitable[bytes | None]]
    arrived: list[tuple[float, Arrived]] = field(default_factory=list)
    port: int = 0
    endpoint: str = ""
    secret: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
            headers = httpx.Headers([(name, value) for name, value in pairs])
            call = Arrived(headers["host"], headers, await reader.readexactly(int(headers["content-length"])))
            self.arrived.append((time.time(), call))
            answer = await self.answer(call)
            if answer is None:
                await reader.read()  # until the other side has had enough
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    @property
    def told(self) -> list[dict[str, Any]]:
        """The events, each where it arrived first."""
        return list({call.headers["webhook-id"]: call.event for _, call in self.arrived}.values())

    def in_order(self) -> bool:
        """Whether each return's events came in their sequence."""
        of: dict[str, list[int]] = defaultdict(list)
        for event in self.told:
            if event["return"] and event["sequence"]:
                of[event["return"]].append(event["sequence"])
        return bool(of) and all(found == sorted(found) for found in of.values())


@asynccontextmanager
async def listening(town: Town, shop: Shop, *listeners: Listener) -> AsyncIterator[None]:
    """Open the receivers and make an endpoint for each."""
    servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in listeners]
    for listener, server in zip(listeners, servers, strict=True):
        listener.port = server.sockets[0].getsockname()[1]
        hook = {"url": f"http://127.0.0.1:{listener.port}/hook", "events": ["*"]}
        made = await shop.ask("POST", "/v1/webhook_endpoints", hook)
        listener.endpoint, listener.secret = made["id"], made["secret"]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def a_town(folder: Path, database_url: str) -> tuple[Town, Process]:
    """Start a web with a worker inside, and on PostgreSQL another worker."""
    port = free_port()
    town = Town(folder, database_url, {"RETURNS_WEBHOOKS_ALLOW_PRIVATE": "1", "RETURNS_DATABASE_POOL": "5"})
    await town.simulator(webhook_port=port)
    town.make_key()
    web = await town.web(port)
    if database_url.startswith("postgresql"):
        town.worker()
    return town, web


async def events_of(shop: Shop) -> list[dict[str, Any]]:
    """Return the whole feed."""
    return await shop.everything(lambda after: shop.ask("GET", f"/v1/events?limit=100{after}"))


async def until(true: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.1)


async def told_all(shop: Shop, listener: Listener, seconds: float) -> None:
    """Wait until a receiver has every event of the feed. Raises AssertionError with how many are missing."""
    missing: set[str] = set()

    async def complete() -> bool:
        nonlocal missing
        missing = {event["id"] for event in await events_of(shop)} - {event["id"] for event in listener.told}
        return not missing

    try:
        await until(complete, seconds)
    except TimeoutError:
        raise AssertionError(f"{len(missing)} events never arrived") from None


async def days_pass(database_url: str, endpoints: Sequence[str]) -> None:
    """Move what is stored about failing deliveries three days back, so that each is due for its last call."""
    database = Database(database_url)
    async with database.transaction() as tx:
        long_ago = tx.now - timedelta(days=3)
        failing = update(Delivery).where(
            col(Delivery.endpoint_id).in_(endpoints), col(Delivery.failing_since).is_not(None)
        )
        await tx.execute(failing.values(failing_since=long_ago, next_attempt_at=tx.now))
    await database.close()


async def deliveries_of(shop: Shop, endpoint: str) -> list[dict[str, Any]]:
    return await shop.everything(lambda after: shop.ask("GET", f"/v1/deliveries?endpoint={endpoint}&limit=100{after}"))


def gaps(delivery: dict[str, Any]) -> list[float]:
    """Return the seconds between a delivery's calls."""
    at = [datetime.fromisoformat(entry["at"]) for entry in delivery["attempts"]]
    return [(later - sooner).total_seconds() for sooner, later in pairwise(at)]


@pytest.mark.timeout(240)
async def test_bad_receivers_are_retried_then_disabled_and_the_good_one_is_told_all(
    tmp_path: Path, database_url: str
) -> None:
    mended = False

    async def good(_: Arrived) -> bytes:
        return OK

    async def hangs(_: Arrived) -> bytes | None:
        return OK if mended else None

    async def nonsense(call: Arrived) -> bytes:
        return OK if mended else BAD[len(call.body) % len(BAD)]

    town, _ = await a_town(tmp_path, database_url)
    kind, silent, rude = Listener(good), Listener(hangs), Listener(nonsense)
    try:
        async with shop_of(town) as shop, listening(town, shop, kind, silent, rude):
            ids = await asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(RETURNS)))
            await shop.all_refunded(ids, seconds=60)
            await told_all(shop, kind, seconds=PROMPTLY_SECONDS)
            assert kind.in_order()
            assert all(call.verified_with(kind.secret, at) for at, call in kind.arrived)
            waits = [at - datetime.fromisoformat(call.event["created"]).timestamp() for at, call in kind.arrived]
            assert sorted(waits)[len(waits) // 2] < PROMPTLY_SECONDS
            assert silent.arrived, "the hanging one was never called"

            async def retried() -> bool:
                calls = [len(row["attempts"]) for row in await deliveries_of(shop, rude.endpoint)]
                waits = [len(row["attempts"]) for row in await deliveries_of(shop, silent.endpoint)]
                return max(calls) >= 2 and max(waits) >= 1  # the hanging one's call has timed out

            await until(retried, seconds=60)
            for listener, words in ((rude, ("redirects", "500", "no HTTP")), (silent, ("10 seconds",))):
                rows = await deliveries_of(shop, listener.endpoint)
                assert {row["status"] for row in rows} == {"pending"}
                errors = {entry["error"] for row in rows for entry in row["attempts"]}
                assert errors
                assert all(any(word in error for word in words) for error in errors), errors
                assert all(row["next_attempt_at"] for row in rows)
                assert all(gap >= 4 for row in rows for gap in gaps(row)), "retried without a pause"

            await days_pass(database_url, [silent.endpoint, rude.endpoint])

            async def disabled() -> bool:
                paths = [f"/v1/webhook_endpoints/{name.endpoint}" for name in (silent, rude)]
                return {(await shop.ask("GET", path))["status"] for path in paths} == {"disabled"}

            await until(disabled, seconds=40)
            for listener in (silent, rude):
                endpoint = await shop.ask("GET", f"/v1/webhook_endpoints/{listener.endpoint}")
                assert "3 days" in endpoint["disabled_reason"]
                assert endpoint["disabled_at"]
                rows = await deliveries_of(shop, listener.endpoint)
                assert {row["status"] for row in rows} == {"dead"}
                assert all(row["reason"] for row in rows)

            mended = True
            ids = [await shop.returned_in_three_parcels(RETURNS)]
            await shop.all_refunded(ids, seconds=30)
            await told_all(shop, kind, seconds=PROMPTLY_SECONDS)
            for listener in (silent, rude):
                listener.arrived.clear()
                path = f"/v1/webhook_endpoints/{listener.endpoint}"
                await shop.ask("POST", path, {"status": "enabled"})
                await told_all(shop, listener, seconds=60)
                assert listener.in_order()
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()


@pytest.mark.timeout(180)
async def test_a_kill_between_a_call_and_its_write_back_sends_it_again(tmp_path: Path, database_url: str) -> None:
    kills = 0
    web: Process | None = None
    dying = asyncio.Lock()  # two calls at once would start a process twice, and lose one of the two

    async def deadly(call: Arrived) -> bytes:
        """Take the event, and let the service die before it hears so."""
        nonlocal kills
        if call.event["type"] in ("receipt.created", "refund.created") and web is not None:
            async with dying:
                if kills < 3:
                    kills += 1
                    for process in town.processes:
                        if process is web or "worker" in process.log.name:
                            await asyncio.to_thread(process.end, signal.SIGKILL)
                            process.start()
                    await answering(f"{town.webs[0]}/healthz")
                    await due_now(database_url)
        return OK

    town, web = await a_town(tmp_path, database_url)
    listener = Listener(deadly)
    try:
        async with shop_of(town) as shop, listening(town, shop, listener):
            ids = await asyncio.gather(*(shop.returned_in_three_parcels(n) for n in range(4)))
            await shop.all_refunded(ids, seconds=90)
            await told_all(shop, listener, seconds=60)
            assert kills == 3
            assert listener.in_order()
            calls = [call.headers["webhook-id"] for _, call in listener.arrived]
            assert len(calls) > len(set(calls)), "nothing was sent twice, so nothing was lost by the kills"
            bodies: dict[str, set[bytes]] = defaultdict(set)
            for _, call in listener.arrived:
                bodies[call.headers["webhook-id"]].add(call.body)
            assert all(len(found) == 1 for found in bodies.values())
            rows = await deliveries_of(shop, listener.endpoint)

            async def settled() -> bool:
                found = await deliveries_of(shop, listener.endpoint)
                return {row["status"] for row in found} == {"delivered"}

            await until(settled, seconds=40)
            assert {row["event"] for row in rows} == {event["id"] for event in await events_of(shop)}
    except BaseException:
        print(town.complaints())
        raise
    finally:
        town.close()


async def due_now(database_url: str) -> None:
    """End all leases: what a dead process held is due now, and not when half a minute has passed."""
    database = Database(database_url)
    async with database.transaction() as tx:
        held = update(Delivery).where(col(Delivery.next_attempt_at).is_not(None))
        await tx.execute(held.values(next_attempt_at=tx.now))
    await database.close()
