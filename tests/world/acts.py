"""What callers, workers and Stripe's webhooks do, as coroutines over the real operations, executor and sweeps."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from returns_service.commands import stripe_inbox
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_attempt import REFUND_LEASE_SECONDS
from returns_service.domain.webhook_signature import secret_of
from returns_service.return_case.events import Actor
from returns_service.store.tables import WebhookEndpoint
from returns_service.stripe_gateway import read_webhook
from returns_service.stripe_simulator import OutgoingWebhook, Request, answer_with_fault, signature_of
from returns_service.web.operations.bodies import validate
from returns_service.web.operations.execute import execute
from returns_service.web.operations.operation import Empty, OperationCall
from returns_service.web.operations.query_string import Query
from returns_service.web.routes import OPERATIONS as ALL_OPERATIONS
from returns_service.worker import maintenance, missed_events
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.refunds import RefundExecutor, ScheduledCall, renew_leases
from tests.world.kernel import ACTOR
from tests.world.stage import KEY, SECRET, Stage

OPERATIONS = {operation.name: operation for operation in ALL_OPERATIONS}


@dataclass(frozen=True)
class Answer:
    """What a caller was told. `code`: a problem's, None where it was done."""

    code: str | None
    body: str = field(default="", repr=False)

    @property
    def done(self) -> bool:
        """Whether it was done."""
        return self.code is None

    @property
    def shown(self) -> Any:
        """The object that was answered."""
        return json.loads(self.body)

    def __str__(self) -> str:
        if self.code is not None:
            return self.code
        return " ".join(str(self.shown[name]) for name in ("id", "state", "status") if name in self.shown)


@dataclass(frozen=True)
class Wish:
    """A request as a caller sends it, and may send again under its key."""

    key: str
    words: str  # in the field's words; the same key with other words is refused
    operation: str
    path: Mapping[str, str]
    body: Mapping[str, Any]
    actor: str = "key_shop"


@dataclass
class Desk:
    """Where requests come in."""

    stage: Stage
    asked: int = 0

    async def ask(self, wish: Wish) -> Answer:
        """Do what is wished, once."""
        self.asked += 1
        operation, context = OPERATIONS[wish.operation], self.stage.context
        by = Actor(wish.actor, f"req_{self.asked}")
        try:
            body = validate(operation.body or Empty, dict(wish.body))
            call = OperationCall(context, by, wish.path, Query(), body, scopes=frozenset(("admin",)))
            answer, _ = await execute(operation, call, "world", wish.key, wish.words)
        except Problem as problem:
            return Answer(problem.code)
        return Answer(None, answer.body)


def pay(stage: Stage, amount: int, currency: str, method: str, capture_method: str) -> str:
    """Let a customer pay; return the PaymentIntent's id."""
    form = {"amount": amount, "currency": currency, "payment_method": method, "confirm": "true"}
    form["capture_method"] = capture_method
    headers = {"authorization": f"Bearer {KEY}"}
    request = Request("POST", "/v1/payment_intents", headers=headers, body=urlencode(form).encode())
    answer = answer_with_fault(stage.ledger, request, None)
    assert answer is not None
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


async def work(stage: Stage) -> str:
    """Take one due refund, speak with Stripe, write the answer back."""
    clock, actor = stage.clock, ACTOR.get()
    actor.settings = clock.settings
    executor = RefundExecutor(stage.db, stage.gateway, budget=1000.0, monotonic=clock.monotonic)
    scheduled_calls = await executor.claim(1)
    if not scheduled_calls:
        return "idle"
    scheduled = scheduled_calls[0]
    actor.scheduled = scheduled
    claim = scheduled.claim
    if claim.must_look_first(stage.db.now()) and not (claim.lookups_only or claim.only_looks):
        stage.kernel.meet("a key too old: looked up first")
    row = await executor.execute(scheduled)
    if row is None:
        stage.kernel.meet("a worker wrote back after its lease went to another")
    return f"{scheduled.claim.refund_id} {row.status if row else 'was no longer mine'}"


async def renew(stage: Stage, scheduled: ScheduledCall) -> str:
    """Extend the lease of a call that is under way."""
    await renew_leases(stage.db, [scheduled], REFUND_LEASE_SECONDS)
    for call in stage.wire.in_flight:
        if (call.refund, call.token) == (scheduled.claim.refund_id, scheduled.claim.token):
            call.lease_until = stage.one("SELECT lease_until FROM refund WHERE id = ?", call.refund)[0]
    return f"{scheduled.claim.refund_id} kept a little longer"


async def take_news(stage: Stage, mail: OutgoingWebhook, policy: Policy) -> str:
    """Receive one webhook."""
    body, now = stage.ledger.body_of(mail), stage.clock.unix()
    news = read_webhook(body, signature_of(body, SECRET, now), [SECRET], now=now)
    by = Actor("stripe")
    return await stage.db.run(lambda tx: stripe_inbox.store_and_fold(tx, by, policy, news, livemode=False))


async def listen(stage: Stage) -> str:
    """Let somebody listen from now on."""
    async with stage.db.transaction() as tx:
        name, secret = tx.new_id("whe"), secret_of(b"a listener in the world, 32 bytes")
        url = "https://shop.test/hooks"
        tx.add(WebhookEndpoint(id=name, url=url, events=["*"], secret=secret, created_at=tx.now))
    return name


async def tell(stage: Stage) -> str:
    """Tell the listener what is due, one call after the other."""
    dispatcher, asked_at = WebhookDispatcher(stage.db, stage.listener), stage.clock.monotonic()
    told = 0
    for claim in await dispatcher.claim():
        if stage.clock.monotonic() < asked_at + dispatcher.lease_seconds:
            await dispatcher.deliver(claim)
            told += 1
    return f"{told} calls to listeners"


async def sweep(stage: Stage, policy: Policy) -> str:
    """Do the janitor's round: the chores that are due, as a worker's loop finds and does them."""
    db, gateway, by = stage.db, stage.gateway, Actor("worker")
    chores: dict[maintenance.Chore, Callable[[], Awaitable[int | None]]] = {
        "fold_event": lambda: maintenance.refold_event(db, by, policy, livemode=False),
        "read_payment": lambda: maintenance.reread_payment(db, gateway, by, policy),
        "follow_up": lambda: maintenance.retry_follow_up(db, by, policy),
        "complete_return": lambda: maintenance.complete_return(db, by, policy),
        "pull_event": lambda: missed_events.pull_missed_events(db, gateway, by, policy, livemode=False),
    }
    done = {chore: int(await chores[chore]() or 0) for chore in await db.read(maintenance.find_due_chores)}
    if done.get("pull_event"):
        stage.kernel.meet("a lost webhook's event pulled")
    return ", ".join(f"{chore} {number}" for chore, number in done.items() if number) or "nothing to do"
