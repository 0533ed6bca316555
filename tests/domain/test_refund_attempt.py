"""What follows from an attempt at Stripe, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.refund_attempt import (
    KEY_LIFE_SECONDS,
    PASSES_LATER_SECONDS,
    SECOND_LOOKUP_SECONDS,
    STUCK_AFTER,
    Attempt,
    Next,
    Outcome,
    after_attempt,
)
from returns_service.domain.stripe_objects import Missing, Refused, TryLater, Unknown

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SENT = Attempt("submitted", first_attempt_at=NOW)
IN_DOUBT = replace(SENT, status="unknown", ever_unknown=True)
OLD = replace(IN_DOUBT, first_attempt_at=NOW - timedelta(seconds=KEY_LIFE_SECONDS))
NO = Refused("charge_not_refundable", "This charge can't be refunded.", "Settle it outside.", 400)
LATER = TryLater("rate_limit", "Too many requests")
SILENCE = Unknown("timeout", "Stripe didn't answer in time")
EMPTY = Outcome(None, "empty")


def after(attempt: Attempt, outcome: Outcome, jitter: float = 1.0) -> Next:
    return after_attempt(attempt, outcome, NOW, jitter=jitter)


def test_no_answer_leaves_the_outcome_unknown_under_the_same_key() -> None:
    it = after(SENT, Outcome(SILENCE))
    assert (it.status, it.ever_unknown, it.lookups_only, it.new_key_because) == ("unknown", True, False, None)
    assert (it.waiting_code, it.events) == ("no_answer", ("refund.attempt_failed",))


@pytest.mark.parametrize("answer", [replace(SILENCE, replayed=True), Unknown("idempotency_error", "Other parameters")])
def test_a_stored_answer_leaves_nothing_but_look_ups(answer: Unknown) -> None:
    it = after(SENT, Outcome(answer))
    assert (it.status, it.lookups_only, it.waiting_code) == ("unknown", True, "stored_error")


def test_a_person_is_told_once_after_the_sixth_attempt_without_an_answer() -> None:
    told = [after(replace(IN_DOUBT, failures_in_a_row=n), Outcome(SILENCE)).events for n in range(1, 10)]
    assert [n for n, events in enumerate(told, 1) if "refund.stuck" in events] == [STUCK_AFTER]


def test_nothing_executed_is_unsent_again_unless_an_earlier_attempt_is_in_doubt() -> None:
    assert (after(SENT, Outcome(LATER)).status, after(IN_DOUBT, Outcome(LATER)).status) == ("queued", "unknown")
    assert after(IN_DOUBT, Outcome(LATER)).waiting_code == "in_doubt"


def test_stripes_own_wish_to_wait_is_kept() -> None:
    assert after(SENT, Outcome(replace(LATER, after_seconds=90.0)), jitter=0.0).retry_in_seconds == 90.0


def test_a_refusal_ends_it() -> None:
    it = after(SENT, Outcome(NO))
    assert (it.status, it.retry_in_seconds) == ("failed", None)


def test_a_refusal_is_not_believed_while_its_look_up_has_no_answer() -> None:
    assert after(IN_DOUBT, Outcome(NO, "unanswered")).status == "unknown"
    assert after(SENT, Outcome(NO, "unanswered")).status == "queued"


@pytest.mark.parametrize(
    "attempt, refused",
    [
        (SENT, replace(NO, code="balance_insufficient", may_pass=True)),
        (replace(SENT, disputed=True), replace(NO, code="charge_disputed")),
    ],
)
def test_a_refusal_that_may_pass_is_tried_later_under_a_new_key(attempt: Attempt, refused: Refused) -> None:
    it = after(attempt, Outcome(refused))
    assert (it.status, it.new_key_because) == ("queued", refused.code)
    assert it.retry_in_seconds == PASSES_LATER_SECONDS


def test_a_dispute_that_we_know_nothing_of_is_a_refusal() -> None:
    assert after(SENT, Outcome(replace(NO, code="charge_disputed"))).status == "failed"


@pytest.mark.parametrize("stored, code", [(True, "stored_error"), (False, "no_answer")])
def test_an_empty_look_up_within_the_keys_life_gives_no_new_key(stored: bool, code: str) -> None:
    it = after(replace(IN_DOUBT, lookups_only=stored), EMPTY)
    assert (it.status, it.new_key_because, it.waiting_code) == ("unknown", None, code)


@pytest.mark.parametrize("outcome", [EMPTY, Outcome(LATER), Outcome(Unknown("timeout", "")), Outcome(Missing(""))])
@pytest.mark.parametrize("attempt", [SENT, IN_DOUBT, OLD])
def test_what_is_in_doubt_and_due_no_more_says_so(attempt: Attempt, outcome: Outcome) -> None:
    """By this word it is not sent again: whatever came between, the word stays."""
    it = after(replace(attempt, only_looks="due_no_more"), outcome)
    assert (it.waiting_code == "due_no_more") == (it.status == "unknown")


def test_past_the_keys_life_it_takes_two_empty_look_ups_a_minute_apart() -> None:
    first = after(OLD, EMPTY)
    assert (first.status, first.lookups_only, first.retry_in_seconds) == ("unknown", True, SECOND_LOOKUP_SECONDS)
    assert first.new_key_because is None
    second = after(replace(OLD, lookups_only=True, claimed_lookups_only=True), EMPTY)
    assert (second.status, second.new_key_because) == ("queued", "not_found_after_key_life")


def test_a_look_up_comes_at_the_end_of_the_keys_life_at_the_latest() -> None:
    almost = replace(IN_DOUBT, first_attempt_at=NOW - timedelta(seconds=KEY_LIFE_SECONDS - 7), failures_in_a_row=12)
    assert after(almost, EMPTY).retry_in_seconds == 7


def test_a_read_that_gets_no_answer_changes_no_status() -> None:
    held = Attempt("pending", at_stripe=True)
    for answer in (SILENCE, LATER, Missing("No such refund")):
        it = after(held, Outcome(answer))
        assert (it.status, it.read_only, it.events) == ("pending", True, ())
    assert after(held, Outcome(Missing("No such refund"))).waiting_code == "refund_missing"


ANSWERS = st.sampled_from([SILENCE, replace(SILENCE, replayed=True), LATER, NO, replace(NO, may_pass=True), None])
ATTEMPTS = st.builds(
    Attempt,
    status=st.sampled_from(["submitted", "unknown"]),
    failures_in_a_row=st.integers(1, 40),
    first_attempt_at=st.sampled_from([None, NOW, OLD.first_attempt_at]),
    ever_unknown=st.booleans(),
    lookups_only=st.booleans(),
    claimed_lookups_only=st.booleans(),
    disputed=st.booleans(),
)


@given(ATTEMPTS, ANSWERS, st.sampled_from(["none", "unanswered", "empty"]), st.floats(0, 1))
def test_a_new_key_only_after_a_known_no_or_a_look_up_past_the_keys_life(
    attempt: Attempt, answer: Unknown | TryLater | Refused | None, lookup: str, jitter: float
) -> None:
    it = after_attempt(attempt, Outcome(answer, lookup), NOW, jitter=jitter)  # type: ignore[arg-type]  # drawn from its words
    if it.new_key_because is not None:
        known_no = isinstance(answer, Refused)
        assert known_no or (answer is None and lookup == "empty" and attempt.first_attempt_at == OLD.first_attempt_at)
    assert (it.retry_in_seconds is None) == (it.status == "failed"), "what is open has its next moment"
    assert it.ever_unknown or not attempt.ever_unknown, "doubt is never forgotten"
