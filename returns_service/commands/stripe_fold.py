"""The fold: what Stripe says about refunds, payments and disputes joins our rows. The one way in.

Webhooks, the worker's answers, sweeps and reconciliation all end here, under the payment's lock, so the order in which
they come doesn't matter. A match needs refund id, payment and amount; any other refund of Stripe's becomes a row of its
own: nothing hides moved money.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from returns_service.commands.found_refunds import REFUND_ID, add_found_refund
from returns_service.commands.refunds import follow_up
from returns_service.domain import refund_explanations, return_machine
from returns_service.domain.policy import Policy, to_dict, version_of
from returns_service.domain.refund_status import FINAL, OPEN, WAITING, RefundStatus, join, trigger_for
from returns_service.domain.stripe_objects import (
    ChargeSnapshot,
    DisputeSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    gave_money_back,
    may_be_older,
)
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import (
    LockedPayment,
    describe_lost_dispute,
    insert_payment,
    lock_payment,
    lock_payment_at_stripe,
)
from returns_service.return_case.rows import has_failed
from returns_service.return_case.transition import fire, record_transition
from returns_service.return_case.views import rfc3339, show_payment, show_refund
from returns_service.return_case.waiting import set_waiting
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

SLOWEST_LOOK_SECONDS = 86_400  # `pending` may last weeks: from a minute, doubling, to once a day
NO_OBSERVATIONS = -1  # matches no counter: the read or answer is taken as stale
SECOND_LOOK_SECONDS = 60  # news between our first read of a payment and its row found no row: it is read again


async def adopt_payment(tx: Tx, by: Actor, policy: Policy, seen: PaymentSnapshot) -> LockedPayment:
    """Lock the payment's row, or make it at first sight, and fold what was just read of the payment."""
    names = {"payment_intent": seen.payment_intent, "charge": seen.charge}
    locked = await lock_payment_at_stripe(tx, **names)
    observations = NO_OBSERVATIONS
    if locked is None:
        locked = await insert_payment(tx, _new_payment(tx, seen)) or await lock_payment_at_stripe(tx, **names)
        observations = 0
    if locked is None:
        raise LookupError(f"The payment {seen.payment_intent or seen.charge} was neither found nor made.")
    await apply_payment(locked, by, policy, seen, observations_at_start=observations)
    return locked


def _new_payment(tx: Tx, seen: PaymentSnapshot) -> Payment:
    return Payment(
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


async def apply_payment(
    locked: LockedPayment, by: Actor, policy: Policy, seen: PaymentSnapshot, *, observations_at_start: int
) -> None:
    """Fold a payment that was read with all its refunds.

    `observations_at_start`: how often Stripe had told of the payment when the read began.
    """
    payment = locked.row
    before = payment.captured, payment.status, payment.disputed
    payment.connect, payment.amount_refunded, payment.missing_since = seen.connect, seen.amount_refunded, None
    is_fresh = observations_at_start == payment.observations
    if is_fresh or seen.captured >= payment.captured:  # captured only grows: less was read before what is known here
        payment.charge = seen.charge or payment.charge  # the latest: a customer whose card was declined pays anew
        payment.method = seen.method or payment.method
        payment.method_type = seen.method_type or payment.method_type
        payment.paid_at = seen.paid_at or payment.paid_at
        payment.captured, payment.status = seen.captured, seen.status
        payment.authorized, payment.released = seen.authorized, seen.released
    if is_fresh:
        payment.observations += 1  # for another read that is under way: that one is the older
        payment.disputed = seen.disputed
        if seen.dispute is not None:
            await _take_dispute(locked, by, policy, seen.dispute)
    elif payment.disputed != seen.disputed:
        # A dispute's webhook, or another read, came meanwhile. One of the two is older, and nobody can say which: until
        # it is read again, the careful one counts.
        payment.disputed = True
        ask_for_read(locked)
    for refund in sorted(seen.refunds, key=lambda r: (r.created, r.id)):
        await apply_refund(locked, by, policy, refund)
    if locked.set_hold(policy, has_been_read=is_fresh):
        await release_hold(locked, by, policy)
    if payment.held_until_read:  # by news that came while this was read
        ask_for_read(locked)
    if before != (payment.captured, payment.status, payment.disputed):
        await _record_payment_update(locked, by, policy)


async def note_missing(tx: Tx, payment_id: str) -> None:
    """Note that Stripe knows no such payment: the desk tells those who wait for its read."""
    payment = (await lock_payment(tx, payment_id)).row
    payment.missing_since = payment.missing_since or tx.now


async def apply_charge(locked: LockedPayment, policy: Policy, seen: ChargeSnapshot) -> None:
    """Fold a charge that comes without its refunds: where its sums differ from ours, a worker reads the payment.

    The captured sum only grows, so a smaller one is older news. Where more was refunded than we can have asked for,
    somebody else has refunded, and nothing is sent before the read.
    """
    payment = locked.row
    if payment.charge is None:  # set only then: the session flushes a row whose value is set again to the same
        payment.charge = seen.id
    ours = sum(r.amount for r in locked.refunds if r.stripe_refund and r.status in (*OPEN, "succeeded"))
    in_doubt = sum(r.amount for r in locked.refunds if not r.stripe_refund and r.status in ("submitted", "unknown"))
    if ours + in_doubt + payment.released < seen.amount_refunded:
        hold_until_read(locked, policy)
    elif ours + payment.released != seen.amount_refunded or seen.captured > payment.captured:
        ask_for_read(locked)


def ask_for_read(locked: LockedPayment) -> None:
    """Let a worker read the payment at Stripe now."""
    locked.row.read_at = locked.tx.now
    locked.tx.wake_workers()


def hold_until_read(locked: LockedPayment, policy: Policy) -> None:
    """Let a worker read the payment now, and let nothing of it be sent before: somebody may have refunded outside.

    A read that is under way began before this news, so it may not know of that refund.
    """
    ask_for_read(locked)
    locked.row.observations += 1
    locked.row.held_until_read = policy.external_refunds == "hold"


def may_be_release(locked: LockedPayment, seen: RefundSnapshot) -> bool:
    """Return whether a refund that we don't know may be the release of a partial capture, which only a read tells."""
    payment = locked.row
    in_part = payment.authorized is None or payment.authorized > payment.captured
    ours = REFUND_ID.match(seen.metadata.get("refund_id", ""))
    return in_part and not ours and find_owner(locked.refunds, seen) is None


async def apply_dispute(locked: LockedPayment, by: Actor, policy: Policy, seen: DisputeSnapshot) -> None:
    """Fold a dispute. A formal one holds what is queued; once it is won, all goes on, and once lost, a person decides.

    A payment may have several disputes, and only all of them together decide: then a worker lists them. News that
    contradicts what is known of a dispute may be late, or may tell that its end has turned: then a worker reads it.
    """
    payment = locked.row
    known = payment.dispute or {}
    another = known.get("id", seen.id) != seen.id
    if not another and may_be_older(seen.status, known.get("status")):
        if known["status"] != seen.status:
            ask_for_read(locked)
        return
    payment.observations += 1
    if another:
        ask_for_read(locked)
    if another and not seen.bars_refunds:
        return
    was, payment.disputed = payment.disputed, seen.bars_refunds
    await _take_dispute(locked, by, policy, seen)
    if was != payment.disputed:
        await _record_payment_update(locked, by, policy)


async def _take_dispute(locked: LockedPayment, by: Actor, policy: Policy, seen: DisputeSnapshot) -> None:
    """Keep what is known of a dispute; withdraw what a lost one would hold for ever, or a won one has not settled."""
    known = locked.row.dispute or {}
    locked.row.dispute = dispute_record(seen)
    await withdraw_lost(locked, by, policy)
    if (known.get("id"), known.get("status")) == (seen.id, seen.status):
        return
    if gave_money_back(seen.status, bars_refunds=locked.row.disputed):
        await _explain_anew(locked, by, policy, describe_lost_dispute(locked.row))
    elif seen.status in ("won", "warning_closed"):
        await _explain_anew(locked, by, policy, refund_explanations.DISPUTE_WON)
        await _withdraw(locked, by, policy, refund_explanations.DISPUTE_WON, _settled_by_dispute)


async def _explain_anew(locked: LockedPayment, by: Actor, policy: Policy, failure: Mapping[str, str]) -> None:
    """Explain anew the refunds that a dispute's end withdrew, once that end has turned: they still wait for a person.

    Their old advice would pay the customer twice, or never.
    """
    for refund in locked.refunds:
        code = (refund.failure or {}).get("code")
        if code == failure["code"] or code not in ("dispute_lost", "dispute_won") or not has_failed(refund):
            continue
        refund.failure, refund.updated_at = dict(failure), locked.tx.now
        if refund.return_id is not None:
            case = await case_under_lock(locked, by, policy, refund.return_id)
            await record_transition(case, "adopt", case.row.state, failure["message"])


def dispute_record(dispute: DisputeSnapshot) -> dict[str, Any]:
    """Return what a payment keeps of its dispute."""
    answer_by = rfc3339(dispute.answer_by)
    return {"id": dispute.id, "status": dispute.status, "amount": dispute.amount, "answer_by": answer_by}


async def withdraw_lost(locked: LockedPayment, by: Actor, policy: Policy) -> None:
    """Withdraw what is queued on a payment whose dispute is lost: the dispute would hold it for ever.

    A refund that was sent still waits for Stripe's answer.
    """
    status = (locked.row.dispute or {}).get("status")
    if gave_money_back(status, bars_refunds=locked.row.disputed):
        await _withdraw(locked, by, policy, describe_lost_dispute(locked.row), lambda refund: refund.status == "queued")


def _settled_by_dispute(refund: Refund) -> bool:
    return refund.status == "settled_outside" and refund.method == "dispute" and refund.superseded_at is None


async def _withdraw(
    locked: LockedPayment, by: Actor, policy: Policy, failure: Mapping[str, str], concerns: Callable[[Refund], bool]
) -> None:
    """Withdraw the refunds that a dispute's end `concerns`: they wait for a person."""
    for refund in [one for one in locked.refunds if concerns(one)]:
        before, refund.status = refund.status, "withdrawn"
        refund.failure, refund.next_attempt_at, refund.updated_at = dict(failure), None, locked.tx.now
        set_waiting(refund, None)
        await propagate_status(locked, by, policy, refund, before)


async def _record_payment_update(locked: LockedPayment, by: Actor, policy: Policy) -> None:
    shown = show_payment(locked.row, locked.refunds)
    await record(locked.tx, by, "payment.updated", payment=locked.row, data={"object": shown})
    await retry_barred_follow_ups(locked, by, policy)
    locked.tx.wake_workers()


async def retry_barred_follow_ups(locked: LockedPayment, by: Actor, policy: Policy) -> None:
    """Let every return of the payment whose refund a guard barred try again: more may be refundable now."""
    barred = select(ReturnAuthorization.id).where(
        col(ReturnAuthorization.payment_id) == locked.row.id, col(ReturnAuthorization.follow_up_at).is_not(None)
    )
    await locked.tx.flush()
    for return_id in (await locked.tx.exec(barred.order_by(col(ReturnAuthorization.id)))).all():
        await follow_up(await case_under_lock(locked, by, policy, return_id))


async def apply_refund(
    locked: LockedPayment,
    by: Actor,
    policy: Policy,
    seen: RefundSnapshot,
    *,
    observations_at_start: int | None = None,
    of: str | None = None,
) -> Refund:
    """Fold a refund that Stripe holds into its row, made where there is none; return the row.

    `observations_at_start`: how often Stripe had told of the row (`of`) when a read of it began. Without it the news is
    a hint that can only raise the rank or ask for a fresh read.
    """
    row = find_owner(locked.refunds, seen)
    before = row.status if row else None
    if row is None:
        row = await add_found_refund(locked, by, policy, seen)
    elif of is None and _says_nothing_new(row, seen):
        return row
    fresh = row.id == of and observations_at_start == row.observations
    joined = join(row.status, seen.status, first_sight=row.stripe_refund is None, fresh=fresh)
    if row.stripe_refund is None:
        row.first_attempt_at = row.first_attempt_at or seen.created
        row.failures_in_a_row, row.lookups_only = 0, False
    row.stripe_refund, row.stripe_created_at, row.status = seen.id, seen.created, joined.status
    row.observations += 1  # of a read, too: another read that is under way began before this one ended
    traced, row.arrival = row.arrival, refund_explanations.describe_arrival(seen) or row.arrival
    row.next_action = refund_explanations.describe_next_action(seen)
    if joined.status == seen.status:
        set_waiting(row, refund_explanations.waiting_code_of(seen))
        row.failure = refund_explanations.describe_failure(seen) if joined.status in FINAL else None
    _schedule(locked.tx, row, before, look_again=joined.look_again, fresh=fresh)
    hold_ended = locked.set_hold(policy)
    if before != row.status:
        row.updated_at = locked.tx.now
        await propagate_status(locked, by, policy, row, before)
    elif row.status == "succeeded" and row.arrival != traced:
        row.updated_at = locked.tx.now  # a list of what changed tells the bank's reference, too
    if hold_ended:
        await release_hold(locked, by, policy)
    return row


async def release_hold(locked: LockedPayment, by: Actor, policy: Policy) -> None:
    """Let the payment's refunds go on once no refund made outside holds them any more."""
    await retry_barred_follow_ups(locked, by, policy)
    locked.tx.wake_workers()


def _says_nothing_new(row: Refund, seen: RefundSnapshot) -> bool:
    """Return whether folding this would change nothing: most webhooks only repeat what our own call was answered.

    Only of a row that has succeeded or ended. An open row counts every word of Stripe's, so that a read begun before
    it is known to be older.
    """
    settled = row.status == seen.status and row.status in (*FINAL, "succeeded")
    return (
        settled
        and row.stripe_refund == seen.id
        and row.stripe_created_at == seen.created
        and not row.next_is_read
        and row.next_attempt_at is None
        and (refund_explanations.describe_arrival(seen) or row.arrival) == row.arrival
        and row.failure == (refund_explanations.describe_failure(seen) if seen.status in FINAL else None)
    )


def find_owner(refunds: list[Refund], seen: RefundSnapshot) -> Refund | None:
    """Return the row that owns this refund of Stripe's; None: not ours, or a second one for its row."""
    owner = next((r for r in refunds if r.stripe_refund == seen.id), None)
    if owner is not None:
        return owner
    named = next((r for r in refunds if r.id == seen.metadata.get("refund_id")), None)
    if named is None or named.stripe_refund is not None or is_dealt_with(refunds, named):
        return None
    return named if named.amount == seen.amount and named.source != "external" else None


def is_dealt_with(refunds: list[Refund], row: Refund) -> bool:
    """Return whether another refund has taken a failed one's place, or a part of it: it is then paid no more."""
    return row.superseded_at is not None or any(part.supersedes == row.id for part in refunds)


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


async def propagate_status(
    locked: LockedPayment, by: Actor, policy: Policy, refund: Refund, before: RefundStatus | None
) -> None:
    """Record a refund's new status, and let its return follow."""
    tx, payment = locked.tx, locked.row
    shown = {"from": before, "to": refund.status, "object": show_refund(refund, payment)}
    if refund.return_id is None and before is None:
        pass  # its first event, `refund.created`, said it all
    elif refund.return_id is None:
        await record(tx, by, "refund.status_changed", refund=refund, payment=payment, data=shown)
    else:
        case = await case_under_lock(locked, by, policy, refund.return_id)
        case.record_lines_again(refund)  # the case was loaded after the refund had changed
        await record(tx, by, "refund.status_changed", row=case.row, refund=refund, payment=payment, data=shown)
        await _let_return_follow(case, refund, before)
    if refund.status in (*FINAL, "withdrawn"):
        await retry_barred_follow_ups(locked, by, policy)


async def _let_return_follow(case: ReturnCase, refund: Refund, before: RefundStatus | None) -> None:
    state = case.row.state
    if refund.source == "external" and state == "requested":  # it lowers the estimate; the request is still to decide
        await record_transition(case, "assign", state, None)
        return
    trigger = trigger_for(before, refund.status)
    if trigger and not return_machine.edges(trigger, state):
        trigger = "adopt"
    if trigger and return_machine.edges(trigger, state):
        fire(case, trigger)
        if state == "requested":  # its approval is lost, and the policy with it: the one in force now is kept
            case.row.policy = to_dict(case.policy)
            case.row.policy_version = version_of(case.row.policy)
        await record_transition(case, trigger, state, (refund.failure or {}).get("message"))
    await follow_up(case)
