"""What callers, workers and Stripe's webhooks do, as coroutines over the real commands.

`Desk.ask` does what the HTTP API does: Stripe is asked first, then key, effect and answer are one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from returns_service.commands import idempotency, inbox, receipts, refunds, returns, stripe_says
from returns_service.commands.history import By
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.stripe_words import PaymentSeen
from returns_service.store.database import Tx
from returns_service.stripe_gateway import read_webhook
from returns_service.stripe_simulator import Outgoing, Request, play, signature_of
from returns_service.worker import chores, sweeps
from returns_service.worker.refunds import Till
from tests.world.kernel import ACTOR
from tests.world.stage import KEY, SECRET, Stage

Effect = Callable[[Tx, By, PaymentSeen | None], Awaitable[str]]
Answer = tuple[int, str]  # 200 and a body, or 4xx and a problem's code


@dataclass(frozen=True)
class Wish:
    """A request as a caller sends it, and may send again under its key."""

    key: str
    words: str  # in the field's words; the same key with other words is refused
    effect: Effect
    payment_intent: str | None = None  # read at Stripe first, as for a new return
    actor: str = "key_shop"


@dataclass
class Desk:
    """Where requests come in."""

    stage: Stage
    policy: Policy
    asked: int = 0

    async def ask(self, wish: Wish) -> Answer:
        """Do what is wished, once."""
        self.asked += 1
        by = By(wish.actor, f"req_{self.asked}", self.policy)
        seen: PaymentSeen | None = None
        if wish.payment_intent is not None:
            found = await self.stage.gateway.read_payment(payment_intent=wish.payment_intent)
            if not isinstance(found, PaymentSeen):
                return 503, "stripe_unavailable"
            seen = found

        async def once(tx: Tx) -> str:
            known = await idempotency.begin(tx, "world", wish.key, wish.words)
            if known is not None:
                return known.body
            body = await wish.effect(tx, by, seen)
            await idempotency.remember(tx, "world", wish.key, idempotency.Remembered(200, {}, body))
            return body

        try:
            return 200, await self.stage.db.run(once)
        except Problem as problem:
            return 409, problem.code


def opens(order: str, currency: str, lines: Sequence[tuple[int, int]]) -> Effect:
    """Open a return of `lines`: units, and what was paid for them."""

    async def effect(tx: Tx, by: By, seen: PaymentSeen | None) -> str:
        assert seen is not None
        payment = await stripe_says.payment_adopted(tx, By("stripe", by.request_id, by.policy), seen)
        asked = [returns.NewLine(f"SKU-{n}", units, amount) for n, (units, amount) in enumerate(lines, 1)]
        return (await returns.create(tx, by, payment, returns.NewReturn(order, currency, asked))).row.id

    return effect


def pays_alone(amount: int | None) -> Effect:
    """Refund a payment without any return."""

    async def effect(tx: Tx, by: By, seen: PaymentSeen | None) -> str:
        assert seen is not None
        payment = await stripe_says.payment_adopted(tx, By("stripe", by.request_id, by.policy), seen)
        return (await refunds.standalone(tx, by, payment, amount=amount, reason=None, metadata={})).id

    return effect


def receives(return_id: str, counts: Sequence[receipts.Count], scan: str) -> Effect:
    """Count a parcel at the dock."""

    async def effect(tx: Tx, by: By, _: PaymentSeen | None) -> str:
        return (await receipts.receive(tx, by, return_id, counts, [], scan)).receipt.id

    return effect


def reverses(return_id: str, receipt_id: str) -> Effect:
    """Undo a miscount."""

    async def effect(tx: Tx, by: By, _: PaymentSeen | None) -> str:
        return (await receipts.reverse(tx, by, return_id, receipt_id, "miscounted")).receipt.id

    return effect


def resolves(return_id: str, item_id: str, line_id: str | None) -> Effect:
    """Accept a surplus unit as one of a line, or send it back."""

    async def effect(tx: Tx, by: By, _: PaymentSeen | None) -> str:
        decision = "accept_as_line" if line_id else "return_to_customer"
        case = await receipts.resolve(tx, by, return_id, item_id, decision=decision, line_id=line_id, condition="new")
        return case.row.state

    return effect


def decides(return_id: str, what: str, amount: int | None) -> Effect:
    """Let a person decide: approve, refund, retry, settle_outside, close, cancel, decline."""

    async def effect(tx: Tx, by: By, _: PaymentSeen | None) -> str:
        if what == "refund":
            asked = refunds.Asked(amount, override_reason="goodwill" if amount else None)
            return (await refunds.refund(tx, by, return_id, asked))[0].id
        if what == "retry":
            again = await refunds.retry(tx, by, return_id, refund_id=None, amount=None, override_reason=None)
            return again[0].id
        if what == "settle_outside":
            outside = returns.Outside("bank_transfer", "wire-1", amount=amount)
            return (await returns.settle_outside(tx, by, return_id, outside)).row.state
        if what == "close":
            return (await returns.close(tx, by, return_id, "the rest is not coming")).row.state
        if what == "approve":
            return (await returns.approve(tx, by, return_id, note=None, override_reason="as asked")).row.state
        if what == "cancel":
            return (await returns.cancel(tx, by, return_id, "changed their mind", "stock kept")).row.state
        return (await returns.decline(tx, by, return_id, "too late")).row.state

    return effect


def pay(stage: Stage, amount: int, currency: str, method: str) -> str:
    """Let a customer pay; return the PaymentIntent's id."""
    form = {"amount": amount, "currency": currency, "payment_method": method, "confirm": "true"}
    headers = {"authorization": f"Bearer {KEY}"}
    request = Request("POST", "/v1/payment_intents", headers=headers, body=urlencode(form).encode())
    answer = play(stage.ledger, request, None)
    assert answer is not None
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


async def work(stage: Stage) -> str:
    """Take one due refund, speak with Stripe, write the answer back."""
    till = Till(stage.db, stage.gateway, budget=1000.0, monotonic=stage.clock.monotonic)
    turns = await till.claim(1)
    if not turns:
        return "idle"
    ACTOR.get().token = turns[0].claim.token
    row = await till.pay(turns[0])
    return f"{turns[0].claim.refund_id} {row.status if row else 'was no longer mine'}"


async def take_news(stage: Stage, mail: Outgoing, policy: Policy) -> str:
    """Receive one webhook."""
    body, now = stage.ledger.body_of(mail), stage.clock.unix()
    news = read_webhook(body, signature_of(body, SECRET, now), [SECRET], now=now)
    by = By("stripe", policy=policy)
    return await stage.db.run(lambda tx: inbox.receive(tx, by, news, livemode=False))


async def sweep(stage: Stage, policy: Policy) -> str:
    """Do the janitor's round."""
    by = By("worker", policy=policy)
    again = await chores.fold_again(stage.db, by, livemode=False)
    read = await chores.read_again(stage.db, stage.gateway, by)
    barred = await chores.follow_up_again(stage.db, by)
    pulled = await sweeps.pull_missed_events(stage.db, stage.gateway, by, livemode=False)
    done = [f"{pulled} events pulled"] if pulled else []
    done += [
        word for word, true in (("folded", again), ("payment read", read), ("tried a barred refund", barred)) if true
    ]
    return ", ".join(done) or "nothing to do"
