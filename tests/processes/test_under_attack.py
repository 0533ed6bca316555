"""Attacks on a running service, each with any key or none: who else asks it is answered as before.

`/healthz` is watched from a process of its own, in multiples of its latency while idle. The bounds lie between what an
attack did before it was mended, which each test names, and what is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness.backend import backend_of
from tests.harness.deployment import Deployment, deployed, free_port
from tests.harness.patience import wait_for
from tests.harness.served_shop import return_body
from tests.harness.watch import watched

QUICK = {
    "RETURNS_HEADER_SECONDS": "1",
    "RETURNS_BODY_SECONDS": "1",
    "RETURNS_IDLE_SECONDS": "2",
    "RETURNS_CONNECTIONS": "400",
    "RETURNS_STREAMS_PER_KEY": "300",
}
ANSWERED_LATE = 8  # times the idle latency, of half of the answers
STOOD_STILL = 400  # times the idle latency: some milliseconds, so a stand-still of a second or more


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A web without a worker, on SQLite."""
    async with deployed(tmp_path, f"sqlite:///{tmp_path}/returns.db") as made:
        await made.start_simulator(webhook_port=None)
        await made.start_web(free_port(), "--no-worker")
        yield made


def create_key(deployment: Deployment, scope: str) -> dict[str, str]:
    """Return the headers of a new key with one scope."""
    made = json.loads(deployment.run("keys", "create", "--name", "attacker", "--scope", scope, "--json"))
    return {"Authorization": f"Bearer {made['secret']}", "Content-Type": "application/json"}


async def test_a1_no_body_of_a_megabyte_holds_the_process(deployment: Deployment) -> None:
    """A1: the last of 20,000 names twice, a megabyte of unknown fields, of `{}` lines: 11 s and 1 s each."""
    names = [f'"{number:05}":1' for number in range(20_000)]
    twice = f"{{{','.join([*names, names[-1]])}}}"
    fields = f"{{{','.join(f'{chr(34)}{number}{chr(34)}:1' for number in range(90_000))}}}"
    lines = f'{{"lines":[{",".join(["{}"] * 340_000)}]}}'
    headers = create_key(deployment, "receipts:write") | {"Idempotency-Key": "attack"}
    async with (
        httpx.AsyncClient(base_url=deployment.webs[0], headers=headers, timeout=60) as client,
        watched(deployment.webs[0]) as watch,
    ):
        for body in (twice, fields, lines, twice):
            answer = await client.post("/v1/returns/ret_x/receipts", content=body)
            assert answer.status_code == 400, answer.text
    assert watch.longest < STOOD_STILL


async def test_a3_requests_that_wait_for_stripe_keep_no_refund_waiting(tmp_path: Path) -> None:
    """A3: 250 filled the pool that the worker shared; its time-outs counted as Stripe's, and the breaker opened."""
    async with deployed(tmp_path, f"sqlite:///{tmp_path}/returns.db", RETURNS_STRIPE_CALLS="2") as deployment:
        await deployment.start_simulator(webhook_port=None)
        deployment.create_key()
        await deployment.start_web(free_port())
        async with backend_of(deployment) as backend, attacking(deployment) as client:
            payments = [await backend.pay(1000) for _ in range(3)]
            for name in payments:  # known from now on: to decide the next refund, Stripe isn't asked
                await backend.ask("POST", "/v1/refunds", {"payment_intent": name, "amount": 100})
            await deployment.control("settings", {"latency_seconds": 1.0})
            async with watched(deployment.webs[0]) as watch:
                attack = [asyncio.create_task(client.post("/v1/returns", json=return_body("pi_x"))) for _ in range(100)]
                refunds = [await backend.ask("POST", "/v1/refunds", {"payment_intent": name}) for name in payments]
                answers = await asyncio.gather(*attack)
                for refund in refunds:
                    row = await backend.ask("GET", f"/v1/refunds/{refund['id']}")
                    assert (row["status"], row["attempts"]) == ("succeeded", 1)
            figures = (await client.get("/metrics")).text
            assert "returns_stripe_failures_in_a_row 0.0" in figures
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) > 80
    assert {answer.json()["code"] for answer in refused} == {"stripe_unavailable"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert watch.median < ANSWERED_LATE


@asynccontextmanager
async def attacking(deployment: Deployment) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the shop's that makes any number of connections to the web."""
    headers, limits = {"Authorization": f"Bearer {deployment.api_key}"}, httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=deployment.webs[0], headers=headers, limits=limits, timeout=60) as client:
        yield client


def request_of(path: str, *headers: str) -> bytes:
    """Return the begin of a POST whose body is announced and doesn't come."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", "Content-Length: 1000", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def send_slowly(web: str, begin: bytes, drip: bytes) -> tuple[int, bytes]:
    """Send `begin`, then `drip` again and again until the web hangs up; return its status, 0 for none, and its word."""
    address = urlsplit(web)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(begin)
    heard = asyncio.create_task(reader.read())
    while not (await asyncio.wait([heard], timeout=0.2))[0]:
        writer.write(drip)
    with contextlib.suppress(OSError):  # what was sent after the answer is of no interest to anybody
        writer.close()
        await writer.wait_closed()
    answer = b"" if heard.exception() else heard.result()
    return int(answer.split()[1]) if answer else 0, answer


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A web that waits for nobody longer than a second or two."""
    async with deployed(tmp_path, f"sqlite:///{tmp_path}/returns.db", **QUICK) as made:
        await made.start_simulator(webhook_port=None)
        made.create_key()
        await made.start_web(free_port(), "--no-worker")
        yield made


async def test_a2_slow_and_silent_connections_are_ended(quick: Deployment) -> None:
    """A2: 300 connections were open for ever: idle, with half a header, with slow bodies, wanted ones or not."""
    web, key = quick.webs[0], f"Authorization: Bearer {quick.api_key}"
    attacks = {
        "silent": (b"", b""),
        "line ends alone": (b"\r\n", b"\r\n"),
        "half a header": (b"POST /v1/returns HTTP/1.1\r\nHost: a\r\nX: ", b"x"),
        "a slow body": (request_of("/v1/returns", key), b" "),
        "a slow webhook": (request_of("/webhooks/stripe", "Stripe-Signature: t=1,v1=a"), b" "),
        "a slow body that nobody wants": (request_of("/v1/returns"), b" "),
    }
    async with watched(web) as watch:
        ended = await asyncio.gather(*(send_slowly(web, *attack) for attack in attacks.values() for _ in range(50)))
    # The last drop may cross the answer on its way, and have the connection reset: most get it, each one ends.
    usual = [statistics.mode(status for status, _ in ended[n * 50 : n * 50 + 50]) for n in range(len(attacks))]
    assert dict(zip(attacks, usual, strict=True)) == {
        "silent": 0,
        "line ends alone": 0,
        "half a header": 408,
        "a slow body": 408,
        "a slow webhook": 408,
        "a slow body that nobody wants": 401,
    }
    assert all(b"application/problem+json" in answer for _, answer in ended if answer)
    assert watch.median < ANSWERED_LATE


@pytest.mark.parametrize("begin,drip", [(b"X: ", b"x" * 65_536), (b"X: a\r\n", b"X: a\r\n" * 10_000), (b"", b"\r\n")])
async def test_a2_headers_end_at_their_limit(quick: Deployment, begin: bytes, drip: bytes) -> None:
    """A2: 40 MB of headers were taken, one long one or many. An address of 64 KiB is none either."""
    address = "/" + "a" * (0 if begin else 70_000)
    status, answer = await send_slowly(quick.webs[0], f"GET {address} HTTP/1.1\r\n".encode() + begin, drip)
    assert (status, b"headers_too_large" in answer) == (431, True)


async def test_a2_a_web_holds_so_many_connections_and_no_more(quick: Deployment) -> None:
    """A2: each one more gets 503 at once, and those that idle make place in time."""
    web, number = quick.webs[0], int(QUICK["RETURNS_CONNECTIONS"])
    address = urlsplit(web)
    idle = [await asyncio.open_connection(address.hostname, address.port) for _ in range(number)]
    status, answer = await send_slowly(web, b"", b"")
    assert (status, b"too_many_connections" in answer, b"Retry-After: 1" in answer) == (503, True, True)
    await asyncio.gather(*(reader.read() for reader, _ in idle))
    async with httpx.AsyncClient(base_url=web) as client:
        assert (await client.get("/healthz")).status_code == 200
    for _, writer in idle:
        writer.close()


async def test_a7_a_client_that_hangs_up_is_no_mistake_of_ours(quick: Deployment) -> None:
    """A7: 50 hung up in the middle of a body: 50 tracebacks, counted as 500."""
    address = urlsplit(quick.webs[0])
    for path in ["/v1/returns", "/webhooks/stripe"] * 25:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request_of(path, f"Authorization: Bearer {quick.api_key}", "Stripe-Signature: t=1,v1=a") + b"{")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()

    async def ended() -> dict[str, int]:
        figures = (await client.get("/metrics")).text
        counted = re.findall(r'http_requests_total{method="POST",.*status="(\d+)"} (\d+)', figures)
        return {status: sum(int(n) for s, n in counted if s == status) for status, _ in counted}

    async with httpx.AsyncClient(base_url=quick.webs[0]) as client:
        seen = await wait_for(ended, "all ends to be counted", until=lambda seen: sum(seen.values()) == 50)
    assert seen == {"499": 50}
    assert "request.failed" not in quick.processes[-1].printed()


async def test_a4_readiness_and_figures_cost_next_to_nothing(deployment: Deployment) -> None:
    """A4: 64 a second, by anybody, made the API 25 times as slow: 16 to 19 ms of CPU each."""
    deployment.create_key()
    async with attacking(deployment) as client, watched(deployment.webs[0]) as watch:
        for _ in range(12):
            for path in ("/readyz", "/metrics"):
                answers = await asyncio.gather(*(client.get(path) for _ in range(32)))
                assert {answer.status_code for answer in answers} == {200}
    assert watch.median < ANSWERED_LATE


async def test_a5_hundreds_of_streams_keep_nobody_waiting(quick: Deployment) -> None:
    """A5: 500 streams of one key, each asking the database by itself, made the API 12 times as slow."""
    async with attacking(quick) as client, contextlib.AsyncExitStack() as open_streams:
        accept = {"Accept": "text/event-stream"}
        async with watched(quick.webs[0]) as watch:
            for _ in range(300):
                stream = await open_streams.enter_async_context(client.stream("GET", "/v1/events", headers=accept))
                assert stream.status_code == 200
            await asyncio.sleep(2)
    assert watch.median < ANSWERED_LATE
