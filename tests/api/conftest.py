"""The application as it is served, over both databases, with Stripe's simulator in the same process."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from pydantic import SecretStr
from sqlmodel import func, select

from returns_service.commands.api_keys import create_key
from returns_service.domain.policy import DEFAULT
from returns_service.domain.vocabulary import SCOPES
from returns_service.settings import Settings
from returns_service.store import tables
from returns_service.store.database import Database
from returns_service.stripe_gateway import StripeGateway
from returns_service.stripe_simulator import Dashboard, Ledger, Request, answer, signature_of
from returns_service.web.context import Context
from returns_service.web.routes import OPERATIONS, litestar_app
from returns_service.webhook_client import WebhookClient
from tests.paying import pay_due

STRIPE_KEY = "sk_" + "test_" + "x" * 24
SECRET = "whsec_" + "a" * 24
HOOK = "http://shop.test/webhooks/stripe"


class Clock:
    """The time, which a test may let run on."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_seconds


@dataclass
class StripeLine(httpx.AsyncBaseTransport):
    """The line to the simulator. A test may cut it: no connection (`down`), lost on the way (`lost`), or done and
    never answered (`deaf`)."""

    ledger: Ledger
    down: bool = False
    lost: bool = False
    deaf: bool = False
    asked: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("cut", request=request)
        if self.lost:
            raise httpx.ReadError("cut", request=request)
        self.asked.append(f"{request.method} {request.url.path}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(request.method, request.url.path, request.url.query.decode(), headers, await request.aread())
        said = answer(self.ledger, asked)
        if self.deaf:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(said.status, headers=dict(said.headers), content=said.body, request=request)


@dataclass
class Shop:
    """A running service, seen from outside: its API, its Stripe, its worker."""

    app: Litestar
    context: Context
    ledger: Ledger
    line: StripeLine
    clock: Clock
    client: httpx.AsyncClient
    secret: str

    @property
    def dashboard(self) -> Dashboard:
        return Dashboard(self.ledger)

    def paid(self, amount: int = 10_000, currency: str = "usd", method: str = "pm_card_visa") -> str:
        """Return the id of a new PaymentIntent over `amount`."""
        form = f"amount={amount}&currency={currency}&payment_method={method}&confirm=true"
        headers = {"authorization": f"Bearer {STRIPE_KEY}"}
        made = answer(self.ledger, Request("POST", "/v1/payment_intents", "", headers, form.encode())).json()
        return str(made.get("id") or made["error"]["payment_intent"]["id"])

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: Any = None, *, key: str | None = "", **headers: str) -> httpx.Response:
        """Post `body`, with an Idempotency-Key of its own unless told which (or None: none)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Idempotency-Key"] = key or str(uuid4())
        return await self.client.post(path, json={} if body is None else body, headers=sent)

    async def key(self, *scopes: str) -> str:
        """Return the secret of a new key."""
        async with self.context.database.transaction() as tx:
            return (await create_key(tx, "test", scopes))[1]

    async def work(self) -> int:
        """Let the worker go on until nothing is due; return how often Stripe was asked."""
        total = 0
        while done := await pay_due(self.context.database, self.context.gateway):
            total += done
        return total

    async def deliver(self, times: int = 1) -> int:
        """Bring Stripe's webhooks, signed; return how many there were."""
        self.ledger.make_due_moves()
        count = 0
        while mails := self.ledger.due_webhooks():
            for mail in mails:
                body = self.ledger.body_of(mail)
                headers = {"Stripe-Signature": signature_of(body, SECRET, self.clock.now())}
                for _ in range(times):
                    told = await self.client.post("/webhooks/stripe", content=body, headers=headers)
                    assert told.status_code == 200, told.text
                self.ledger.mark_delivered(mail)
                count += 1
        return count

    async def settle(self) -> None:
        """Let worker, Stripe and time go on until all is quiet."""
        for _ in range(10):
            self.clock.ahead_seconds += 2
            if not await self.work() + await self.deliver():
                return

    async def requested(self, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
        """Return a new return over one line."""
        method = more.pop("method", "pm_card_visa")
        said = await self.post("/v1/returns", asked(more.pop("payment", None) or self.paid(amount, method=method),
                                                    amount, quantity, **more))  # fmt: skip
        assert said.status_code == 201, said.text
        return dict(said.json())

    async def approved(self, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
        """Return a new return that is approved."""
        made = await self.requested(amount, quantity, **more)
        override = {"override_reason": "A test."}
        said = await self.post(f"/v1/returns/{made['id']}/approve", override)
        assert said.status_code == 200, said.text
        return dict(said.json())

    async def receive(self, return_id: str, quantity: int = 1, condition: str = "new", **more: Any) -> dict[str, Any]:
        """Return the receipt of units of the only line."""
        count = {"sku": "SHIRT", "quantity": quantity, "condition": condition, **more}
        said = await self.post(f"/v1/returns/{return_id}/receipts", {"lines": [count]})
        assert said.status_code == 201, said.text
        return dict(said.json())

    async def read(self, return_id: str) -> dict[str, Any]:
        """Return a return with its refunds."""
        said = await self.get(f"/v1/returns/{return_id}?expand[]=refunds")
        assert said.status_code == 200, said.text
        return dict(said.json())

    async def tables(self) -> dict[str, int]:
        """Return how many rows there are of what a request can write."""
        kinds: list[Any] = [tables.ReturnAuthorization, tables.Refund, tables.Receipt, tables.Event, tables.Payment,
                            tables.IdempotencyKey]  # fmt: skip
        async with self.context.database.reading() as tx:
            return {kind.__name__: (await tx.exec(select(func.count()).select_from(kind))).one() for kind in kinds}


def asked(payment: Any, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
    """Return the body that asks for a return."""
    line = {"sku": "SHIRT", "title": "Blue shirt", "quantity": quantity, "total_amount": amount}
    body = {"order_id": "order_98765", "payment_intent": payment, "currency": "usd", "lines": [line], **more}
    return {name: value for name, value in body.items() if value is not ...}


def said(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Return the body of an answer that must have this status (and problem code)."""
    assert answer.status_code == status, answer.text
    body = dict(answer.json())
    if code is not None:
        assert body["code"] == code, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert body["request_id"] == answer.headers["request-id"]
    return body


async def check_headers(answer: httpx.Response) -> None:
    """Assert that a 2xx answer carries the headers that its operation declares, and none that it doesn't."""
    request = answer.request
    for operation in OPERATIONS:
        path = re.sub(r"\{\w+\}", "[^/]+", operation.path)
        if answer.is_success and operation.method == request.method and re.fullmatch(path, request.url.path):
            sent = {name for name in ("ETag", "Location") if name in answer.headers}
            assert sent == set(operation.headers), operation.name


async def resolve(host: str, _: int) -> list[str]:
    """Answer for the name server: a host called `inside…` is in a private network, `nowhere…` isn't there."""
    if host.startswith("nowhere"):
        raise OSError("no such host")
    return ["93.184.216.34", "10.0.0.1"] if host.startswith("inside") else ["93.184.216.34"]


@asynccontextmanager
async def open_shop(database_url: str) -> AsyncIterator[Shop]:
    """Open the service over a database, with a key that may do everything."""
    clock = Clock()
    ledger = Ledger(clock.now, Random(7))
    ledger.add_endpoint(HOOK, SECRET)
    line = StripeLine(ledger)
    database = Database(database_url, now=lambda: datetime.fromtimestamp(clock.now(), UTC))
    gateway = StripeGateway(STRIPE_KEY, api_base="http://stripe.test", transport=line, jitter=lambda: 0.0)
    secrets = (SecretStr(SECRET),)
    settings = Settings(stripe_secret_key=SecretStr(STRIPE_KEY), stripe_webhook_secret=secrets, rate_limit=10_000)
    context = Context(database, gateway, settings, DEFAULT)
    context.line = WebhookClient(resolve=resolve)
    app = litestar_app(context)
    async with database.transaction() as tx:
        _, secret = await create_key(tx, "all", SCOPES)
    served: Any = app  # the two libraries word ASGI's types differently
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {secret}"}
    hooks: Any = {"response": [check_headers]}
    async with (
        app.lifespan(),
        httpx.AsyncClient(
            transport=transport, base_url="http://shop.test", headers=headers, event_hooks=hooks
        ) as client,
    ):
        yield Shop(app, context, ledger, line, clock, client, secret)
    await gateway.close()
    await database.close()


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """The service over each of the two databases."""
    async with open_shop(database_url) as shop:
        yield shop


@pytest.fixture
def with_policy(shop: Shop) -> Any:
    """Return a function that changes the policy in force."""

    def change(**changes: Any) -> None:
        shop.context.policy = replace(shop.context.policy, **changes)

    return change
