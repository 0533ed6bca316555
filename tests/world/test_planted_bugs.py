"""Bugs planted in how money is asked for, answered and told: the world finds each, for its own symptom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import select, update
from sqlmodel import col

from returns_service.commands import (
    receipts,
    refund_actions,
    refund_attempts,
    refunds,
    stripe_fold,
    stripe_inbox,
    webhook_deliveries,
)
from returns_service.domain import money, refund_attempt, webhook_signature
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_attempt import Attempt, Next, Outcome
from returns_service.domain.refund_status import OPEN, RANK, Joined
from returns_service.domain.stripe_objects import Unknown
from returns_service.domain.vocabulary import EventType
from returns_service.return_case import case, events, loader, locked_payment, transition
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.views import payment_view
from returns_service.store import claims, database, delivery_claims
from returns_service.store.tables import Delivery, Event, Payment, Refund, StripeEvent
from returns_service.worker import refunds as executor
from tests.world.planting import Bugs, Patch, find, listed_in
from tests.world.stage import GatedDatabase
from tests.world.world import OwnWorld

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUGS: Bugs = {}
bug = listed_in(BUGS)


@bug("no payment lock", "its payment not locked")
def _(patch: Patch) -> None:
    async def not_locked(tx: database.Tx, statement: Any, **names: str) -> Payment | None:
        found: Payment | None = (await tx.execute(statement, names)).scalars().first()
        return found

    for module in (loader, locked_payment):
        patch.setattr(module, "lock_row", not_locked)


@bug("no reservation", "refundable, we say")
def _(patch: Patch) -> None:
    def only_what_arrived(payment: Payment, rows: list[Refund]) -> int:
        return payment.captured - sum(row.amount for row in rows if row.status == "succeeded")

    for module in (case, locked_payment, payment_view):
        patch.setattr(module, "refundable", only_what_arrived)


@bug("reservation not freed on failure", "refundable, we say")
def _(patch: Patch) -> None:
    def never_freed(payment: Payment, rows: list[Refund]) -> int:
        held = (*OPEN, "succeeded", "failed")
        return payment.captured - sum(row.amount for row in rows if row.status in held)

    patch.setattr(locked_payment, "refundable", never_freed)
    patch.setattr(case.ReturnCase, "refundable", property(lambda self: never_freed(self.payment, self.payment_refunds)))


@bug("a new key for each attempt", "asked under another key|was paid twice")
def _(patch: Patch) -> None:
    key = property(lambda claim: f"{claim.refund_id}:{claim.generation}:{claim.token}")
    patch.setattr(claims.Claim, "key", key)


@bug("failed on timeout", "Says who|Stripe never went from failed")
def _(patch: Patch) -> None:
    decide = refund_attempt.after_attempt

    def give_up(attempt: Attempt, outcome: Outcome, now: datetime, *, jitter: float) -> Next:
        after = decide(attempt, outcome, now, jitter=jitter)
        return Next("failed", None) if isinstance(outcome.answer, Unknown) and not attempt.at_stripe else after

    patch.setattr(refund_attempts, "after_attempt", give_up)


@bug("no look-up after the key's life", "was paid twice")
def _(patch: Patch) -> None:
    patch.setattr(claims.Claim, "must_look_first", lambda claim, now: False)
    patch.setattr(claims.Claim, "must_look_before", False)


@bug("the key's age believed to a wall clock", "was paid twice")
def _(patch: Patch) -> None:
    patch.setattr(claims.Claim, "must_look_before", False)


@bug("no fencing", "a stranger touched the lease|sent with no lease|by the rule it is|decided .* of ")
def _(patch: Patch) -> None:
    patch.setattr(claims, "still_owner", lambda row, claim: True)


@bug("sent after its lease", "sent with no lease")
def _(patch: Patch) -> None:
    asked = executor.call_stripe

    async def whenever(gateway: Any, claim: claims.Claim, _: float, db: database.Database) -> Any:
        return await asked(gateway, claim, float("inf"), db)

    patch.setattr(executor, "call_stripe", whenever)


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

    patch.setattr(stripe_fold, "find_owner", by_id)


@bug("last news wins over the join", "for good, now it is|, we say |Stripe never went from")
def _(patch: Patch) -> None:
    patch.setattr(stripe_fold, "join", lambda known, news, **_: Joined(news if news in RANK else known))


@bug("last writer wins over a fresh read", "Stripe never went from")
def _(patch: Patch) -> None:
    apply = stripe_fold.apply_refund

    async def always_fresh(locked: LockedPayment, by: events.Actor, policy: Policy, seen: Any, **how: Any) -> Refund:
        row = locked.refund(how.get("of"))
        how = {**how, "observations_at_start": row.observations if row else None}
        return await apply(locked, by, policy, seen, **how)

    patch.setattr(refund_attempts, "apply_refund", always_fresh)


@bug("a read is no news to another read", "Stripe never went from")
def _(patch: Patch) -> None:
    apply = stripe_fold.apply_refund

    async def not_counted(locked: LockedPayment, by: events.Actor, policy: Policy, seen: Any, **how: Any) -> Refund:
        row = await apply(locked, by, policy, seen, **how)
        row.observations -= row.id == how.get("of") and how.get("observations_at_start") == row.observations - 1
        return row

    for module in (refund_attempts, refund_actions):
        patch.setattr(module, "apply_refund", not_counted)


@bug("inbox without unique id", "was folded 2 times")
def _(patch: Patch) -> None:
    store_and_fold = stripe_inbox.store_and_fold

    async def every_time(tx: database.Tx, by: events.Actor, policy: Policy, event: Any, *, livemode: bool) -> str:
        outcome = await store_and_fold(tx, by, policy, event, livemode=livemode)
        if outcome == "known":
            row = await tx.get_one(StripeEvent, event.id)
            row.attempts += 1
            folded = await stripe_inbox.fold_again(tx, by, policy, event, attempts=row.attempts, livemode=livemode)
            return folded.outcome
        return outcome

    patch.setattr(stripe_inbox, "store_and_fold", every_time)


@bug("floor per receipt instead of cumulative", "they are worth")
def _(patch: Patch) -> None:
    def by_unit(total: int, quantity: int, units: int, floor_to: int = 1) -> int:
        return total // quantity // floor_to * floor_to * units

    patch.setattr(money, "line_value", by_unit)


@bug("barred refund that undoes its receipt", "the dock was refused")
def _(patch: Patch) -> None:
    follow_up = refunds.follow_up

    async def or_nothing(of: case.ReturnCase) -> None:
        await follow_up(of)
        if of.row.follow_up_barred is not None:
            raise Problem(of.row.follow_up_barred["code"])

    patch.setattr(receipts, "follow_up", or_nothing)


@bug("event written after the commit", "follows")
def _(patch: Patch) -> None:
    record, transaction = events.record, GatedDatabase.transaction

    async def later(tx: database.Tx, by: events.Actor, kind: EventType, **what: Any) -> Event:
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

    patch.setattr(transition, "record", later)
    patch.setattr(GatedDatabase, "transaction", and_then)


@bug("double click not barred", "UNIQUE constraint failed")
def _(patch: Patch) -> None:
    facts = case.ReturnCase.facts
    patch.setattr(
        case.ReturnCase, "facts", lambda self, **asked: structs.replace(facts(self, **asked), refund_unanswered=False)
    )


@bug("a refusal of a listener's taken as heard", "was never told")
def _(patch: Patch) -> None:
    patch.setattr(webhook_signature.Attempt, "arrived", True)


@bug("a listener's place moved on without its deliveries", "was never told")
def _(patch: Patch) -> None:
    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(webhook_deliveries, "insert_ignore_all", nothing)


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
    find(name, BUGS, monkeypatch, OwnWorld)
