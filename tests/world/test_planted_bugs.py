"""A world that can't fail proves nothing: each planted bug must be found, for its own symptom.

No shrinking: being found is the claim.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import select, update
from sqlmodel import col

from returns_service.commands import (
    answers,
    case,
    deliveries,
    desk,
    history,
    inbox,
    moves,
    receipts,
    refunds,
    stripe_answered,
    stripe_says,
)
from returns_service.domain import money, standard_webhooks
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import OPEN, RANK, Joined
from returns_service.store import claims, database, delivery_claims
from returns_service.store.tables import Event, Payment, Refund, StripeEvent
from returns_service.store.webhook_tables import Delivery
from returns_service.worker import chores
from returns_service.worker import refunds as executor
from tests.world.stage import GatedDatabase
from tests.world.world import CI, World

pytestmark = pytest.mark.timeout(600)
HUNT = settings(CI, max_examples=400, phases=[Phase.generate])
Patch = pytest.MonkeyPatch
BUGS: dict[str, tuple[Callable[[Patch], None], str]] = {}


def bug(name: str, symptom: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """List a planted bug; `symptom` is what the world must say about it."""

    def listed(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS[name] = plant, symptom
        return plant

    return listed


@bug("no payment lock", "its payment not locked")
def _(patch: Patch) -> None:
    async def not_locked(tx: database.Tx, payment_id: str) -> Payment:
        return await tx.get_one(Payment, payment_id)

    for module in (case, refunds, stripe_says, stripe_answered, inbox, chores):
        patch.setattr(module, "locked_payment", not_locked)


@bug("no reservation", "refundable, we say")
def _(patch: Patch) -> None:
    def only_what_arrived(payment: Payment, rows: list[Refund]) -> int:
        return payment.captured - sum(row.amount for row in rows if row.status == "succeeded")

    for module in (case, refunds, answers):
        patch.setattr(module, "refundable", only_what_arrived)


@bug("reservation not freed on failure", "refundable, we say")
def _(patch: Patch) -> None:
    def never_freed(payment: Payment, rows: list[Refund]) -> int:
        held = (*OPEN, "succeeded", "failed")
        return payment.captured - sum(row.amount for row in rows if row.status in held)

    patch.setattr(refunds, "refundable", never_freed)
    patch.setattr(case.Case, "refundable", property(lambda self: never_freed(self.payment, self.payment_refunds)))


@bug("a new key for each attempt", "asked under another key|was paid twice")
def _(patch: Patch) -> None:
    key = property(lambda claim: f"{claim.refund_id}:{claim.generation}:{claim.token}")
    patch.setattr(claims.Claim, "key", key)


@bug("failed on timeout", "Says who|Stripe never went from failed")
def _(patch: Patch) -> None:
    async def gives_up(tx: database.Tx, by: history.By, payment: Payment, row: Refund, _: object) -> None:
        before, row.status, row.next_attempt_at = row.status, "failed", None
        await stripe_says.changed(tx, by, payment, row, before)

    patch.setattr(stripe_answered, "_nobody_knows", gives_up)


@bug("no look-up after the key's life", "was paid twice")
def _(patch: Patch) -> None:
    patch.setattr(claims.Claim, "must_look_first", lambda claim, now: False)
    patch.setattr(claims.Claim, "must_look_before", False)


@bug("the key's age believed to a wall clock", "was paid twice")
def _(patch: Patch) -> None:
    patch.setattr(claims.Claim, "must_look_before", False)


@bug("no fencing", "a stranger touched the lease|sent with no lease|by the rule it is")
def _(patch: Patch) -> None:
    patch.setattr(claims, "still_owner", lambda row, claim: True)


@bug("sent after its lease", "sent with no lease")
def _(patch: Patch) -> None:
    asked = executor.ask

    async def whenever(gateway: Any, claim: claims.Claim, _: float, db: database.Database) -> Any:
        return await asked(gateway, claim, float("inf"), db)

    patch.setattr(executor, "ask", whenever)


@bug("key replayed with other parameters", "sent again with other parameters")
def _(patch: Patch) -> None:
    claim_of = claims.claim_of

    def counted(row: Refund, payment: Payment) -> claims.Claim:
        claim = claim_of(row, payment)
        metadata = {**claim.parameters.get("metadata", {}), "attempt": str(claim.token)}
        return replace(claim, parameters={**claim.parameters, "metadata": metadata})

    patch.setattr(claims, "claim_of", counted)


@bug("matched by Stripe's id only", ", never paid")
def _(patch: Patch) -> None:
    def by_id(rows: list[Refund], seen: Any) -> Refund | None:
        return next((row for row in rows if row.stripe_refund == seen.id), None)

    patch.setattr(stripe_says, "matched", by_id)


@bug("last news wins over the join", "for good, now it is|, we say |Stripe never went from")
def _(patch: Patch) -> None:
    patch.setattr(stripe_says, "join", lambda known, news, **_: Joined(news if news in RANK else known))


@bug("last writer wins over a fresh read", "Stripe never went from")
def _(patch: Patch) -> None:
    said = stripe_says.refund_said

    async def always_fresh(tx: database.Tx, by: history.By, payment: Payment, seen: Any, **how: Any) -> Refund:
        row = next((r for r in await database.locked_refunds(tx, payment.id) if r.id == how.get("of")), None)
        return await said(tx, by, payment, seen, **{**how, "since_news": row.news if row else None})

    patch.setattr(stripe_answered, "refund_said", always_fresh)


@bug("a read is no news to another read", "Stripe never went from")
def _(patch: Patch) -> None:
    said = stripe_says.refund_said

    async def not_counted(tx: database.Tx, by: history.By, payment: Payment, seen: Any, **how: Any) -> Refund:
        row = await said(tx, by, payment, seen, **how)
        row.news -= row.id == how.get("of") and how.get("since_news") == row.news - 1
        return row

    for module in (stripe_answered, desk):
        patch.setattr(module, "refund_said", not_counted)


@bug("inbox without unique id", "was folded 2 times")
def _(patch: Patch) -> None:
    receive = inbox.receive

    async def every_time(tx: database.Tx, by: history.By, news: Any, *, livemode: bool) -> str:
        outcome = await receive(tx, by, news, livemode=livemode)
        if outcome == "known":
            row = await tx.get_one(StripeEvent, news.id)
            return await inbox.process(tx, by, row, news, livemode=livemode)
        return outcome

    patch.setattr(inbox, "receive", every_time)


@bug("floor per receipt instead of cumulative", "they are worth")
def _(patch: Patch) -> None:
    def by_unit(total: int, quantity: int, units: int, floor_to: int = 1) -> int:
        return total // quantity // floor_to * floor_to * units

    patch.setattr(money, "worth", by_unit)


@bug("barred refund that undoes its receipt", "the dock was refused")
def _(patch: Patch) -> None:
    follow_up = refunds.follow_up

    async def or_nothing(of: case.Case) -> None:
        await follow_up(of)
        if of.row.follow_up_barred is not None:
            raise Problem(of.row.follow_up_barred["code"])

    patch.setattr(receipts, "follow_up", or_nothing)


@bug("event written after the commit", "follows")
def _(patch: Patch) -> None:
    record, transaction = history.record, GatedDatabase.transaction

    async def later(tx: database.Tx, by: history.By, kind: str, **what: Any) -> Event:
        event = await record(tx, by, kind, **what)
        if kind == "return.state_changed":
            tx.expunge(event)
            tx.info.setdefault("later", []).append(event)
        return event

    @asynccontextmanager
    async def and_then(self: GatedDatabase) -> AsyncIterator[database.Tx]:
        async with transaction(self) as tx:
            yield tx
        if late := tx.info.get("later"):
            async with transaction(self) as again:
                again.add_all(late)

    patch.setattr(moves, "record", later)
    patch.setattr(GatedDatabase, "transaction", and_then)


@bug("double click not barred", "UNIQUE constraint failed")
def _(patch: Patch) -> None:
    facts = case.Case.facts
    patch.setattr(case.Case, "facts", lambda self, **asked: replace(facts(self, **asked), refund_unanswered=False))


@bug("a refusal of a listener's taken as heard", "was never told")
def _(patch: Patch) -> None:
    patch.setattr(standard_webhooks.Attempt, "arrived", True)


@bug("a listener's place moved on without its deliveries", "was never told")
def _(patch: Patch) -> None:
    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(deliveries, "inserted_all", nothing)


@bug("later events overtake in a listener's stream", "out of their order")
def _(patch: Patch) -> None:
    def any_due(endpoint_id: str, limit: int, now: Any, until: Any) -> Any:
        due = select(col(Delivery.id)).where(col(Delivery.endpoint_id) == endpoint_id)
        due = due.where(col(Delivery.next_attempt_at) <= now).order_by(col(Delivery.position).desc()).limit(limit)
        claimed = {"next_attempt_at": until, "lease_token": col(Delivery.lease_token) + 1}
        leased = update(Delivery).where(col(Delivery.id).in_(due)).values(**claimed)
        return leased.returning(col(Delivery.id), col(Delivery.lease_token))

    patch.setattr(delivery_claims, "_claim", any_due)


@pytest.mark.parametrize("name", BUGS)
def test_the_world_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, symptom = BUGS[name]
    plant(monkeypatch)
    with pytest.raises(Exception, match=symptom):
        run_state_machine_as_test(World, settings=HUNT)
