"""A refund that waits for weeks, on the bank or on the customer: looked at more and more seldom, never forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from returns_service.queries.desk import ACTION_FOR, PENDING_FOR
from returns_service.store.tables import Refund
from tests.harness.shop import Shop

DAY = timedelta(days=1)
THREE_WEEKS = 21 * DAY
# After 1, 2, 4 … minutes eleven looks until the wait is a day, which takes a day and ten hours; then one a day.
MOST_LOOKS = 11 + 20
SAYS = {
    "pending": (PENDING_FOR, "The bank is processing it.", "5 to 10 business days", ["check"]),
    "requires_action": (ACTION_FOR, "The customer has to act", "Stripe's e-mail", ["check", "cancel"]),
}


@pytest.fixture(params=list(SAYS))
async def waiting(request: pytest.FixtureRequest, shop: Shop) -> Refund:
    """A refund that Stripe has, and that settles only when the test says so."""
    shop.ledger.settings.settle_seconds = 100 * DAY.total_seconds()
    return_id = await shop.authorize_return(shop.pay(9000, "pm_card_pendingRefund"))
    await shop.count(return_id)
    await shop.work()
    (row,) = await shop.refunds()
    if request.param == "requires_action":
        shop.dashboard.require_action(str(row.stripe_refund))
        await shop.deliver()  # news of equal rank asks for a fresh read
        await shop.work()
        (row,) = await shop.refunds()
    await shop.deliver()
    assert row.status == request.param
    return row


async def looks(shop: Shop, until: datetime) -> list[datetime]:
    """Let the worker look whenever it is due; return when it asked Stripe."""
    seen = []
    while (next_at := (await shop.refunds())[0].next_attempt_at) and next_at <= until:
        shop.advance(max(0.0, (next_at - shop.time).total_seconds()))
        before = len(shop.wire.requests)
        await shop.work()
        assert len(shop.wire.requests) == before + 1, "one call a look"
        seen.append(shop.time)
    shop.advance((until - shop.time).total_seconds())
    return seen


async def test_three_weeks_take_few_looks_that_come_more_and_more_seldom(shop: Shop, waiting: Refund) -> None:
    begin = shop.time
    seen = await looks(shop, begin + THREE_WEEKS)
    assert 20 <= len(seen) <= MOST_LOOKS
    waits = [later - earlier for earlier, later in pairwise([begin, *seen])]
    assert waits == sorted(waits), "they never come closer"
    assert waits[0] <= timedelta(minutes=2), "the webhook that told it was a look, too"
    assert waits[-1] == DAY
    assert max(waits) <= DAY
    (row,) = await shop.refunds()
    assert row.status == waiting.status
    assert row.next_attempt_at is not None
    assert timedelta() <= row.next_attempt_at - shop.time <= DAY


async def test_it_comes_to_the_desk_with_its_reason_and_the_next_step_and_goes_when_it_settles(
    shop: Shop, waiting: Refund
) -> None:
    threshold, reason, step, actions = SAYS[waiting.status]
    begin = waiting.updated_at
    await looks(shop, begin + threshold - timedelta(minutes=1))
    assert await shop.desk_items() == []
    await looks(shop, begin + threshold)
    (item,) = (await shop.desk())["data"]
    assert item["kind"] == f"refund_{waiting.status}"
    assert reason in item["message"]
    assert step in item["advice"]
    assert item["actions"] == actions
    assert item["next_attempt_at"] is not None
    assert datetime.fromisoformat(item["since"]) == begin.replace(microsecond=0)

    shop.dashboard.settle(str(waiting.stripe_refund))
    shop.lose_webhooks()
    await looks(shop, shop.time + DAY)
    assert (await shop.refunds())[0].status == "succeeded", "a look makes up for the lost webhook within a day"
    assert await shop.desk_items() == []


async def test_a_customer_who_acts_begins_a_new_wait(shop: Shop, waiting: Refund) -> None:
    await looks(shop, shop.time + THREE_WEEKS)
    other = {"pending": shop.dashboard.require_action, "requires_action": shop.dashboard.pend}
    other[waiting.status](str(waiting.stripe_refund))
    await shop.deliver()
    await shop.work()
    (row,) = await shop.refunds()
    assert row.status != waiting.status
    assert row.next_attempt_at == shop.time + timedelta(minutes=1)
    assert await shop.desk_items() == []
