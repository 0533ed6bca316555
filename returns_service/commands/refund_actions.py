"""What finance does about one refund: retry it, settle it, read it at Stripe, take it back, send it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from returns_service.commands.failed_refunds import Part, retry, retry_standalone
from returns_service.commands.refund_attempts import start_generation_by_hand
from returns_service.commands.refunds import SEND_AGAIN_MINUTES, lock_refund, withdraw_unsent
from returns_service.commands.settlements import Outside, settle_outside, settle_standalone_outside
from returns_service.commands.stripe_fold import apply_payment, apply_refund, propagate_status
from returns_service.commands.undue_refunds import has_second, pays_undue
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import COUNTS_AS_PAID, OPEN
from returns_service.domain.stripe_objects import PaymentSnapshot, RefundSnapshot
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import lock_payment
from returns_service.return_case.views import rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


async def retry_refund(
    tx: Tx,
    by: Actor,
    policy: Policy,
    refund_id: str,
    *,
    part: Part,
    override_reason: str | None,
    note: str | None = None,
) -> tuple[Refund, Payment]:
    """Try a failed refund again, of a return or standalone. Raises Problem."""
    row = await get_refund(tx, refund_id)
    if row.return_id is None:
        return await retry_standalone(tx, by, policy, refund_id, part=part, override_reason=override_reason, note=note)
    return await retry(
        tx, by, policy, row.return_id, refund_id=refund_id, part=part, override_reason=override_reason, note=note
    )


async def settle_refund_outside(
    tx: Tx, by: Actor, policy: Policy, refund_id: str, asked: Outside
) -> tuple[Refund, Payment]:
    """Record that a failed refund was paid by other means; return the row that says so. Raises Problem."""
    row = await get_refund(tx, refund_id)
    if row.return_id is None:
        return await settle_standalone_outside(tx, by, policy, refund_id, asked)
    case, settled = await settle_outside(tx, by, policy, row.return_id, asked)
    return settled, case.payment


async def apply_read(
    tx: Tx, by: Actor, policy: Policy, refund_id: str, read: PaymentSnapshot | RefundSnapshot, observations: int
) -> Refund:
    """Fold what was read of a refund, or of its payment.

    `observations`: how often Stripe had told of it when the read began. Raises Problem not_found.
    """
    locked, row = await lock_refund(tx, refund_id)
    if isinstance(read, RefundSnapshot):
        await apply_refund(locked, by, policy, read, observations_at_start=observations, of=row.id)
    else:
        await apply_payment(locked, by, policy, read, observations_at_start=observations)
    return row


async def apply_payment_read(
    tx: Tx, by: Actor, policy: Policy, payment_id: str, read: PaymentSnapshot, observations: int
) -> None:
    """Fold a payment that was read with all its refunds.

    `observations`: how often Stripe had told of it when the read began.
    """
    locked = await lock_payment(tx, payment_id)
    await apply_payment(locked, by, policy, read, observations_at_start=observations)


async def cancel_unsent(tx: Tx, by: Actor, policy: Policy, refund_id: str) -> tuple[Refund, Payment]:
    """Take back an intent that Stripe holds nothing of. Raises Problem refund_not_cancelable."""
    locked, row = await lock_refund(tx, refund_id)
    before = row.status
    failure = {
        "code": "withdrawn",
        "message": "It was canceled before it was sent; no money has moved.",
        "advice": "Retry it if that was a mistake, or settle it outside.",
    }
    withdraw_unsent(row, tx, failure)
    await propagate_status(locked, by, policy, row, before)
    return row, locked.row


def check_sendable_again(tx: Tx, row: Refund) -> None:
    """Raise Problem refund_not_unknown or too_early unless the outcome is unknown and the last attempt long over."""
    barring = _what_bars_asking_again(tx, row)
    if barring is not None:
        raise barring


def what_bars_sending_again(
    tx: Tx, row: Refund, payment: Payment, of_payment: Sequence[Refund], case: ReturnCase | None
) -> Problem | None:
    """Return why a refund can't be sent again now, as far as is known here; None: only Stripe is still to be asked.

    `of_payment`: all refunds of its payment. `case`: its return, None where it is of no return.
    """
    barring = _what_bars_asking_again(tx, row)
    if barring is not None:
        return barring
    if payment.disputed:  # the dispute would hold it in the queue, and for ever once it is lost
        return Problem("payment_disputed")
    if case is not None and pays_undue(case, row):
        paid = "What it pays is paid otherwise, or due no more."
        return Problem("already_refunded", paid, refunds=_others(case, row))
    if has_second(row, of_payment):
        seconds = [other.id for other in of_payment if other.duplicate_of == row.id]
        return Problem("already_refunded", "Stripe holds another refund in its name.", refunds=seconds)
    return None


def _what_bars_asking_again(tx: Tx, row: Refund) -> Problem | None:
    if row.status != "unknown":
        return Problem("refund_not_unknown", refund_status=row.status)
    possible_at = sendable_again_at(row)
    return Problem("too_early", possible_at=rfc3339(possible_at)) if tx.now < possible_at else None


def sendable_again_at(row: Refund) -> datetime:
    """Return the time (UTC) from which on an unknown refund's last attempt is long over."""
    # An unknown answer is the last thing that touched the row; a call still under way holds its lease.
    possible_at = row.updated_at + timedelta(minutes=SEND_AGAIN_MINUTES)
    return possible_at if row.lease_until is None else max(possible_at, row.lease_until)


async def send_again(tx: Tx, by: Actor, policy: Policy, refund_id: str, reason: str) -> tuple[Refund, Payment]:
    """Give an unknown refund a new key, on a person's word, after a look-up that found nothing. Raises Problem."""
    locked, row = await lock_refund(tx, refund_id)
    case = await case_under_lock(locked, by, policy, row.return_id) if row.return_id else None
    barring = what_bars_sending_again(tx, row, locked.row, locked.refunds, case)
    if barring is not None:
        raise barring
    before = row.status
    start_generation_by_hand(tx, row, reason)
    row.updated_at = tx.now
    await propagate_status(locked, by, policy, row, before)
    return row, locked.row


def _others(case: ReturnCase, row: Refund) -> list[str]:
    """Return the return's other refunds that are paid or on their way."""
    return [one.id for one in case.refunds if one is not row and one.status in (*OPEN, *COUNTS_AS_PAID)]


async def get_refund(tx: Tx, refund_id: str) -> Refund:
    """Return a refund, to look at. Raises Problem not_found."""
    row = await tx.get(Refund, refund_id)
    if row is None:
        raise Problem("not_found", f"There is no refund {refund_id}.")
    return row
