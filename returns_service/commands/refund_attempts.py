"""Write down what the worker learnt from Stripe in one attempt, under the claim's token.

What follows from an attempt is decided in `domain/refund_attempt.py`; here it is applied to the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from returns_service.commands.refunds import withdraw_unsent
from returns_service.commands.stripe_fold import apply_payment, apply_refund, propagate_status, withdraw_lost
from returns_service.commands.undue_refunds import (
    PAID_BESIDE,
    SENT_AGAIN,
    has_second,
    may_be_paid_beside,
    pays_undue,
    withdraw_if_undue,
)
from returns_service.domain.policy import Policy
from returns_service.domain.refund_attempt import (
    SECOND_LOOKUP_SECONDS,
    Answer,
    Attempt,
    Lookup,
    Next,
    OnlyLooks,
    Outcome,
    after_attempt,
)
from returns_service.domain.refund_status import FINAL, UNANSWERED
from returns_service.domain.stripe_objects import PaymentSnapshot, RefundSnapshot, Refused, Unknown
from returns_service.domain.vocabulary import EventType
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment, lock_payment
from returns_service.return_case.views import rfc3339, show_refund
from returns_service.return_case.waiting import describe_waiting, set_waiting
from returns_service.store import claims
from returns_service.store.claims import Claim
from returns_service.store.database import Tx
from returns_service.store.tables import Refund


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What Stripe answered to one claim. `lookup`: the payment, where it was read after (or instead of) the call."""

    answer: RefundSnapshot | Answer
    lookup: PaymentSnapshot | None = None
    looked: bool = False  # a look-up was tried; without `lookup` it got no answer


async def record_attempt(tx: Tx, by: Actor, policy: Policy, claim: Claim, outcome: AttemptOutcome) -> Refund | None:
    """Write down the outcome of a claim's attempt; return the refund, None if the claim is no longer ours."""
    locked = await lock_payment(tx, claim.payment_id)
    row = locked.refund(claim.refund_id)
    if row is None or not claims.still_owner(row, claim):
        # The claim is lost, but what Stripe said about money is true: it joins as news, the lease stays its owner's.
        if isinstance(outcome.answer, RefundSnapshot):
            await apply_refund(locked, by, policy, outcome.answer)
        return None
    claims.release(row, locked.row)
    # News that came meanwhile asked for a read; only an answer newer than the news may forget that.
    is_fresh = row.observations == claim.observations
    row.next_attempt_at = None if is_fresh else tx.now
    row.next_is_read = row.next_is_read and not is_fresh
    if outcome.lookup is not None:
        await apply_payment(locked, by, policy, outcome.lookup, observations_at_start=claim.payment_observations)
    if isinstance(outcome.answer, RefundSnapshot):
        since = claim.observations if claim.stripe_refund else None
        await apply_refund(locked, by, policy, outcome.answer, observations_at_start=since, of=claim.refund_id)
        if outcome.answer.replayed and row.next_attempt_at is None and row.status not in FINAL:
            row.next_attempt_at, row.next_is_read = tx.now, True  # a stored answer: what became of it since?
    elif row.stripe_refund is None or claim.stripe_refund is not None:
        await _apply(locked, by, policy, row, claim, outcome, outcome.answer)
    if row.status in UNANSWERED and row.next_attempt_at is None:
        row.next_attempt_at = tx.now  # a webhook overtook the answer: look again
    if row.status == "queued":
        await withdraw_lost(locked, by, policy)  # the dispute was lost while the call was under way
        await withdraw_if_undue(locked, by, policy, row)
        await _withdraw_if_paid_beside(locked, by, policy, row)
    return row


async def _withdraw_if_paid_beside(locked: LockedPayment, by: Actor, policy: Policy, row: Refund) -> None:
    """Withdraw a refund that was in doubt and came to nothing, where one made outside may have paid it."""
    if row.status != "queued" or not row.ever_unknown:
        return
    if may_be_paid_beside(row, locked.refunds) or has_second(row, locked.refunds):
        withdraw_unsent(row, locked.tx, PAID_BESIDE | {"by": by.actor})
        await propagate_status(locked, by, policy, row, "queued")


async def _apply(
    locked: LockedPayment,
    by: Actor,
    policy: Policy,
    row: Refund,
    claim: Claim,
    outcome: AttemptOutcome,
    answer: Answer,
) -> None:
    """Apply what follows from an attempt that brought no refund of Stripe's."""
    tx, before = locked.tx, row.status
    row.failures_in_a_row += 1
    attempt = Attempt(
        status=row.status,
        failures_in_a_row=row.failures_in_a_row,
        first_attempt_at=claim.first_attempt_at,
        ever_unknown=row.ever_unknown,
        lookups_only=row.lookups_only,
        claimed_lookups_only=claim.lookups_only,
        at_stripe=claim.stripe_refund is not None,
        disputed=locked.row.disputed,
        only_looks=await _why_only_looked_for(locked, by, policy, row),
    )
    lookup: Lookup = "empty" if outcome.lookup is not None else "unanswered" if outcome.looked else "none"
    after = after_attempt(attempt, Outcome(answer, lookup), tx.now, jitter=tx.database.random.uniform(0, 1))
    _write(tx, row, after)
    if after.status == "failed" and isinstance(answer, Refused):
        row.failure = {
            "code": answer.code,
            "message": f"Stripe refused it; no money has moved. {answer.message}",
            "stripe_code": answer.code,
            "failure_reason": None,
            "advice": answer.advice,
        }
    outcome_is_news = isinstance(answer, Unknown) or after.status == "failed"
    if outcome_is_news:
        row.updated_at = tx.now
    first, later = after.events[:1], after.events[1:]
    await _record(locked, by, policy, row, first, answer)
    if outcome_is_news and row.status != before:
        await propagate_status(locked, by, policy, row, before)
    await _record(locked, by, policy, row, later, answer)


async def _why_only_looked_for(locked: LockedPayment, by: Actor, policy: Policy, row: Refund) -> OnlyLooks | None:
    if row.stripe_refund is not None:
        return None
    if has_second(row, locked.refunds):
        return "paid_beside"
    if row.return_id is None:
        return "paid_beside" if may_be_paid_beside(row, locked.refunds) else None
    return "due_no_more" if pays_undue(await case_under_lock(locked, by, policy, row.return_id), row) else None


def _write(tx: Tx, row: Refund, after: Next) -> None:
    if after.new_key_because is not None:
        _start_generation(tx, row, after.new_key_because)
    row.status, row.ever_unknown, row.lookups_only = after.status, after.ever_unknown, after.lookups_only
    wait = after.retry_in_seconds
    row.next_attempt_at = None if wait is None else tx.now + timedelta(seconds=wait)
    row.next_is_read = after.read_only
    set_waiting(row, after.waiting_code, after.waiting_detail)


async def _record(
    locked: LockedPayment, by: Actor, policy: Policy, row: Refund, kinds: Sequence[EventType], answer: Answer
) -> None:
    """Record what happened to an attempt, as the row is now."""
    for kind in kinds:
        of = (await case_under_lock(locked, by, policy, row.return_id)).row if row.return_id else None
        data = {
            "code": answer.code if isinstance(answer, Unknown | Refused) else row.waiting_code,
            "message": answer.message if isinstance(answer, Unknown | Refused) else describe_waiting(row),
            "next_attempt_at": rfc3339(row.next_attempt_at),
            "object": show_refund(row, locked.row),
        }
        await record(locked.tx, by, kind, row=of, refund=row, payment=locked.row, data=data)


def _start_generation(tx: Tx, row: Refund, because: str, note: str | None = None) -> None:
    """Give the refund its next key; the parameters under the key before are kept."""
    past = {
        "generation": row.generation,
        "parameters": row.parameters,
        "first_attempt_at": rfc3339(row.first_attempt_at),
        "ended_at": rfc3339(tx.now),
        "why": because,
        "note": note,
    }
    row.past_parameters = [*row.past_parameters, past]
    row.generation, row.first_attempt_at, row.lookups_only, row.failures_in_a_row = row.generation + 1, None, False, 0


def start_generation_by_hand(tx: Tx, row: Refund, note: str) -> None:
    """Give an unknown refund a new key on a person's word, after an empty look-up.

    It is sent after a minute and one more look-up: by then any worker that may still ask under the key before has lost
    its lease, by its own clock too.
    """
    _start_generation(tx, row, SENT_AGAIN, note)
    set_waiting(row, None)
    row.status, row.next_attempt_at = "queued", tx.now + timedelta(seconds=SECOND_LOOKUP_SECONDS)
    row.lease_token += 1  # an answer under the key before then comes from a lost claim
    tx.wake_workers()
