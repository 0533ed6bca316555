"""Bugs planted where others move money and parcels come as they like: the world finds each, for its own symptom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Integer, bindparam, or_, select
from sqlmodel import col

from returns_service.commands import (
    assignments,
    corrections,
    counting,
    external_refunds,
    receipts,
    refunds,
    stripe_fold,
    undue_refunds,
    unmatched_receipts,
)
from returns_service.commands.counting import Count
from returns_service.domain import counts
from returns_service.domain.policy import Policy
from returns_service.return_case import case, locked_payment, transition
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.store import claims, database
from returns_service.store.columns import Utc
from returns_service.store.tables import Payment, Refund, UndeclaredItem, UnmatchedReceipt
from returns_service.stripe_gateway import client
from returns_service.worker import refunds as executor
from tests.world.planting import Bugs, Patch, find, listed_in
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUGS: Bugs = {}
bug = listed_in(BUGS)


@bug("a refund made outside holds nothing", "held by rfd_|while nobody had said what")
def _(patch: Patch) -> None:
    patch.setattr(locked_payment.LockedPayment, "set_hold", lambda self, policy, **_: False)


@bug("a hold that isn't looked at when a refund is claimed", "while nobody had said what")
def _(patch: Patch) -> None:
    now = bindparam("now", type_=Utc())
    free = [or_(until.is_(None), until <= now) for until in (col(Refund.lease_until), col(Payment.busy_until))]
    due = select(Refund, Payment).join(Payment, col(Payment.id) == col(Refund.payment_id))
    due = due.where(col(Refund.next_attempt_at) <= now, *free)
    patch.setattr(claims, "CANDIDATES", due.limit(bindparam("most", type_=Integer())))


@bug("a refund in doubt sent again in spite of a hold", "in doubt, and sent beside one made outside")
def _(patch: Patch) -> None:
    claim_of = claims.claim_of
    patch.setattr(claims, "claim_of", lambda row, payment: replace(claim_of(row, payment), only_looks=False))

    async def nobody_else(*_: Any) -> bool:
        return False

    patch.setattr(executor, "_is_paid_otherwise", nobody_else)


@bug("a word about a refund made outside lets nothing go on", "it was given")
def _(patch: Patch) -> None:
    async def nothing(*_: Any) -> None:
        return None

    for module in (external_refunds, stripe_fold):
        patch.setattr(module, "release_hold", nothing)


@bug("an assigned refund counts for nothing", "waits beside assigned refunds")
def _(patch: Patch) -> None:
    committed = case.ReturnCase.committed_rows

    def ours(self: case.ReturnCase, refunds: Any = None) -> Any:
        chosen = self.refunds if refunds is None else refunds
        return committed(self, [refund for refund in chosen if refund.source != "external"])

    patch.setattr(case.ReturnCase, "committed_rows", ours)


@bug("an assigned refund leaves what was queued", "waits beside assigned refunds")
def _(patch: Patch) -> None:
    async def left(*_: Any) -> None:
        return None

    for module in (assignments, undue_refunds):
        patch.setattr(module, "withdraw_or_supersede", left)


@bug("what a capture released taken for a refund", "was never captured")
def _(patch: Patch) -> None:
    patch.setattr(client, "releases_in", lambda charge, refunds: frozenset())


@bug("a dispute's end believed for good", "disputed is")
def _(patch: Patch) -> None:
    apply = stripe_fold.apply_dispute

    async def once(locked: Any, by: Actor, policy: Policy, seen: Any) -> None:
        known = locked.row.dispute or {}
        if known.get("id") != seen.id or known.get("status") not in ("won", "lost", "warning_closed"):
            await apply(locked, by, policy, seen)

    patch.setattr("returns_service.commands.stripe_inbox.apply_dispute", once)


@bug("a missing unit keeps its place", "wait as surplus|by its receipts")
def _(patch: Patch) -> None:
    for module in (counts, counting):
        patch.setattr(module, "PLACEHOLDERS", ())


@bug("units fill a line in the order in which they came", "accepted, .* by its receipts")
def _(patch: Patch) -> None:
    patch.setattr(counts, "_rank", lambda row: (not row.is_here, 0, 0))


@bug("a correction of paid units that nobody is told of", "it is worth")
def _(patch: Patch) -> None:
    async def untold(of: case.ReturnCase, trigger: Any, **more: Any) -> None:
        of.row.overpaid_since = None
        await transition.transition(of, trigger, **more)

    patch.setattr(corrections, "transition", untold)


@bug("a parcel attached twice", "was counted twice|was counted at")
def _(patch: Patch) -> None:
    async def again(tx: database.Tx, by: Actor, policy: Policy, unmatched_id: str, return_id: str) -> UnmatchedReceipt:
        of = await lock_case(tx, by, policy, return_id)
        row = await tx.get_one(UnmatchedReceipt, unmatched_id)
        wanted = [Count(item["quantity"], item["condition"], sku=item["sku"]) for item in row.items]
        row.receipt_id = (await receipts.receive_on(of, wanted, [])).receipt.id
        row.return_id, row.attached_by, row.attached_at = return_id, by.actor, tx.now
        return row

    patch.setattr(unmatched_receipts, "attach", again)


@bug("a surplus that stays with a reversed receipt", "wait as surplus")
def _(patch: Patch) -> None:
    def of_any_receipt(self: case.ReturnCase, _: Any) -> dict[str, list[UndeclaredItem]]:
        lines = {item.surplus_of for item in self.undeclared if item.surplus_of}
        return {line: [item for item in self.undeclared if item.surplus_of == line] for line in lines}

    patch.setattr(case.ReturnCase, "surplus_items", of_any_receipt)


@bug("a settlement by a dispute that was won stands", "by a dispute that gave nothing")
def _(patch: Patch) -> None:
    patch.setattr(stripe_fold, "_settled_by_dispute", lambda refund: False)


@bug("a correction drops what people decided", "what people decided in it is gone")
def _(patch: Patch) -> None:
    patch.setattr(refunds, "holds_decision", lambda refund: False)


@bug("a second refund stays second where the first has failed", "is a second one for")
def _(patch: Patch) -> None:
    patch.setattr(locked_payment.LockedPayment, "is_second", lambda self, refund: refund.duplicate_of is not None)


@bug("what an assigned refund paid too much is told to nobody", "overpaid, and nobody is told")
def _(patch: Patch) -> None:
    patch.setattr(external_refunds, "note_overpaid", lambda case, before=0: None)


@pytest.mark.parametrize("name", BUGS)
def test_the_world_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(name, BUGS, monkeypatch, World)
