"""What the worker heard from Stripe, written back under the claim's token.

A known no, a "not now" and "nobody knows" are three different things: only the first ends a refund, and if the row was
ever unknown, only after a look-up found nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from returns_service.commands.stripe_fold import apply_payment, apply_refund, propagate_status, withdraw_lost
from returns_service.domain.refund_status import FINAL, UNANSWERED
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, Refused, TryLater, Unknown
from returns_service.return_case.events import Actor, record
from returns_service.return_case.views import rfc3339, show_refund
from returns_service.store import claims
from returns_service.store.claims import Claim
from returns_service.store.database import Tx, lock_payment, lock_refunds, lock_return
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

LONGEST_WAIT_SECONDS = 300  # of the back-off between attempts
FIRST_LOOK_SECONDS, SLOWEST_LOOK_SECONDS = 5, 3600  # look-ups of an unknown: Stripe's lists may lag a moment
PASSES_LATER_SECONDS = 3600  # a balance is topped up by people or by the next day's sales
STUCK_AFTER = 6  # tries without an answer: a person should know
NOT_THERE = "was the account or the mode changed?"  # ends what a row waits for where Stripe doesn't know its object


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What Stripe said to one claim. `lookup`: the payment, read after (or instead of) the call."""

    answer: RefundSnapshot | Refused | TryLater | Unknown | Missing | None
    lookup: PaymentSnapshot | None = None
    looked: bool = False  # a look-up was tried; without `lookup` it got no answer


async def record_attempt(tx: Tx, by: Actor, claim: Claim, heard: AttemptOutcome) -> Refund | None:
    """Write back what was heard; None if the claim is no longer ours."""
    payment = await lock_payment(tx, claim.payment_id)
    row = next(r for r in await lock_refunds(tx, payment.id) if r.id == claim.refund_id)
    if not claims.still_owner(row, claim):
        # Late, but what Stripe said about money is true whoever heard it: it joins as news, the lease stays as it is.
        if isinstance(heard.answer, RefundSnapshot):
            await apply_refund(tx, by, payment, heard.answer)
        return None
    claims.release(row, payment)
    # News that came meanwhile asked for a look; it may only be forgotten by an answer newer than it.
    row.next_attempt_at = None if row.observations == claim.observations else tx.now
    row.next_is_read = row.next_is_read and row.observations != claim.observations
    if heard.lookup is not None:
        await apply_payment(tx, by, payment, heard.lookup, observations_at_start=claim.payment_observations)
    if isinstance(heard.answer, RefundSnapshot):
        since = claim.observations if claim.stripe_refund else None
        await apply_refund(tx, by, payment, heard.answer, observations_at_start=since, of=claim.refund_id)
        if heard.answer.replayed and row.next_attempt_at is None and row.status not in FINAL:
            row.next_attempt_at, row.next_is_read = tx.now, True  # an answer as it was then: what is it now?
    elif row.stripe_refund is None or claim.stripe_refund is not None:
        await _no_refund(tx, by, payment, row, claim, heard)
    if row.status in UNANSWERED and row.next_attempt_at is None:
        row.next_attempt_at = tx.now  # a webhook overtook the answer: look again
    if row.status == "queued":
        await withdraw_lost(tx, by, payment)  # lost while the call was under way
    return row


async def _no_refund(tx: Tx, by: Actor, payment: Payment, row: Refund, claim: Claim, heard: AttemptOutcome) -> None:
    row.failures_in_a_row += 1
    answer = heard.answer
    if claim.stripe_refund is not None:  # a read of a known refund got no answer: its status stands
        row.next_attempt_at, row.next_is_read = tx.now + _backoff(tx, row), True
        if isinstance(answer, Missing):
            row.waits_for = f"Stripe says it has no {row.stripe_refund}: {NOT_THERE}"
            row.next_attempt_at = tx.now + _look_delay(row)
        return
    if isinstance(answer, Unknown):
        await _nobody_knows(tx, by, payment, row, answer)
    elif isinstance(answer, TryLater):
        _later(tx, row, answer)
    elif isinstance(answer, Refused):
        await _refused(tx, by, payment, row, claim, answer, heard)
    elif heard.lookup is not None:
        _not_found(tx, row, claim)
    else:
        row.status = "unknown" if row.ever_unknown else "queued"
        row.waits_for = f"Stripe says it knows no such payment: {NOT_THERE}"
        row.next_attempt_at = tx.now + _look_delay(row)


async def _nobody_knows(tx: Tx, by: Actor, payment: Payment, row: Refund, answer: Unknown) -> None:
    before, row.status, row.ever_unknown = row.status, "unknown", True
    row.lookups_only = row.lookups_only or answer.replayed or answer.code == "idempotency_error"
    row.waits_for = "The money may or may not have moved; nobody knows yet. Stripe is asked again."
    row.next_attempt_at = tx.now + (_look_delay(row) if row.lookups_only else _backoff(tx, row))
    row.updated_at = tx.now
    said = {"code": answer.code, "message": answer.message, "next_attempt_at": rfc3339(row.next_attempt_at)}
    shown = {**said, "object": show_refund(row, payment)}
    of = await _return_of(tx, row)
    await record(tx, by, "refund.attempt_failed", row=of, refund=row, payment=payment, data=shown)
    if before != "unknown":
        await propagate_status(tx, by, payment, row, before)
    if row.failures_in_a_row == STUCK_AFTER:
        await record(tx, by, "refund.stuck", row=of, refund=row, payment=payment, data=shown)


def _later(tx: Tx, row: Refund, answer: TryLater) -> None:
    # Nothing was executed, so the intent is unsent again, unless an attempt before this one is in doubt.
    row.status = "unknown" if row.ever_unknown else "queued"
    row.waits_for = f"Stripe can't take it right now ({answer.code}); nothing has moved."
    if row.ever_unknown:
        row.waits_for = f"Stripe can't be asked right now ({answer.code}); an earlier attempt is still in doubt."
    wait = _backoff(tx, row)
    row.next_attempt_at = tx.now + max(wait, timedelta(seconds=answer.after_seconds or 0))


async def _refused(
    tx: Tx, by: Actor, payment: Payment, row: Refund, claim: Claim, answer: Refused, heard: AttemptOutcome
) -> None:
    if heard.looked and heard.lookup is None:  # may be ours already: a no is only believed after a look-up
        row.next_attempt_at = tx.now + _backoff(tx, row)
        row.status = "unknown" if row.ever_unknown else "queued"
        row.waits_for = f"Stripe refused it ({answer.code}); the payment is read again before that is believed."
        return
    disputed = payment.disputed and answer.code in ("charge_disputed", "refund_disputed_payment")
    if answer.may_pass or disputed:
        row.status = "queued"
        _next_generation(tx, row, answer.code)
        row.next_attempt_at = tx.now + timedelta(seconds=PASSES_LATER_SECONDS)
        row.waits_for = f"{answer.message} {answer.advice}"
        of = await _return_of(tx, row)
        said = {"code": answer.code, "message": answer.message, "object": show_refund(row, payment)}
        await record(tx, by, "refund.attempt_failed", row=of, refund=row, payment=payment, data=said)
        return
    before, row.status = row.status, "failed"
    row.next_attempt_at, row.waits_for, row.updated_at = None, None, tx.now
    row.failure = {
        "code": answer.code,
        "message": f"Stripe refused it; no money has moved. {answer.message}",
        "stripe_code": answer.code,
        "failure_reason": None,
        "advice": answer.advice,
    }
    await propagate_status(tx, by, payment, row, before)


def _not_found(tx: Tx, row: Refund, claim: Claim) -> None:
    """A look-up found nothing. Past the key's life a new key is safe; before, the first may still be at work.

    That the key's life is over only a wall clock says, and one set ahead may say it while another worker is about to
    send. So the first empty look bars sending, and the next, when any lease of before is over, believes it.
    """
    age = (tx.now - claim.first_attempt_at).total_seconds() if claim.first_attempt_at else 0.0
    if age >= claims.KEY_LIFE_SECONDS and claim.lookups_only:
        row.status = "queued"
        _next_generation(tx, row, "not_found_after_key_life")
        row.next_attempt_at = tx.now
        return
    row.status, row.ever_unknown = "unknown", True
    if age >= claims.KEY_LIFE_SECONDS:
        row.lookups_only, row.next_attempt_at = True, tx.now + timedelta(seconds=2 * claims.REFUND_LEASE_SECONDS)
        row.waits_for = "Stripe has no such refund, a day after it was asked. It is looked for once more, then sent."
        return
    row.waits_for = "Stripe answered with an error and kept no refund so far; it may still repair it. Looking again."
    row.next_attempt_at = tx.now + _look_delay(row)
    if claim.first_attempt_at is not None:
        end_of_key = claim.first_attempt_at + timedelta(seconds=claims.KEY_LIFE_SECONDS)
        row.next_attempt_at = min(row.next_attempt_at, max(end_of_key, tx.now))


def _next_generation(tx: Tx, row: Refund, why: str, note: str | None = None) -> None:
    past = {
        "generation": row.generation,
        "parameters": row.parameters,
        "first_attempt_at": rfc3339(row.first_attempt_at),
    }
    row.past_parameters = [*row.past_parameters, {**past, "ended_at": rfc3339(tx.now), "why": why, "note": note}]
    row.generation, row.first_attempt_at, row.lookups_only, row.failures_in_a_row = row.generation + 1, None, False, 0


def begin_generation_again(tx: Tx, row: Refund, note: str) -> None:
    """Give an unknown refund a new key, on a person's word, after an empty look-up.

    It is sent after a minute and one more look-up: by then whoever may still ask under the key before has lost its
    lease, by its own clock too.
    """
    _next_generation(tx, row, "sent_again", note)
    row.status, row.next_attempt_at = "queued", tx.now + timedelta(seconds=2 * claims.REFUND_LEASE_SECONDS)
    row.lease_token += 1  # who asked under the key before is late
    tx.wake_workers()


def _backoff(tx: Tx, row: Refund) -> timedelta:
    """Full jitter, so that a thousand refunds don't knock together. The first attempt went at once."""
    return timedelta(
        seconds=tx.database.random.uniform(0, min(LONGEST_WAIT_SECONDS, 2 ** min(row.failures_in_a_row, 16)))
    )


def _look_delay(row: Refund) -> timedelta:
    return timedelta(
        seconds=min(SLOWEST_LOOK_SECONDS, FIRST_LOOK_SECONDS * 2 ** min(max(0, row.failures_in_a_row - 1), 16))
    )


async def _return_of(tx: Tx, row: Refund) -> ReturnAuthorization | None:
    return await lock_return(tx, row.return_id) if row.return_id else None
