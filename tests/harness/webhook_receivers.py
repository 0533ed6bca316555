"""Receivers of outgoing webhooks, in process: each call, verified by the specification, and the answer to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlmodel import col, select

from returns_service.commands import webhook_endpoints
from returns_service.domain.vocabulary import EventType, Subscription
from returns_service.return_case.events import Actor, record
from returns_service.store.database import Database, Tx
from returns_service.store.tables import Delivery, ReturnAuthorization, WebhookEndpoint
from returns_service.webhook_client import WebhookClient
from returns_service.worker.deliveries import WebhookDispatcher
from tests.factories import create_return

ADDRESS = "93.184.216.34"
BY = Actor("key_shop", "req_1")
Answers = int | Exception | Callable[[dict[str, Any]], int]


@dataclass(frozen=True)
class ReceivedCall:
    """One call, as a receiver got it."""

    host: str
    headers: httpx.Headers
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verified_with(self, secret: str, now: float) -> bool:
        """Verify it by https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""
        stamp = self.headers["webhook-timestamp"]
        if abs(now - int(stamp)) > 300:
            return False
        key = base64.b64decode(secret[len("whsec_") :])
        content = b".".join([self.headers["webhook-id"].encode(), stamp.encode(), self.body])
        expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        given = [one.split(",", 1) for one in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(said, expected) for version, said in given)


@dataclass
class WebhookReceivers(httpx.AsyncBaseTransport):
    """All receivers, by host name. They answer 200 unless a test sets another answer."""

    db: Database
    answers: dict[str, Answers] = field(default_factory=dict)
    calls: list[ReceivedCall] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, asyncio.Event] = field(default_factory=dict)  # hosts that answer only once their event is set
    addresses: list[str] = field(default_factory=lambda: [ADDRESS])
    dispatcher: WebhookDispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.dispatcher = WebhookDispatcher(self.db, WebhookClient(resolve=self.resolve, transport=self))

    async def resolve(self, host: str, port: int) -> list[str]:
        return self.addresses

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.headers["host"]
        assert request.url.host == ADDRESS  # the address that was checked
        call = ReceivedCall(host, request.headers, await request.aread())
        self.calls.append(call)
        self.under_way[host] += 1
        try:
            if host in self.held:
                await self.held[host].wait()
        finally:
            self.under_way[host] -= 1
        answer = self.answers.get(host, 200)
        if isinstance(answer, Exception):
            raise answer
        status = answer if isinstance(answer, int) else answer(call.event)
        return httpx.Response(status, content=b"Said.", request=request)

    async def work(self) -> int:
        """Let the dispatcher go on until nothing is due; return how many calls it made."""
        total = 0
        while made := await deliver_due(self.dispatcher):
            total += made
        return total

    def event_ids(self, host: str = "shop.test") -> list[str]:
        """Return the ids of the events that a host was sent, in their order."""
        return [call.headers["webhook-id"] for call in self.calls if call.host == host]

    async def create_endpoint(self, host: str = "shop.test", *events: Subscription) -> tuple[str, str]:
        """Return the id and the secret of a new endpoint."""
        made = await self.db.run(
            lambda tx: webhook_endpoints.create_endpoint(tx, f"https://{host}/hook", events or ("*",), None)
        )
        return made[0].id, made[1]

    async def create_return(self) -> str:
        """Return the id of a return without any event."""
        async with self.db.transaction() as tx:
            return (await create_return(tx)).id

    async def record_events(
        self, return_id: str | None = None, kind: EventType = "return.updated", count: int = 1
    ) -> list[str]:
        """Record events, of a return or of nothing; return their ids."""

        async def work(tx: Tx) -> list[str]:
            row = await tx.get_one(ReturnAuthorization, return_id) if return_id else None
            return [(await record(tx, BY, kind, row=row, data={"number": n})).id for n in range(count)]

        return await self.db.run(work)

    async def deliveries(self, **where: str) -> list[Delivery]:
        """Return delivery rows in the order of the feed."""
        chosen = select(Delivery).order_by(col(Delivery.position), col(Delivery.id))
        for name, value in where.items():
            chosen = chosen.where(getattr(Delivery, name) == value)
        async with self.db.reading() as tx:
            return list((await tx.exec(chosen)).all())

    async def read_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Return an endpoint's row."""
        async with self.db.reading() as tx:
            return await tx.get_one(WebhookEndpoint, endpoint_id)


async def deliver_due(dispatcher: WebhookDispatcher) -> int:
    """Make the calls that are due now; return how many."""
    claims = await dispatcher.claim()
    await asyncio.gather(*(dispatcher.deliver(claim) for claim in claims))
    return len(claims)
