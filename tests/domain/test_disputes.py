"""How a dispute's words are taken, whatever order they come in."""

from __future__ import annotations

import pytest

from returns_service.domain.stripe_objects import DISPUTE_ENDS, gave_money_back, may_be_older

OPEN = ("warning_needs_response", "warning_under_review", "needs_response", "under_review")


@pytest.mark.parametrize(
    "news, known, older",
    [
        ("needs_response", None, False),
        ("needs_response", "warning_under_review", False),
        ("warning_needs_response", "needs_response", True),
        ("warning_closed", "under_review", True),
        ("under_review", "needs_response", False),
        ("lost", "under_review", False),
        ("lost", "appeal_under_review", True),
        ("appeal_under_review", "appeal_needs_response", False),
    ],
)
def test_only_a_read_tells_what_may_have_been_overtaken(news: str, known: str | None, older: bool) -> None:
    assert may_be_older(news, known) is older


@pytest.mark.parametrize("known", DISPUTE_ENDS)
def test_an_end_is_never_undone_by_a_webhook(known: str) -> None:
    assert all(may_be_older(news, known) for news in (*OPEN, *DISPUTE_ENDS))


@pytest.mark.parametrize(
    "status, bars, gave",
    [("lost", True, True), ("prevented", True, True), ("prevented", False, False), ("won", False, False)],
)
def test_the_customer_has_the_money_of_a_dispute_that_is_lost_or_was_settled(
    status: str, bars: bool, gave: bool
) -> None:
    assert gave_money_back(status, bars_refunds=bars) is gave
