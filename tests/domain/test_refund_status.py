"""The order in which Stripe's news arrives never matters."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.refund_status import FINAL, OPEN, STATUSES, STRIPE_STATUSES, UNANSWERED, RefundStatus, join


def told(start: RefundStatus, news: list[str]) -> RefundStatus:
    status, first = start, True
    for word in news:
        status, first = join(status, word, first_sight=first, fresh=False).status, False
    return status


@given(st.sampled_from(UNANSWERED), st.sets(st.sampled_from(["pending", "succeeded", "failed"])))
def test_any_order_of_the_same_news_ends_in_the_same_status(start: RefundStatus, news: set[str]) -> None:
    ends = {told(start, list(order)) for order in permutations(sorted(news))}
    assert len(ends) == 1


@given(st.sampled_from(OPEN), st.lists(st.sampled_from(STRIPE_STATUSES), min_size=1, max_size=4))
def test_doubled_news_changes_nothing(start: RefundStatus, news: list[str]) -> None:
    assert told(start, news) == told(start, [word for word in news for _ in range(2)])


@pytest.mark.parametrize("known", FINAL)
@pytest.mark.parametrize("news", STRIPE_STATUSES)
@pytest.mark.parametrize("fresh", [True, False])
def test_failed_and_canceled_are_final_once_stripe_said_so(known: RefundStatus, news: str, fresh: bool) -> None:
    assert join(known, news, first_sight=False, fresh=fresh).status == known


def test_succeeded_may_still_fail_weeks_later() -> None:
    assert join("succeeded", "failed", first_sight=False, fresh=False).status == "failed"


def test_lower_news_only_asks_for_a_fresh_read() -> None:
    joined = join("succeeded", "requires_action", first_sight=False, fresh=False)
    assert (joined.status, joined.look_again) == ("succeeded", True)


def test_a_fresh_read_wins_over_succeeded() -> None:
    joined = join("succeeded", "requires_action", first_sight=False, fresh=True)
    assert (joined.status, joined.look_again) == ("requires_action", False)


def test_equal_rank_does_not_flap() -> None:
    assert join("pending", "requires_action", first_sight=False, fresh=False).look_again


def test_a_refusal_knew_nothing_of_a_refund_that_turns_up() -> None:
    assert join("failed", "pending", first_sight=True, fresh=False).status == "pending"


@given(st.sampled_from(STATUSES), st.text(max_size=10).filter(lambda word: word not in STRIPE_STATUSES), st.booleans())
def test_a_word_stripe_invents_later_changes_nothing(known: RefundStatus, news: str, first: bool) -> None:
    assert join(known, news, first_sight=first, fresh=False).status == known
