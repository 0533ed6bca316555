"""Receivers that hang, redirect, talk nonsense or see the service die: the good one gets all, the bad ones end."""

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
from sqlalchemy import update
from sqlmodel import col

from returns_service.store.database import Database
from returns_service.store.tables import Delivery
from tests.harness.backend import Backend, backend_of
from tests.harness.deployment import Deployment, answering, deployed, end_leases, free_port
from tests.harness.patience import wait_for
from tests.harness.webhook_receivers import ReceivedCall

RETURNS = 8
KILLS = 3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = [
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    b"220 mail.test ESMTP\r\n",
]


@dataclass
class SocketReceiver:
    """A receiver on loopback. `answer` returns what to send back; None: nothing, the line stays open."""

    answer: Callable[[ReceivedCall], Awaitable[bytes | None]]
    calls: list[tuple[float, ReceivedCall]] = field(default_factory=list)  # each with its Unix time
    port: int = 0
    endpoint: str = ""
    secret: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
            headers = httpx.Headers([(name, value) for name, value in pairs])
            body = await reader.readexactly(int(headers["content-length"]))
            call = ReceivedCall(headers["host"], headers, body)
            self.calls.append((time.time(), call))
            answer = await self.answer(call)
            if answer is None:
                await reader.read()  # until the other side has had enough
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, each where it arrived first."""
        return list({call.headers["webhook-id"]: call.event for _, call in self.calls}.values())

    def in_order(self) -> bool:
        """Return whether each return's events came in their sequence."""
        sequences: dict[str, list[int]] = defaultdict(list)
        for event in self.events:
            if event["return"] and event["sequence"]:
                sequences[event["return"]].append(event["sequence"])
        return bool(sequences) and all(numbers == sorted(numbers) for numbers in sequences.values())


@asynccontextmanager
async def listening(backend: Backend, *receivers: SocketReceiver) -> AsyncIterator[None]:
    """Open the receivers and make an endpoint for each."""
    servers = [await asyncio.start_server(receiver.serve, "127.0.0.1", 0) for receiver in receivers]
    for receiver, server in zip(receivers, servers, strict=True):
        receiver.port = server.sockets[0].getsockname()[1]
        hook = {"url": f"http://127.0.0.1:{receiver.port}/hook", "events": ["*"]}
        made = await backend.ask("POST", "/v1/webhook_endpoints", hook)
        receiver.endpoint, receiver.secret = made["id"], made["secret"]
    try:
        yield
    finally:
        for server in servers:
            server.close()


@asynccontextmanager
async def a_web(folder: Path, database_url: str) -> AsyncIterator[Deployment]:
    """Lend a web with a worker inside, and on PostgreSQL another worker."""
    port = free_port()
    settings = {"RETURNS_WEBHOOKS_ALLOW_PRIVATE": "1", "RETURNS_DATABASE_POOL": "5"}
    async with deployed(folder, database_url, **settings) as deployment:
        await deployment.start_simulator(webhook_port=port)
        deployment.create_key()
        await deployment.start_web(port)
        if database_url.startswith("postgresql"):
            deployment.start_worker()
        yield deployment


async def events_of(backend: Backend) -> list[dict[str, Any]]:
    """Return the whole feed."""
    return await backend.everything(lambda after: backend.ask("GET", f"/v1/events?limit=100{after}"))


async def all_received(backend: Backend, receiver: SocketReceiver) -> None:
    """Wait until a receiver has every event of the feed. Each one that arrives is progress."""

    async def missing() -> int:
        wanted = {event["id"] for event in await events_of(backend)}
        return len(wanted - {event["id"] for event in receiver.events})

    await wait_for(missing, "the events that never arrived", until=lambda count: count == 0)


async def let_days_pass(database_url: str, endpoints: Sequence[str]) -> None:
    """Move what is stored about failing deliveries three days back, so that each is due for its last call."""
    database = Database(database_url)
    async with database.transaction() as tx:
        long_ago = tx.now - timedelta(days=3)
        failing = update(Delivery).where(
            col(Delivery.endpoint_id).in_(endpoints), col(Delivery.failing_since).is_not(None)
        )
        await tx.execute(failing.values(failing_since=long_ago, next_attempt_at=tx.now))
    await database.close()


async def deliveries_of(backend: Backend, endpoint: str) -> list[dict[str, Any]]:
    path = f"/v1/deliveries?endpoint={endpoint}&limit=100"
    return await backend.everything(lambda after: backend.ask("GET", path + after))


async def statuses_of(backend: Backend, endpoint: str) -> list[str]:
    return sorted(row["status"] for row in await deliveries_of(backend, endpoint))


def gaps(delivery: dict[str, Any]) -> list[float]:
    """Return the seconds between a delivery's calls."""
    at = [datetime.fromisoformat(entry["at"]) for entry in delivery["attempts"]]
    return [(later - sooner).total_seconds() for sooner, later in pairwise(at)]


async def test_bad_receivers_are_retried_then_disabled_and_the_good_one_is_told_all(
    tmp_path: Path, postgresql_url: str
) -> None:
    mended = False

    async def accept(_: ReceivedCall) -> bytes:
        return OK

    async def hang(_: ReceivedCall) -> bytes | None:
        return OK if mended else None

    async def talk_nonsense(call: ReceivedCall) -> bytes:
        return OK if mended else BAD[len(call.body) % len(BAD)]

    good, silent, rude = SocketReceiver(accept), SocketReceiver(hang), SocketReceiver(talk_nonsense)
    async with (
        a_web(tmp_path, postgresql_url) as deployment,
        backend_of(deployment) as backend,
        listening(backend, good, silent, rude),
    ):
        await backend.all_refunded(await backend.return_many(RETURNS))
        await all_received(backend, good)
        assert good.in_order()
        assert all(call.verified_with(good.secret, at) for at, call in good.calls)
        assert silent.calls, "the hanging one was never called"
        for receiver in (silent, rude):
            assert "delivered" not in await statuses_of(backend, receiver.endpoint), "the good one waited for it"

        async def most_calls(receiver: SocketReceiver) -> int:
            return max(len(row["attempts"]) for row in await deliveries_of(backend, receiver.endpoint))

        await wait_for(lambda: most_calls(rude), "a retry", until=lambda calls: calls >= 2)
        await wait_for(lambda: most_calls(silent), "a call that timed out")
        for receiver, words in ((rude, ("redirects", "500", "no HTTP")), (silent, ("10 seconds",))):
            rows = await deliveries_of(backend, receiver.endpoint)
            assert {row["status"] for row in rows} == {"pending"}
            errors = {entry["error"] for row in rows for entry in row["attempts"]}
            assert errors
            assert all(any(word in error for word in words) for error in errors), errors
            assert all(row["next_attempt_at"] for row in rows)
            assert all(gap >= 4 for row in rows for gap in gaps(row)), "retried without a pause"

        await let_days_pass(postgresql_url, [silent.endpoint, rude.endpoint])

        async def endpoint_statuses() -> set[str]:
            paths = [f"/v1/webhook_endpoints/{receiver.endpoint}" for receiver in (silent, rude)]
            return {(await backend.ask("GET", path))["status"] for path in paths}

        await wait_for(endpoint_statuses, "both to be disabled", until=lambda seen: seen == {"disabled"})
        for receiver in (silent, rude):
            endpoint = await backend.ask("GET", f"/v1/webhook_endpoints/{receiver.endpoint}")
            assert "3 days" in endpoint["disabled_reason"]
            assert endpoint["disabled_at"]
            rows = await deliveries_of(backend, receiver.endpoint)
            assert {row["status"] for row in rows} == {"dead"}
            assert all(row["reason"] for row in rows)

        mended = True
        await backend.all_refunded(await backend.return_many(1, first=RETURNS))
        await all_received(backend, good)
        for receiver in (silent, rude):
            receiver.calls.clear()
            await backend.ask("POST", f"/v1/webhook_endpoints/{receiver.endpoint}", {"status": "enabled"})
            await all_received(backend, receiver)
            assert receiver.in_order()


async def test_a_kill_between_a_call_and_its_write_back_sends_it_again(tmp_path: Path, database_url: str) -> None:
    kills = 0
    one_at_a_time = asyncio.Lock()  # two calls at once would start a process twice, and lose one of the two

    async def kill_and_accept(call: ReceivedCall) -> bytes:
        """Take the event, and let the service die before it gets the answer."""
        nonlocal kills
        if call.event["type"] in ("receipt.created", "refund.created"):
            async with one_at_a_time:
                if kills < KILLS:
                    kills += 1
                    await kill_all()
        return OK

    async def kill_all() -> None:
        services = [process for process in deployment.processes if "simulator" not in process.log.name]
        for process in services:
            await asyncio.to_thread(process.end, signal.SIGKILL)
        await end_leases(database_url)
        for process in services:
            process.start()
        await answering(f"{deployment.webs[0]}/healthz", services[0])

    receiver = SocketReceiver(kill_and_accept)
    async with (
        a_web(tmp_path, database_url) as deployment,
        backend_of(deployment) as backend,
        listening(backend, receiver),
    ):
        await backend.all_refunded(await backend.return_many(4))
        await all_received(backend, receiver)
        assert kills == KILLS
        assert receiver.in_order()
        ids = [call.headers["webhook-id"] for _, call in receiver.calls]
        assert len(ids) > len(set(ids)), "nothing was sent twice, so nothing was lost by the kills"
        bodies: dict[str, set[bytes]] = defaultdict(set)
        for _, call in receiver.calls:
            bodies[call.headers["webhook-id"]].add(call.body)
        assert all(len(sent) == 1 for sent in bodies.values())
        await wait_for(
            lambda: statuses_of(backend, receiver.endpoint),
            "all to be written down as delivered",
            until=lambda seen: set(seen) == {"delivered"},
        )
        rows = await deliveries_of(backend, receiver.endpoint)
        assert {row["event"] for row in rows} == {event["id"] for event in await events_of(backend)}
