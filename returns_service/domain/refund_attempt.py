"""What follows from one attempt to learn or settle a refund at Stripe: a pure decision that the worker obeys.

A known no, a "not now" and "nobody knows" are three different things. Only the first ends a refund, and where an
earlier attempt is in doubt, only after a look-up found nothing. The table in the README is printed from `table()`.
https://docs.stripe.com/api/idempotent_requests, https://docs.stripe.com/error-low-level
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from returns_service.domain.refund_status import RefundStatus
from returns_service.domain.stripe_objects import Missing, Refused, TryLater, Unknown

WaitingCode = Literal[
    "second_person",  # not sent: more than one person may decide alone
    "bank_processing",  # open at Stripe, nothing to do
    "balance_too_low",  # open at Stripe until the Stripe balance is topped up
    "payment_unsettled",  # open at Stripe until the payment itself is settled
    "customer_action",  # open at Stripe until the customer answers Stripe's e-mail
    "no_answer",  # Stripe may have done it
    "stored_error",  # Stripe stored an error under the key: only look-ups can tell
    "key_expired",  # no refund at Stripe and the key's life is over: looked for once more, then sent under a new key
    "stripe_unavailable",  # nothing was executed
    "stripe_refuses",  # nothing was executed: the key is not known, expired, or may not make this call
    "in_doubt",  # this attempt was not executed, an earlier one is in doubt
    "due_no_more",  # in doubt, and what it pays is paid otherwise or due no more: only looked for
    "paid_beside",  # in doubt, and one made outside meanwhile may have paid it: only looked for
    "refusal_unconfirmed",  # refused, and the look-up that confirms it got no answer
    "refused_for_now",  # refused for a cause that may pass; sent again under a new key
    "payment_missing",  # Stripe does not know the payment: another account or mode?
    "refund_missing",  # Stripe does not know the refund any more: another account or mode?
    "unknown_reason",  # written by another release
]
# What holds a refund back without an attempt: told where it is shown, never stored.
HoldCode = Literal[
    "payment_disputed",  # until the dispute is won
    "payment_unread",  # until the payment is read: Stripe tells of more refunded than is known
    "external_refund_open",  # until a person assigns or acknowledges the refund made outside
    "refund_delay",  # the policy's: the dock has time to notice a miscount
]
RefundWaitingCode = Literal[WaitingCode, HoldCode]
OnlyLooks = Literal["due_no_more", "paid_beside"]
Lookup = Literal["none", "unanswered", "empty"]
Answer = Refused | TryLater | Unknown | Missing | None

REFUND_LEASE_SECONDS = 30  # renewed while a call is in flight; a call's own timeout is shorter
KEY_LIFE_SECONDS = 23 * 3600  # Stripe may prune a key from 24 h on; an hour is left for slow calls and clocks
LONGEST_BACKOFF_SECONDS = 300
FIRST_LOOKUP_SECONDS, SLOWEST_LOOKUP_SECONDS = 5, 3600  # Stripe's lists may lag for a moment
PASSES_LATER_SECONDS = 3600  # a balance is topped up by people or by the next day's sales
SECOND_LOOKUP_SECONDS = 2 * REFUND_LEASE_SECONDS  # any worker that held the key before has lost its lease by then
STUCK_AFTER = 6  # attempts without an answer: a person should know
DISPUTE_CODES = ("charge_disputed", "refund_disputed_payment")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refund as one attempt left it. `failures_in_a_row` counts this attempt; times are UTC."""

    status: RefundStatus
    failures_in_a_row: int = 1
    first_attempt_at: datetime | None = None  # of this key
    ever_unknown: bool = False
    lookups_only: bool = False  # as the row is now
    claimed_lookups_only: bool = False  # as it was when this attempt began
    at_stripe: bool = False  # Stripe holds it: the attempt was a read
    disputed: bool = False
    only_looks: OnlyLooks | None = None  # in doubt it is not sent again: what it pays may be paid otherwise by now


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Stripe answered. `lookup`: was the payment listed after (or instead of) the call, and did that succeed?"""

    answer: Answer
    lookup: Lookup = "none"


@dataclass(frozen=True, slots=True)
class Next:
    """What to write down. `retry_in_seconds` None: this refund is over."""

    status: RefundStatus
    retry_in_seconds: float | None
    waiting_code: WaitingCode | None = None
    waiting_detail: str | None = None
    ever_unknown: bool = False
    lookups_only: bool = False
    read_only: bool = False  # the next attempt is a read
    new_key_because: str | None = None
    events: tuple[Literal["refund.attempt_failed", "refund.stuck"], ...] = ()


def after_attempt(attempt: Attempt, outcome: Outcome, now: datetime, *, jitter: float) -> Next:
    """Return what follows from an attempt that brought no refund of Stripe's.

    `jitter` from 0 to 1 spreads the back-off (full jitter), so that a thousand refunds don't knock together.
    """
    after = _after_attempt(attempt, outcome, now, jitter)
    if attempt.only_looks and after.status == "unknown":
        return replace(after, waiting_code=attempt.only_looks, waiting_detail=None)
    return after


def _after_attempt(attempt: Attempt, outcome: Outcome, now: datetime, jitter: float) -> Next:
    answer = outcome.answer
    stay = Next(
        status="unknown" if attempt.ever_unknown else "queued",
        retry_in_seconds=backoff_seconds(attempt.failures_in_a_row, jitter),
        ever_unknown=attempt.ever_unknown,
        lookups_only=attempt.lookups_only,
    )
    if attempt.at_stripe:
        return _after_read(attempt, answer, stay)
    if isinstance(answer, Unknown):
        return _after_no_answer(attempt, answer, stay)
    if isinstance(answer, TryLater):
        wait = max(stay.retry_in_seconds or 0.0, answer.after_seconds or 0.0)
        stay = replace(stay, retry_in_seconds=wait)
        if attempt.ever_unknown:
            return replace(stay, waiting_code="in_doubt", waiting_detail=answer.code)
        if answer.refuses_us:
            return replace(stay, waiting_code="stripe_refuses", waiting_detail=answer.message)
        return replace(stay, waiting_code="stripe_unavailable", waiting_detail=answer.code)
    if isinstance(answer, Refused):
        return _after_refusal(attempt, outcome, answer, stay)
    if outcome.lookup == "empty":
        return _after_empty_lookup(attempt, stay, now)
    return replace(
        stay, retry_in_seconds=lookup_delay_seconds(attempt.failures_in_a_row), waiting_code="payment_missing"
    )


def _after_read(attempt: Attempt, answer: Answer, stay: Next) -> Next:
    """A read of a refund that Stripe holds got no answer: its status stands."""
    stay = replace(stay, status=attempt.status, read_only=True)
    if not isinstance(answer, Missing):
        return stay
    return replace(
        stay, retry_in_seconds=lookup_delay_seconds(attempt.failures_in_a_row), waiting_code="refund_missing"
    )


def _after_no_answer(attempt: Attempt, answer: Unknown, stay: Next) -> Next:
    lookups_only = attempt.lookups_only or answer.replayed or answer.code == "idempotency_error"
    stuck: tuple[Literal["refund.stuck"], ...] = ("refund.stuck",) if attempt.failures_in_a_row == STUCK_AFTER else ()
    return replace(
        stay,
        status="unknown",
        ever_unknown=True,
        lookups_only=lookups_only,
        retry_in_seconds=lookup_delay_seconds(attempt.failures_in_a_row) if lookups_only else stay.retry_in_seconds,
        waiting_code="stored_error" if lookups_only else "no_answer",
        events=("refund.attempt_failed", *stuck),
    )


def _after_refusal(attempt: Attempt, outcome: Outcome, answer: Refused, stay: Next) -> Next:
    if outcome.lookup == "unanswered":  # Stripe may hold it already: a refusal is believed only after a look-up
        return replace(stay, waiting_code="refusal_unconfirmed", waiting_detail=answer.code)
    if answer.may_pass or (attempt.disputed and answer.code in DISPUTE_CODES):
        return Next(
            status="queued",
            retry_in_seconds=PASSES_LATER_SECONDS,
            waiting_code="refused_for_now",
            waiting_detail=f"{answer.message} {answer.advice}",
            ever_unknown=attempt.ever_unknown,
            new_key_because=answer.code,
            events=("refund.attempt_failed",),
        )
    return Next(
        status="failed", retry_in_seconds=None, ever_unknown=attempt.ever_unknown, lookups_only=attempt.lookups_only
    )


def _after_empty_lookup(attempt: Attempt, stay: Next, now: datetime) -> Next:
    """Past the key's life a new key is safe; before, the first call may still be at work.

    Only a wall clock tells the key's age, and a clock set ahead may tell it while another worker is about to send. So
    the first empty look-up bars sending, and a second one, when any earlier lease is over, is believed.
    """
    age = key_age_seconds(attempt.first_attempt_at, now)
    if age >= KEY_LIFE_SECONDS and attempt.claimed_lookups_only:
        return Next(
            status="queued",
            retry_in_seconds=0.0,
            ever_unknown=attempt.ever_unknown,
            new_key_because="not_found_after_key_life",
        )
    if age >= KEY_LIFE_SECONDS:
        return replace(
            stay,
            status="unknown",
            ever_unknown=True,
            lookups_only=True,
            retry_in_seconds=SECOND_LOOKUP_SECONDS,
            waiting_code="key_expired",
        )
    wait = lookup_delay_seconds(attempt.failures_in_a_row)
    if attempt.first_attempt_at is not None:
        wait = min(wait, max(0.0, KEY_LIFE_SECONDS - age))
    code: WaitingCode = "stored_error" if attempt.lookups_only else "no_answer"
    return replace(stay, status="unknown", ever_unknown=True, retry_in_seconds=wait, waiting_code=code)


def key_age_seconds(first_attempt_at: datetime | None, now: datetime) -> float:
    """Return how long ago this key was first sent, in seconds; 0 where it was not sent yet."""
    return (now - first_attempt_at).total_seconds() if first_attempt_at else 0.0


def backoff_seconds(failures_in_a_row: int, jitter: float) -> float:
    """Return a wait between 0 and min(300, 2ⁿ) seconds. The first attempt goes at once."""
    return jitter * float(min(LONGEST_BACKOFF_SECONDS, 2 ** min(failures_in_a_row, 16)))


def lookup_delay_seconds(failures_in_a_row: int) -> float:
    """Return the wait before the next look-up in seconds: 5, doubling to an hour."""
    return float(min(SLOWEST_LOOKUP_SECONDS, FIRST_LOOKUP_SECONDS * 2 ** min(max(0, failures_in_a_row - 1), 16)))


def table() -> Iterator[tuple[str, str, str, str]]:
    """Yield (what Stripe answered, status, next attempt, key) for each kind of outcome, as the decision gives it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old = now + timedelta(seconds=KEY_LIFE_SECONDS)
    refused = Refused("charge_not_refundable", "No.", "", 400)
    fresh = Attempt("submitted", first_attempt_at=now)
    doubt = replace(fresh, status="unknown", ever_unknown=True)
    rows: list[tuple[str, Attempt, Outcome, datetime]] = [
        ("No answer: a timeout, a cut line, a 5xx", fresh, Outcome(Unknown("timeout", "")), now),
        ("A stored error, replayed", fresh, Outcome(Unknown("http_500", "", replayed=True)), now),
        ("Nothing executed: 429, 409, 401, 403, no connection", fresh, Outcome(TryLater("rate_limit", "")), now),
        ("The same, with an earlier attempt in doubt", doubt, Outcome(TryLater("rate_limit", "")), now),
        ("Refused for good, for one because Stripe does not know the payment", fresh, Outcome(refused), now),
        ("Refused, but its look-up got no answer", doubt, Outcome(refused, "unanswered"), now),
        ("Refused for a cause that may pass", fresh, Outcome(replace(refused, may_pass=True)), now),
        ("Looked up: Stripe has no such refund, the key is young", doubt, Outcome(None, "empty"), now),
        ("The same, a day after the key was first sent", doubt, Outcome(None, "empty"), old),
        (
            "The same, a second time",
            replace(doubt, lookups_only=True, claimed_lookups_only=True),
            Outcome(None, "empty"),
            old,
        ),
        ("Stripe does not know the payment, with an earlier attempt in doubt", doubt, Outcome(Missing("")), now),
        (
            "A read of a refund at Stripe got no answer",
            Attempt("pending", at_stripe=True),
            Outcome(TryLater("", "")),
            now,
        ),
    ]
    for words, attempt, outcome, at in rows:
        after = after_attempt(attempt, outcome, at, jitter=1.0)
        how = "a look-up" if after.lookups_only or after.ever_unknown else "a read" if after.read_only else "a call"
        wait = after.retry_in_seconds
        yield (
            words,
            after.status,
            "none" if wait is None else f"{how} within {wait:g} s" if wait else f"{how} at once",
            "a new one" if after.new_key_because else "the same",
        )
