"""Attacks on a running service, each with any key or none: who else asks it is answered as before.

`/healthz` is watched from a process of its own, in multiples of its latency while idle. The bounds lie between what an
attack did before it was mended, which each test names, and what is left of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.harness.backend import backend_of
from tests.harness.deployment import Deployment, deployed, free_port
from tests.harness.served_shop import return_body
from tests.harness.watch import watched

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
    """A3: 250 requests filled the pool that the worker shared; its time-outs counted as Stripe's, the breaker opened."""
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
