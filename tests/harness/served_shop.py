"""The application as it is served, with Stripe's simulator in the same process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from litestar import Litestar
from pydantic import SecretStr
from sqlmodel import col, func, select

from returns_service.commands.api_keys import create_key
from returns_service.domain.policy import DEFAULT
from returns_service.domain.vocabulary import SCOPES, Scope
from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.settings import Settings
from returns_service.store import tables
from returns_service.web.api.openapi_facts import FACTS
from returns_service.web.api.openapi_problems import problems_of
from returns_service.web.context import Context
from returns_service.web.errors import ProblemView
from returns_service.web.operations.operation import Operation
from returns_service.web.routes import OPERATIONS, litestar_app
from returns_service.webhook_client import WebhookClient
from tests.harness.shop import KEY, SECRET, Shop

PROBLEM_MEMBERS = frozenset(ProblemView.__struct_fields__) | FACTS.keys()
SETTLE_SECONDS = 1.0  # from a refund to Stripe's news of it
# Read once: to look for each setting in the surroundings takes longer than many a test.
SETTINGS = Settings(stripe_secret_key=SecretStr(KEY), stripe_webhook_secret=(SecretStr(SECRET),), rate_limit=10_000)
IDLE_APPS: list[Litestar] = []  # nothing but their context belongs to a test, and making one takes a while


class ServedShop(Shop):
    """A running service, seen from outside: its API, its Stripe, its worker."""

    client: httpx.AsyncClient
    secret: str  # of a key that may do everything

    def __init__(self, url: str) -> None:
        super().__init__(url, settle_seconds=SETTLE_SECONDS)
        self.context = Context(self.db, self.gateway, SETTINGS, DEFAULT)
        self.context.line = WebhookClient(resolve=resolve)
        self.app = IDLE_APPS.pop() if IDLE_APPS else litestar_app(self.context)
        self.app.state.context = self.context
        for kept in (self.context.readiness, self.context.figures, self.context.desk, self.context.approvals):
            kept.seconds = 0.0  # a test's clock stands still meanwhile

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Get `path`."""
        return await self.client.get(path, **options)

    async def post(self, path: str, body: Any = None, *, key: str | None = "", **headers: str) -> httpx.Response:
        """Post `body`, with an Idempotency-Key of its own unless a test names one (or None: none)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Idempotency-Key"] = key or str(uuid4())
        return await self.client.post(path, json={} if body is None else body, headers=sent)

    async def receive_webhook(self, body: bytes, signature: str) -> None:
        """Post one webhook of Stripe's."""
        response = await self.client.post("/webhooks/stripe", content=body, headers={"Stripe-Signature": signature})
        assert response.status_code == 200, response.text

    async def create_key(self, *scopes: Scope) -> str:
        """Return the secret of a new key."""
        async with self.db.transaction() as tx:
            return (await create_key(tx, "test", scopes))[1]

    async def settle(self) -> None:
        """Let worker, Stripe and time go on until all is quiet."""
        for _ in range(10):
            self.clock.advance(2)
            if not await self.work() + await self.deliver():
                return

    async def create_return(self, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
        """Return a new return over one line."""
        card = more.pop("card", "pm_card_visa")
        payment = more.pop("payment", None) or self.pay(amount, card=card)
        return expect(await self.post("/v1/returns", return_body(payment, amount, quantity, **more)), 201)

    async def create_approved_return(self, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
        """Return a new return that is approved."""
        made = await self.create_return(amount, quantity, **more)
        return expect(await self.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)

    async def receive_parcel(
        self, return_id: str, quantity: int = 1, condition: str = "new", **more: Any
    ) -> dict[str, Any]:
        """Return the receipt of units of the only line."""
        count = {"sku": "SHIRT", "quantity": quantity, "condition": condition, **more}
        return expect(await self.post(f"/v1/returns/{return_id}/receipts", {"lines": [count]}), 201)

    async def read_return(self, return_id: str) -> dict[str, Any]:
        """Return a return with its refunds."""
        return expect(await self.get(f"/v1/returns/{return_id}?expand[]=refunds"), 200)

    async def count_rows(self) -> dict[str, int]:
        """Return how many rows there are of what a request can write."""
        kinds: list[Any] = [tables.ReturnAuthorization, tables.Refund, tables.Receipt, tables.Event, tables.Payment,
                            tables.IdempotencyKey]  # fmt: skip
        async with self.db.reading() as tx:
            return {kind.__name__: (await tx.exec(select(func.count()).select_from(kind))).one() for kind in kinds}


def return_body(payment: Any, amount: int = 10_000, quantity: int = 3, **more: Any) -> dict[str, Any]:
    """Return the body that asks for a return; a value of `...` leaves its field out."""
    line = {"sku": "SHIRT", "title": "Blue shirt", "quantity": quantity, "total_amount": amount}
    body = {"order_id": "order_98765", "payment_intent": payment, "currency": "usd", "lines": [line], **more}
    return {name: value for name, value in body.items() if value is not ...}


def expect(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Return the body of a response that must have this status (and problem code)."""
    assert response.status_code == status, response.text
    body = dict(response.json())
    if code is not None:
        assert body["code"] == code, response.text
        assert response.headers["content-type"].startswith("application/problem+json")
        assert body["request_id"] == response.headers["request-id"]
        assert body.keys() <= PROBLEM_MEMBERS, "each fact of a problem is in the contract"
    return body


async def check_answer(response: httpx.Response) -> None:
    """Assert that an answer is one that its operation declares: its headers, or its problem's status and code."""
    request, content_type = response.request, response.headers.get("content-type", "")
    assert content_type.count("charset=") == content_type.startswith("text/"), content_type
    exact = {operation.path for operation in OPERATIONS}
    for operation in OPERATIONS:
        path = re.sub(r"\{\w+\}", "[^/]+", operation.path)
        if request.url.path in exact and request.url.path != operation.path:
            continue
        if operation.method != request.method or not re.fullmatch(path, request.url.path):
            continue
        if response.is_success:
            sent = {name for name in ("ETag", "Location") if name in response.headers}
            assert sent == set(operation.headers), operation.name
        elif response.is_error:
            problem = msgspec.json.decode(await response.aread())
            assert problem["code"] in declared_codes(operation, response.status_code), (operation.name, problem)


@cache
def declared_codes(operation: Operation, status: int) -> frozenset[str]:
    """Return the codes of the problems that an operation declares for a status."""
    answer = problems_of(operation).get(str(status))
    content = answer["content"].values() if answer else ()
    return frozenset(code for one in content for code in one["schema"]["properties"]["code"]["enum"])


async def check_events(shop: ServedShop, since: datetime) -> None:
    """Assert that the data of every event written since then is what its type declares: nothing less, nothing more."""
    async with shop.db.reading() as tx:
        events = (await tx.exec(select(tables.Event).where(col(tables.Event.created_at) >= since))).all()
    for event in events:
        data = msgspec.convert(event.data, EVENT_KINDS[event.type].data)
        assert msgspec.to_builtins(data) == event.data, event.type


def units_told(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a return's lines and undeclared items by id, as a listener knows them after these events."""
    known: dict[str, Any] = {}
    for event in events:
        data = event["data"]
        if data["object"]["object"] == "return":
            known |= {one["id"]: one for one in [*data["object"]["lines"], *data["object"]["undeclared"]]}
            known = {name: one for name, one in known.items() if name not in data.get("removed", ())}
    return known


async def resolve(host: str, _: int) -> list[str]:
    """Answer for the name server: a host called `inside…` is in a private network, `nowhere…` isn't there."""
    if host.startswith("nowhere"):
        raise OSError("no such host")
    return ["93.184.216.34", "10.0.0.1"] if host.startswith("inside") else ["93.184.216.34"]


@asynccontextmanager
async def open_shop(url: str) -> AsyncIterator[ServedShop]:
    """Open the service over a database, with a key that may do everything."""
    shop = ServedShop(url)
    began_at = shop.db.now()
    shop.secret = await shop.create_key(*SCOPES)
    served: Any = shop.app  # the two libraries word ASGI's types differently
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    headers, hooks = {"Authorization": f"Bearer {shop.secret}"}, {"response": [check_answer]}
    async with (
        shop.app.lifespan(),
        httpx.AsyncClient(
            transport=transport, base_url="http://shop.test", headers=headers, event_hooks=hooks
        ) as shop.client,
    ):
        yield shop
        await check_events(shop, began_at)
    await shop.close()
    IDLE_APPS.append(shop.app)
