"""Open returns of another system, taken over by the commands that the API uses, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlmodel import col, select

from returns_service.commands import external_refunds, receipts, returns
from returns_service.commands.counting import Count
from returns_service.commands.returns import NewReturn
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Condition
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment, waits_for_person
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.tables import ImportedReturn, Refund, ReturnAuthorization

APPROVED_BEFORE = "Approved before it was imported."
Outcome = Literal["imported", "there_already", "changed"]


@dataclass(frozen=True, slots=True)
class ReceivedUnits:
    """Units of the line at a position of the return that the other system has counted."""

    position: int
    quantity: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class NewImport:
    """An open return as the other system has it. `refunds`: Stripe's ids of those that have paid of it already."""

    external_id: str
    fingerprint: str  # of all that the file says of it
    asked: NewReturn
    approved: bool = False
    refunds: Sequence[str] = ()
    received: Sequence[ReceivedUnits] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one import. `changed`: the return is there already, from a file that said something else of it."""

    outcome: Outcome
    return_id: str
    state: str


async def find_import(tx: Tx, new: NewImport) -> Imported | None:
    """Return the return that was imported under this id; None if there is none."""
    chosen = (
        select(ImportedReturn, ReturnAuthorization.state)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(ImportedReturn.return_id))
        .where(col(ImportedReturn.digest) == digest_of(new))
    )
    found = (await tx.exec(chosen)).first()
    if found is None:
        return None
    row, state = found
    return Imported("there_already" if row.fingerprint == new.fingerprint else "changed", row.return_id, state)


async def import_return(
    locked: LockedPayment, by: Actor, policy: Policy, new: NewImport, acknowledged_because: str | None
) -> Imported:
    """Take over a return on a locked payment, with what was counted and paid of it already; it is done once.

    Refunds come first: only what they leave of the counted units is due.
    With `acknowledged_because` the payment's other refunds of the past hold nothing any more. Raises Problem.
    """
    tx = locked.tx
    case = await returns.create(locked, by, policy, new.asked)
    await tx.flush()
    row = {"digest": digest_of(new), "fingerprint": new.fingerprint, "return_id": case.row.id, "created_at": tx.now}
    if not await insert_ignore(tx, ImportedReturn, row):  # another import was faster: all of this is given up
        raise Problem("idempotency_key_in_use")
    for place, stripe_refund in enumerate(new.refunds):
        refund = _past_refund(locked, case.row.id, stripe_refund, f"refunds[{place}]")
        await external_refunds.assign(tx, by, policy, refund.id, case.row.id, [])
    if acknowledged_because is not None:
        await acknowledge_past(locked, by, policy, acknowledged_because)
    if new.approved and case.row.state == "requested":
        await _approve(tx, by, policy, case)
    case = await case_under_lock(locked, by, policy, case.row.id)
    if new.received:
        counts = [Count(one.quantity, one.condition, case.lines[one.position].id) for one in new.received]
        await receipts.receive_on(case, counts, [])
    return Imported("imported", case.row.id, case.row.state)


async def _approve(tx: Tx, by: Actor, policy: Policy, case: ReturnCase) -> None:
    """Repeat the other system's approval; where the policy asks for two people it is the first."""
    await returns.approve(tx, by, policy, case.row.id, note=APPROVED_BEFORE, override_reason=APPROVED_BEFORE)


def _past_refund(locked: LockedPayment, return_id: str, stripe_refund: str, param: str) -> Refund:
    """Return one of the payment's refunds by Stripe's id, which pays nothing else than this return.

    An assignment would move it, and what it had paid would be due and paid again: a file moves none. Raises Problem
    invalid_request, refund_claimed.
    """
    refund = next((refund for refund in locked.refunds if refund.stripe_refund == stripe_refund), None)
    if refund is None:
        message = f"Stripe has no refund {stripe_refund} of this payment"
        raise Problem("invalid_request", f"{param}: {message}", param=param)
    whose = refund.return_id or refund.supersedes
    if whose not in (None, return_id):
        claimed = {"refund": refund.id, "return": refund.return_id}
        raise Problem("refund_claimed", f"{param}: {stripe_refund} has paid {whose} already", param=param, **claimed)
    return refund


async def acknowledge_past(locked: LockedPayment, by: Actor, policy: Policy, reason: str) -> int:
    """Acknowledge as of no return each refund of the payment that waits for a person; return how many."""
    found = [refund for refund in locked.refunds if waits_for_person(refund)]
    for refund in found:
        await external_refunds.acknowledge(locked.tx, by, policy, refund.id, reason)
    return len(found)


def digest_of(new: NewImport) -> str:
    """Return the digest under which an id of the other system is kept."""
    return hashlib.sha256(new.external_id.encode()).hexdigest()
