"""The fold: what Stripe says about refunds, payments and disputes joins our rows. The one way in.

Webhooks, the worker's answers, sweeps and reconciliation all end here, under the payment's lock, so the order in which
they come doesn't matter. A match needs refund id, payment and amount; whatever else Stripe holds becomes a row of its
own: nothing hides moved money.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlmodel import col, or_, select

from returns_service.commands.refunds import follow_up, new_refund
from returns_service.domain import money, return_machine
from returns_service.domain.policy import to_dict
from returns_service.domain.refund_status import FINAL, OPEN, STRIPE_STATUSES, WAITING, RefundStatus, join
from returns_service.domain.return_machine import Trigger
from returns_service.domain.stripe_objects import ChargeSnapshot, DisputeSnapshot, PaymentSnapshot, RefundSnapshot
from returns_service.domain.vocabulary import find_word
from returns_service.return_case.case import case_under_lock
from returns_service.return_case.events import Actor, record
from returns_service.return_case.transition import record_transition
from returns_service.return_case.views import rfc3339, show_payment, show_refund
from returns_service.store.database import Tx, insert_ignore, lock_payment, lock_refunds
from returns_service.store.tables import Payment, Refund, ReturnAuthorization, ReturnLine

REFUND_ID = re.compile(r"rfd_[0-7][0-9a-hjkmnp-tv-z]{25}\Z")
SLOWEST_LOOK_SECONDS = 86_400  # `pending` may last weeks: from a minute, doubling, to once a day
NO_OBSERVATIONS = -1  # for a count of news: what was read, or answered, began nobody knows how long ago
SECOND_LOOK_SECONDS = 60  # news that came between our first read of a payment and its row was for nobody
BALANCE_TOO_LOW = "The Stripe balance is too low: it is sent once there is enough."
# What a person reads first; Stripe's own word travels beside it. https://docs.stripe.com/refunds#failed-refunds
FAILURES = {
    "lost_or_stolen_card": (
        "The card was reported lost or stolen.",
        "Ask the customer for another way, and settle it outside.",
    ),
    "expired_or_canceled_card": (
        "The card is expired or canceled.",
        "Ask the customer for another way, and settle it outside.",
    ),
    "charge_for_pending_refund_disputed": (
        "The customer disputed the payment meanwhile.",
        "Wait for the dispute's end: if it is lost, the customer has the money already.",
    ),
    "insufficient_funds": ("The Stripe balance was too low.", "Top up the Stripe balance, then retry."),
    "declined": ("The customer's bank declined the refund.", "Retry once, or settle it outside."),
    "merchant_request": (
        "It was canceled on the shop's request.",
        "Retry it if that was a mistake, or settle it outside.",
    ),
    "unknown": ("The bank gave no reason.", "Retry once, or settle it outside."),
}


async def find_payment_id(tx: Tx, *, payment_intent: str | None, charge: str | None) -> str | None:
    """Return our id of a payment by Stripe's ids; a charge that has a PaymentIntent is that PaymentIntent's row."""
    named = [col(Payment.payment_intent) == payment_intent] if payment_intent else []
    named += [col(Payment.charge) == charge] if charge else []
    if not named:
        return None
    return (await tx.exec(select(Payment.id).where(or_(*named)).order_by(col(Payment.id)))).first()


async def adopt_payment(tx: Tx, by: Actor, seen: PaymentSnapshot) -> Payment:
    """Return the payment's row, locked, with all that was just read of it; made at first sight."""
    known = await find_payment_id(tx, payment_intent=seen.payment_intent, charge=seen.charge)
    payment = await lock_payment(tx, known or await _insert_payment(tx, seen))
    await apply_payment(tx, by, payment, seen, observations_at_start=NO_OBSERVATIONS if known else 0)
    return payment


async def _insert_payment(tx: Tx, seen: PaymentSnapshot) -> str:
    row = Payment(
        id=tx.new_id("pay"),
        payment_intent=seen.payment_intent,
        charge=seen.charge,
        currency=seen.currency,
        captured=seen.captured,
        status=seen.status,
        livemode=seen.livemode,
        read_at=tx.now + timedelta(seconds=SECOND_LOOK_SECONDS),
        created_at=tx.now,
    )
    await insert_ignore(tx, Payment, row.model_dump())
    found = await find_payment_id(tx, payment_intent=seen.payment_intent, charge=seen.charge)
    return found or row.id


async def apply_payment(
    tx: Tx, by: Actor, payment: Payment, seen: PaymentSnapshot, *, observations_at_start: int
) -> None:
    """Fold a payment that was read with all its refunds. `since_news`: its count of news when the read began."""
    before = payment.captured, payment.status, payment.disputed
    payment.charge = payment.charge or seen.charge
    payment.method = seen.method or payment.method
    payment.connect, payment.amount_refunded = seen.connect, seen.amount_refunded
    payment.captured, payment.status = seen.captured, seen.status
    if observations_at_start == payment.observations:
        payment.observations += 1  # for another read that is under way: it is the older one
        payment.disputed = seen.disputed
        if seen.dispute is not None:
            payment.dispute = dispute_record(seen.dispute)
            await withdraw_lost(tx, by, payment)
    elif payment.disputed != seen.disputed:
        # A dispute's webhook, or another read, came meanwhile. One of the two is older, and nobody can say which: until
        # it is read again, the careful one counts.
        payment.disputed, payment.read_at = True, tx.now
        tx.wake_workers()
    for refund in sorted(seen.refunds, key=lambda r: (r.created, r.id)):
        await apply_refund(tx, by, payment, refund)
    if before != (payment.captured, payment.status, payment.disputed):
        await _record_payment_update(tx, by, payment)


async def apply_charge(tx: Tx, by: Actor, payment: Payment, seen: ChargeSnapshot) -> None:
    """Fold a charge told without its refunds: where its sum isn't ours, its refunds are to be listed."""
    payment.charge = payment.charge or seen.id
    payment.captured, payment.amount_refunded = seen.captured, seen.amount_refunded
    refunds = await lock_refunds(tx, payment.id)
    ours = sum(r.amount for r in refunds if r.stripe_refund and r.status in (*OPEN, "succeeded"))
    if ours != seen.amount_refunded:
        payment.read_at = tx.now
        tx.wake_workers()


async def apply_dispute(tx: Tx, by: Actor, payment: Payment, seen: DisputeSnapshot) -> None:
    """Fold a dispute: a formal one holds what is queued; won, all goes on; lost, the desk decides.

    A payment may have several, and which of them decides only all together say: then they are listed.
    """
    known = payment.dispute or {}
    another = known.get("id", seen.id) != seen.id
    if not another and known.get("status") in ("won", "lost", "warning_closed"):
        return
    payment.observations += 1
    if another:
        payment.read_at = tx.now
        tx.wake_workers()
    if another and payment.disputed and not seen.bars_refunds:
        return
    payment.dispute = dispute_record(seen)
    was, payment.disputed = payment.disputed, seen.bars_refunds
    await withdraw_lost(tx, by, payment)
    if was != payment.disputed:
        await _record_payment_update(tx, by, payment)


def dispute_record(dispute: DisputeSnapshot) -> dict[str, Any]:
    """Return what a payment keeps of its dispute."""
    answer_by = rfc3339(dispute.answer_by)
    return {"id": dispute.id, "status": dispute.status, "amount": dispute.amount, "answer_by": answer_by}


async def withdraw_lost(tx: Tx, by: Actor, payment: Payment) -> None:
    """End what is queued on a payment whose dispute is lost: it would be held for ever. What was sent is waited for."""
    if (payment.dispute or {}).get("status") != "lost":
        return
    failure = {
        "code": "dispute_lost",
        "message": "The dispute is lost: the bank has given the customer the money back.",
        "advice": "Settle it outside as `dispute`.",
    }
    for refund in await lock_refunds(tx, payment.id):
        if refund.status == "queued":
            before, refund.status = refund.status, "withdrawn"
            refund.failure, refund.next_attempt_at, refund.updated_at = failure, None, tx.now
            await propagate_status(tx, by, payment, refund, before)


async def _record_payment_update(tx: Tx, by: Actor, payment: Payment) -> None:
    refunds = await lock_refunds(tx, payment.id)
    await record(tx, by, "payment.updated", payment=payment, data={"object": show_payment(payment, refunds)})
    await retry_barred_follow_ups(tx, by, payment)
    tx.wake_workers()


async def retry_barred_follow_ups(tx: Tx, by: Actor, payment: Payment) -> None:
    """Let every return of the payment whose refund a guard barred try again: more may be refundable now."""
    barred = select(ReturnAuthorization.id).where(
        col(ReturnAuthorization.payment_id) == payment.id, col(ReturnAuthorization.follow_up_at).is_not(None)
    )
    for return_id in (await tx.exec(barred.order_by(col(ReturnAuthorization.id)))).all():
        await follow_up(await case_under_lock(tx, by, payment, return_id))


async def apply_refund(
    tx: Tx,
    by: Actor,
    payment: Payment,
    seen: RefundSnapshot,
    *,
    observations_at_start: int | None = None,
    of: str | None = None,
) -> Refund:
    """Fold a refund that Stripe holds into its row; one that has none gets one.

    `since_news`: the row's (`of`) count of news when a read of it began; without, the news is a hint that can only
    raise the rank or ask for a fresh read.
    """
    refunds = await lock_refunds(tx, payment.id)
    row = find_owner(refunds, seen)
    before = row.status if row else None
    if row is None:
        row = await _add_row(tx, by, payment, seen)
    fresh = row.id == of and observations_at_start == row.observations
    joined = join(row.status, seen.status, first_sight=row.stripe_refund is None, fresh=fresh)
    if row.stripe_refund is None:
        row.first_attempt_at = row.first_attempt_at or seen.created
        row.failures_in_a_row, row.lookups_only = 0, False
    row.stripe_refund, row.stripe_created_at, row.status = seen.id, seen.created, joined.status
    row.observations += 1  # a read, too: another that is under way began before this one ended
    row.arrival = describe_arrival(seen) or row.arrival
    if joined.status == seen.status:
        row.waits_for = describe_wait(seen)
        row.failure = describe_failure(seen) if joined.status in FINAL else None
    _schedule(tx, row, before, look_again=joined.look_again, fresh=fresh)
    if before != row.status:
        row.updated_at = tx.now
        await propagate_status(tx, by, payment, row, before)
    return row


def find_owner(refunds: list[Refund], seen: RefundSnapshot) -> Refund | None:
    """Return the row that owns this refund of Stripe's; None: not ours, or a second one for its row."""
    owner = next((r for r in refunds if r.stripe_refund == seen.id), None)
    if owner is not None:
        return owner
    named = next((r for r in refunds if r.id == seen.metadata.get("refund_id")), None)
    if named is None or named.stripe_refund is not None or named.superseded_at is not None:
        return None
    return named if named.amount == seen.amount and named.source != "external" else None


async def _add_row(tx: Tx, by: Actor, payment: Payment, seen: RefundSnapshot) -> Refund:
    """Make a row for a refund we didn't know of: adopted as ours after a restore, else external or a duplicate."""
    named = seen.metadata.get("refund_id", "")
    # Among the payment's own first: one that was just given its row is in no table yet.
    known = next((r for r in await lock_refunds(tx, payment.id) if r.id == named), None)
    if known is None and REFUND_ID.match(named):
        known = await tx.get(Refund, named)
    status = find_word(STRIPE_STATUSES, seen.status) or "pending"
    row = new_refund(tx, Actor("stripe"), payment, seen.amount, source="external", status=status)
    row.reason, row.details = seen.reason, dict(seen.metadata)
    row.breakdown = [money.Row("unallocated", seen.amount, description="Refunded outside this service").to_dict()]
    row.created_at = seen.created
    if known is not None:
        row.duplicate_of = known.id
    elif REFUND_ID.match(named):
        row.id, row.source = named, "standalone"
        await _attach_to_return(tx, payment, row, seen)
    tx.add(row)
    (await lock_refunds(tx, payment.id)).append(row)
    of = await tx.get(ReturnAuthorization, row.return_id) if row.return_id else None
    shown = {"object": show_refund(row, payment), "found_at": "stripe"}
    await record(tx, by, "refund.created", row=of, refund=row, payment=payment, data=shown)
    if row.duplicate_of:
        await record(
            tx, by, "payment.overpaid", refund=row, payment=payment, data={**shown, "duplicate_of": row.duplicate_of}
        )
    return row


async def _attach_to_return(tx: Tx, payment: Payment, row: Refund, seen: RefundSnapshot) -> None:
    found = await tx.get(ReturnAuthorization, seen.metadata.get("return_id", ""))
    if found is None or found.payment_id != payment.id:
        return
    lines = (await tx.exec(select(ReturnLine).where(col(ReturnLine.return_id) == found.id))).all()
    named = {line.position: (line.id, line.title or line.sku) for line in lines}
    rows = money.decode_breakdown(seen.metadata.get("lines"), named, seen.amount)
    row.return_id, row.source, row.breakdown = found.id, "return", [r.to_dict() for r in rows]


def describe_arrival(seen: RefundSnapshot) -> dict[str, Any] | None:
    """Return how the customer can trace the money, once the bank gave a reference."""
    if not (seen.arrival_reference or seen.arrival_kind):
        return None
    days = {"reversal": "now", "refund": "5-10 business days"}.get(seen.arrival_kind or "")
    return {"reference": seen.arrival_reference, "kind": seen.arrival_kind, "expected": days}


def describe_wait(seen: RefundSnapshot) -> str | None:
    """Return what an open refund waits for, in plain words."""
    if seen.status == "requires_action":
        return "The customer has to act: Stripe has e-mailed them for their bank details."
    if seen.status == "pending":
        reasons = {"insufficient_funds": BALANCE_TOO_LOW, "charge_pending": "The payment itself is not settled yet."}
        return reasons.get(seen.pending_reason or "", "The bank is processing it.")
    return None


def describe_failure(seen: RefundSnapshot) -> dict[str, Any]:
    """Return why Stripe says the refund failed or was canceled, for people."""
    word = seen.failure_reason or ("merchant_request" if seen.status == "canceled" else "unknown")
    message, advice = FAILURES.get(word, FAILURES["unknown"])
    code = "refund_canceled" if seen.status == "canceled" else "refund_failed"
    return {
        "code": code,
        "message": f"{message} The money is back on the Stripe balance.",
        "stripe_code": None,
        "failure_reason": word,
        "advice": advice,
    }


def _schedule(tx: Tx, row: Refund, before: RefundStatus | None, *, look_again: bool, fresh: bool) -> None:
    if look_again:
        row.next_attempt_at, row.next_is_read = tx.now, True
        tx.wake_workers()
    elif row.next_is_read and not fresh and row.status not in FINAL:
        pass  # a fresh read was asked for, and older news that comes late is none
    elif row.status in WAITING:
        row.failures_in_a_row = 0 if before != row.status else row.failures_in_a_row + 1
        row.next_is_read = False
        row.next_attempt_at = tx.now + timedelta(
            seconds=min(SLOWEST_LOOK_SECONDS, 60 * 2 ** min(row.failures_in_a_row, 20))
        )
    elif row.status in (*FINAL, "succeeded"):
        row.next_attempt_at, row.next_is_read = None, False


async def propagate_status(tx: Tx, by: Actor, payment: Payment, refund: Refund, before: RefundStatus | None) -> None:
    """Record a refund's new status, and let its return follow."""
    shown = {"from": before, "to": refund.status, "object": show_refund(refund, payment)}
    if refund.return_id is None and before is None:
        pass  # its first event, `refund.created`, said it all
    elif refund.return_id is None:
        await record(tx, by, "refund.status_changed", refund=refund, payment=payment, data=shown)
    else:
        case = await case_under_lock(tx, by, payment, refund.return_id)
        await record(tx, by, "refund.status_changed", row=case.row, refund=refund, payment=payment, data=shown)
        state = case.row.state
        trigger = trigger_for(before, refund.status)
        if trigger and not return_machine.edges(trigger, state):
            trigger = "adopt"
        if trigger and return_machine.edges(trigger, state):
            return_machine.fire(trigger, case.row, case.facts())
            if state == "requested":  # its approval is lost, and the policy with it: the one in force now is kept
                case.row.policy = to_dict(case.policy)
            await record_transition(case, trigger, state, (refund.failure or {}).get("message"))
        await follow_up(case)
    if refund.status in (*FINAL, "withdrawn"):
        await retry_barred_follow_ups(tx, by, payment)


def trigger_for(before: RefundStatus | None, after: RefundStatus) -> Trigger | None:
    """Return the return's trigger for a refund's change; None where the return doesn't care."""
    if after == "succeeded":
        return "settle" if before in OPEN else "adopt"
    if after in FINAL:
        return "fail"
    if after == "withdrawn":
        return "withdraw"
    if before == "succeeded":
        return "take_back"
    return "adopt" if before is None or before in (*FINAL, "withdrawn") else None
