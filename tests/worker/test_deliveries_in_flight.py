"""Calls to listeners under way: what a death, a change, a stop or a listener that hangs does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from returns_service.commands import webhook_deliveries
from returns_service.commands.webhook_endpoints import (
    delete_endpoint,
    update_endpoint,
)
from returns_service.domain.webhook_signature import Attempt
from returns_service.store.delivery_claims import DELIVERY_LEASE_SECONDS
from returns_service.worker.deliveries import ENDPOINT_CALLS
from tests.harness.patience import wait_for
from tests.harness.shop import Shop
from tests.harness.webhook_receivers import BY, WebhookReceivers


async def test_a_call_that_was_never_written_back_is_made_again(shop: Shop, receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint()
    (event_id,) = await receivers.record_events()
    (lost,) = await receivers.dispatcher.claim()
    assert await receivers.work() == 0
    shop.advance(DELIVERY_LEASE_SECONDS)
    (taken,) = await receivers.dispatcher.claim()
    assert taken.delivery_id == lost.delivery_id
    await shop.db.run(lambda tx: webhook_deliveries.record_delivery(tx, lost, Attempt(500, "It answered 500.")))
    (row,) = await receivers.deliveries()
    assert (row.attempts, row.failures) == ([], 0)
    await receivers.dispatcher.deliver(taken)
    assert receivers.event_ids() == [event_id]
    await shop.db.run(lambda tx: webhook_deliveries.record_delivery(tx, lost, Attempt(410, "It answered 410.")))
    (row,) = await receivers.deliveries()
    assert (row.status, len(row.attempts)) == ("delivered", 1)


async def claim_two(receivers: WebhookReceivers) -> Sequence[Any]:
    """Let two things happen, and claim their deliveries."""
    await receivers.record_events(count=2)
    return await receivers.dispatcher.claim()


async def answer_each(receivers: WebhookReceivers, claims: Sequence[Any], *statuses: int) -> None:
    """Make the calls of the deliveries, each answered with its status."""
    for claim, status in zip(claims, statuses, strict=True):
        receivers.answers["shop.test"] = status
        await receivers.dispatcher.deliver(claim)


async def test_an_answer_that_comes_after_the_endpoint_was_deleted_changes_nothing(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    claims = await claim_two(receivers)
    await shop.db.run(lambda tx: delete_endpoint(tx, endpoint_id))
    await answer_each(receivers, claims, 200, 410)
    assert await receivers.deliveries() == []


async def test_an_answer_that_comes_after_the_endpoint_was_disabled_counts(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    claims = await claim_two(receivers)
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    await answer_each(receivers, claims, 200, 500)
    assert [(row.status, len(row.attempts)) for row in await receivers.deliveries()] == [("delivered", 1), ("dead", 1)]


@pytest.mark.parametrize("change", [{"url": "https://new.test/hook"}, {"status": "enabled"}])
async def test_an_answer_from_before_a_change_does_not_undo_it(
    shop: Shop, receivers: WebhookReceivers, change: dict[str, Any]
) -> None:
    endpoint_id, _ = await receivers.create_endpoint()
    (event_id,) = await receivers.record_events()
    (claim,) = await receivers.dispatcher.claim()
    if "status" in change:
        await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, {"status": "disabled"}))
    await shop.db.run(lambda tx: update_endpoint(tx, BY, endpoint_id, change))
    receivers.answers["shop.test"] = 410
    await receivers.dispatcher.deliver(claim)
    assert (await receivers.read_endpoint(endpoint_id)).status == "enabled"
    receivers.answers.clear()
    await receivers.work()
    assert receivers.event_ids("new.test" if "url" in change else "shop.test")[-1] == event_id
    assert [row.status for row in await receivers.deliveries()] == ["delivered"]


async def test_a_hanging_endpoint_has_only_so_many_calls_and_holds_up_nobody(receivers: WebhookReceivers) -> None:
    await receivers.create_endpoint("hangs.test")
    await receivers.create_endpoint("good.test")
    receivers.held["hangs.test"] = asyncio.Event()
    happened = await receivers.record_events(count=ENDPOINT_CALLS - 3)
    await receivers.dispatcher.once()
    happened += await receivers.record_events(count=2 * ENDPOINT_CALLS)
    most = len(happened)

    async def working() -> None:
        while True:
            await receivers.dispatcher.once()

    work = asyncio.create_task(working())
    await wait_for(lambda: receivers.event_ids("good.test"), "all at the good one", until=lambda ids: len(ids) == most)
    await wait_for(lambda: receivers.under_way["hangs.test"], "calls that hang", until=lambda n: n == ENDPOINT_CALLS)
    await asyncio.sleep(0.2)
    assert receivers.under_way["hangs.test"] == ENDPOINT_CALLS, "one call more than an endpoint may have"
    assert sorted(receivers.event_ids("good.test")) == sorted(happened)
    receivers.held["hangs.test"].set()
    await wait_for(lambda: receivers.event_ids("hangs.test"), "all at the other", until=lambda ids: len(ids) == most)
    work.cancel()
    await receivers.dispatcher.finish(5)
    assert {row.status for row in await receivers.deliveries()} == {"delivered"}


async def test_a_stop_lets_calls_end_and_leaves_the_rest_to_their_lease(
    shop: Shop, receivers: WebhookReceivers
) -> None:
    await receivers.create_endpoint("hangs.test")
    await receivers.create_endpoint("slow.test")
    receivers.held = {"hangs.test": asyncio.Event(), "slow.test": asyncio.Event()}
    await receivers.record_events()
    await receivers.dispatcher.once()
    asyncio.get_running_loop().call_later(0.1, receivers.held["slow.test"].set)
    await receivers.dispatcher.finish(3)
    assert receivers.dispatcher.in_flight == {}
    assert sorted(row.status for row in await receivers.deliveries()) == ["delivered", "pending"]
    receivers.held.clear()
    shop.advance(DELIVERY_LEASE_SECONDS)
    assert await receivers.work() == 1
