"""What callers, workers and Stripe's webhooks do, as coroutines over the real operations, executor and sweeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from returns_service.commands import inbox
from returns_service.commands.history import By
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.standard_webhooks import secret_of
from returns_service.http import receipts, refunds, return_refunds, returns
from returns_service.http.bodies import validated
from returns_service.http.calls import done_once
from returns_service.http.operations import Call, Empty
from returns_service.http.queries import Query
from returns_service.store.claims import LEASE_SECONDS
from returns_service.store.webhook_tables import WebhookEndpoint
from returns_service.stripe_gateway import read_webhook
from returns_service.stripe_simulator import OutgoingWebhook, Request, answer_with_fault, signature_of
from returns_service.worker import chores, sweeps
from returns_service.worker.deliveries import Courier
from returns_service.worker.refunds import Till, Turn, renew_leases
from tests.world.kernel import ACTOR
from tests.world.stage import KEY, SECRET, Stage

PARTS = (returns.OPERATIONS, receipts.OPERATIONS, return_refunds.OPERATIONS, refunds.OPERATIONS)
OPERATIONS = {operation.name: operation for part in PARTS for operation in part}


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
        by = By(wish.actor, f"req_{self.asked}", context.policy)
        try:
            body = validated(operation.body or Empty, dict(wish.body))
            call = Call(context, by, wish.path, Query(), body)
            answer, _ = await done_once(operation, call, "world", wish.key, wish.words)
        except Problem as problem:
            return Answer(problem.code)
        return Answer(None, answer.body)


def pay(stage: Stage, amount: int, currency: str, method: str) -> str:
    """Let a customer pay; return the PaymentIntent's id."""
    form = {"amount": amount, "currency": currency, "payment_method": method, "confirm": "true"}
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
    till = Till(stage.db, stage.gateway, budget=1000.0, monotonic=clock.monotonic)
    turns = await till.claim(1)
    if not turns:
        return "idle"
    turn = turns[0]
    actor.turn = turn
    if turn.claim.must_look_first(stage.db.now()) and not turn.claim.lookups_only:
        stage.kernel.meet("a key too old: looked up first")
    row = await till.pay(turn)
    if row is None:
        stage.kernel.meet("a worker wrote back after its lease went to another")
    return f"{turn.claim.refund_id} {row.status if row else 'was no longer mine'}"


async def renew(stage: Stage, turn: Turn) -> str:
    """Extend the lease of a call that is under way."""
    await renew_leases(stage.db, [turn], LEASE_SECONDS)
    for call in stage.wire.in_flight:
        if (call.refund, call.token) == (turn.claim.refund_id, turn.claim.token):
            call.lease_until = stage.one("SELECT lease_until FROM refund WHERE id = ?", call.refund)[0]
    return f"{turn.claim.refund_id} kept a little longer"


async def take_news(stage: Stage, mail: OutgoingWebhook, policy: Policy) -> str:
    """Receive one webhook."""
    body, now = stage.ledger.body_of(mail), stage.clock.unix()
    news = read_webhook(body, signature_of(body, SECRET, now), [SECRET], now=now)
    by = By("stripe", policy=policy)
    return await stage.db.run(lambda tx: inbox.receive(tx, by, news, livemode=False))


async def listen(stage: Stage) -> str:
    """Let somebody listen from now on."""
    async with stage.db.transaction() as tx:
        name, secret = tx.new_id("whe"), secret_of(b"a listener in the world, 32 bytes")
        url = "https://shop.test/hooks"
        tx.add(WebhookEndpoint(id=name, url=url, events=["*"], secret=secret, created_at=tx.now))
    return name


async def tell(stage: Stage) -> str:
    """Tell the listener what is due, one call after the other."""
    courier, asked_at = Courier(stage.db, stage.listener), stage.clock.monotonic()
    told = 0
    for claim in await courier.claim():
        if stage.clock.monotonic() < asked_at + courier.lease_seconds:
            await courier.deliver(claim)
            told += 1
    return f"{told} calls to listeners"


async def sweep(stage: Stage, policy: Policy) -> str:
    """Do the janitor's round."""
    by = By("worker", policy=policy)
    again = await chores.fold_again(stage.db, by, livemode=False)
    read = await chores.read_again(stage.db, stage.gateway, by)
    barred = await chores.follow_up_again(stage.db, by)
    pulled = await sweeps.pull_missed_events(stage.db, stage.gateway, by, livemode=False)
    if pulled:
        stage.kernel.meet("a lost webhook's event pulled")
    done = [f"{pulled} events pulled"] if pulled else []
    done += [
        word for word, true in (("folded", again), ("payment read", read), ("tried a barred refund", barred)) if true
    ]
    return ", ".join(done) or "nothing to do"
