"""A simulator, webs and workers as processes of their own, and a shop that never gives up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent
KEY = "sk_test_" + "town"
SECRET = "whsec_" + "town"
PATIENCE_SECONDS = 60.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Process:
    """A process that can be started again after it was killed."""

    words: Sequence[str | Path]
    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.words, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit status."""
        assert self.running is not None
        if self.running.poll() is None:
            self.running.send_signal(number)
        return self.running.wait(timeout=40)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.running is not None and self.running.poll() is None


@dataclass
class Town:
    """All processes of one test, and where they listen."""

    folder: Path
    database_url: str
    more: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    webs: list[str] = field(default_factory=list)
    stripe: str = ""
    api_key: str = ""

    def environment(self) -> dict[str, str]:
        """Return the settings that all processes share."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STRIPE_", "RETURNS_", "DATABASE_"))}
        return {
            **kept,
            "DATABASE_URL": self.database_url,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": self.stripe,
            "RETURNS_RATE_LIMIT": "100000",
            "RETURNS_STRIPE_BUDGET": "500",
            "RETURNS_LOG_LEVEL": "warning",
            **self.more,
        }

    def started(self, name: str, *words: str | Path) -> Process:
        """Start a process."""
        log = self.folder / f"{len(self.processes)}-{name}.log"
        process = Process(words, self.environment(), log)
        process.start()
        self.processes.append(process)
        return process

    async def simulator(self, webhook_port: int | None) -> Process:
        """Start the Stripe simulator; it posts its webhooks to the web on `webhook_port`, if there is one."""
        port = free_port()
        self.stripe = f"http://127.0.0.1:{port}"
        words = ["simulator", "--port", str(port), "--seed", "7"]
        if webhook_port is not None:
            hook = f"http://127.0.0.1:{webhook_port}/webhooks/stripe"
            words += ["--webhook-url", hook, "--webhook-secret", SECRET]
        process = self.started("simulator", BIN / "returns-service", *words)
        await answering(f"{self.stripe}/_control/state")
        return process

    async def web(self, port: int, *flags: str) -> Process:
        """Start a web."""
        process = self.started("web", BIN / "returns-service", "serve", "--port", str(port), *flags)
        self.webs.append(f"http://127.0.0.1:{port}")
        await answering(f"{self.webs[-1]}/healthz")
        return process

    def worker(self) -> Process:
        """Start a worker."""
        return self.started("worker", BIN / "returns-service", "worker")

    def dying_worker(self, point: str, calls: int) -> Process:
        """Start a worker that kills itself at `point` of its n-th call."""
        words = [sys.executable, "-m", "tests.processes.dying", point, str(calls)]
        process = Process(words, self.environment(), self.folder / f"{len(self.processes)}-dying-{point}.log")
        process.environment["RETURNS_WORKER_CONCURRENCY"] = "1"  # else the first takes all there is into its grave
        process.start()
        self.processes.append(process)
        return process

    def cli(self, *words: str) -> str:
        """Run a command and return what it prints."""
        done = subprocess.run(
            [BIN / "returns-service", *words],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make_key(self) -> None:
        """Make the shop's key."""
        self.api_key = json.loads(self.cli("keys", "create", "--name", "town", "--scope", "admin", "--json"))["secret"]

    async def control(self, path: str, body: dict[str, Any]) -> None:
        """Tell the simulator what to do."""
        async with httpx.AsyncClient(base_url=self.stripe) as client:
            (await client.post(f"/_control/{path}", json=body)).raise_for_status()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.is_alive:
                process.end(signal.SIGKILL)

    def complaints(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {p.log.name}\n{p.log.read_text(errors='replace')[-1500:]}" for p in self.processes)


async def answering(url: str) -> None:
    """Wait until something answers. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code < 500:
                    return
            await asyncio.sleep(0.05)


@dataclass
class Shop:
    """A shop's backend that repeats each request with its key until it is answered."""

    town: Town
    client: httpx.AsyncClient
    stripe: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask any web, again and again with the same key; return the answer. Raises AssertionError for a 4xx."""
        key = str(uuid.uuid4())
        end = time.monotonic() + PATIENCE_SECONDS
        last = ""
        while time.monotonic() < end:
            try:
                web = random.choice(self.town.webs)
                headers = {"Idempotency-Key": key} if method == "POST" else {}
                answer = await self.client.request(method, web + path, json=body, headers=headers)
            except httpx.HTTPError as error:
                last = repr(error)
            else:
                if answer.status_code < 300:
                    found: dict[str, Any] = answer.json()
                    return found
                last = f"{answer.status_code} {answer.text}"
                assert answer.status_code >= 500 or answer.json()["code"] == "idempotency_key_in_use", last
            await asyncio.sleep(0.1)
        raise AssertionError(f"{method} {path} was never answered: {last}")

    async def paid(self, amount: int, card: str = "pm_card_visa") -> str:
        """Let a customer pay at Stripe; return the PaymentIntent's id."""
        form = {"amount": amount, "currency": "usd", "confirm": "true", "payment_method": card}
        answer = await self.stripe.post("/v1/payment_intents", data=form)
        return str(answer.raise_for_status().json()["id"])

    async def returned_in_three_parcels(self, number: int) -> str:
        """Play one return of three units worth 100.00 in three parcels; return its id once all is received."""
        payment = await self.paid(10_000)
        lines = [{"sku": "MUG", "quantity": 3, "total_amount": 10_000}]
        order = {"order_id": f"order_{number}", "payment_intent": payment, "currency": "usd"}
        row = await self.ask("POST", "/v1/returns", {**order, "lines": lines})
        await self.ask("POST", f"/v1/returns/{row['id']}/approve", {})
        for parcel in range(3):
            counted = [{"sku": "MUG", "quantity": 1, "condition": "new"}]
            await self.ask("POST", f"/v1/returns/{row['id']}/receipts", {"lines": counted, "scan_id": f"scan_{parcel}"})
            await asyncio.sleep(random.uniform(0, 0.2))
        return str(row["id"])

    async def all_refunded(self, ids: Sequence[str], seconds: float) -> None:
        """Wait until every return is refunded with the exact sum. Raises AssertionError with what is missing."""
        left = list(ids)
        end = time.monotonic() + seconds
        while left and time.monotonic() < end:
            rows = await asyncio.gather(*(self.ask("GET", f"/v1/returns/{name}") for name in left[:20]))
            done = {r["id"] for r in rows if (r["state"], r["amount_refunded"]) == ("refunded", 10_000)}
            left = [name for name in left if name not in done]
            await asyncio.sleep(0.2 if not done else 0)
        for name in left[:3]:
            row = await self.ask("GET", f"/v1/returns/{name}")
            refunds = (await self.ask("GET", f"/v1/refunds?return={name}"))["data"]
            print(json.dumps(row, indent=1)[:3000], json.dumps(refunds, indent=1)[:6000])
        assert not left, f"{len(left)} of {len(ids)} returns are not refunded"

    async def ledgers(self) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
        """Return both ledgers, Stripe's refund id -> (status, amount): ours, theirs."""
        ours = await self.everything(lambda after: self.ask("GET", f"/v1/refunds?limit=100{after}"))

        async def page(after: str) -> dict[str, Any]:
            found: dict[str, Any] = (await self.stripe.get(f"/v1/refunds?limit=100{after}")).raise_for_status().json()
            return found

        theirs = await self.everything(page)
        assert all(refund["stripe_refund"] for refund in ours), "a refund without Stripe's id"
        mine = {r["stripe_refund"]: (r["status"], r["amount"]) for r in ours}
        return mine, {r["id"]: (r["status"], r["amount"]) for r in theirs}

    async def everything(self, page: Callable[[str], Awaitable[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return all pages of a list."""
        found: list[dict[str, Any]] = []
        while True:
            answer = await page(f"&starting_after={found[-1]['id']}" if found else "")
            found += answer["data"]
            if not answer["has_more"]:
                return found


@contextlib.asynccontextmanager
async def shop_of(town: Town) -> Any:
    """Open a shop in town."""
    limits = httpx.Limits(max_connections=100, keepalive_expiry=2)  # before the server closes what is idle
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {town.api_key}"}, timeout=20, limits=limits) as client,
        httpx.AsyncClient(
            base_url=town.stripe, headers={"Authorization": f"Bearer {KEY}"}, timeout=20, limits=limits
        ) as stripe,
    ):
        yield Shop(town, client, stripe)
