"""Attacks on a running service, each with any key or none: who else asks it is answered as before.

`/healthz` is watched from a process of its own, in multiples of its latency while idle. The bounds lie between what an
attack did before it was mended, which each test names, and what is left of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.harness.deployment import Deployment, deployed, free_port
from tests.harness.watch import watched

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
