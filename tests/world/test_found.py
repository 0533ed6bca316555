"""Stories in which the world once found something wrong, as it told them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world.quiet import grow_quiet
from tests.world.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A world with an approved return of one unit, its parcel received and its refund queued."""
    state = World()
    state.the_shop_opens(amount=6, currency="usd", method="pm_card_visa", lines=[(1, 1)], parcel=1, ends=(True, True))
    yield state
    grow_quiet(state)
    state.laws.check_truth()


def test_a_reversed_count_tells_that_its_refund_was_withdrawn(world: World) -> None:
    world.reverse(which=0, fate="")
    world.holds()


def test_a_lost_dispute_ends_a_refund_whose_call_was_in_doubt(world: World) -> None:
    world.dispute(which=0, choice=0)
    world.start_worker(steps=1, fault="")
    world.freeze(which=0, seconds=31)
    world.holds()


def test_a_worker_frozen_between_its_claim_and_its_call_sends_nothing(world: World) -> None:
    world.outslept(asleep=1, fault="")
    world.holds()


def test_a_fresh_read_asked_for_outlives_older_news(world: World) -> None:
    world.start_worker(steps=9, fault="")
    older = list(world.ledger.mailbox)
    refund = next(iter(world.ledger.refunds))["id"]
    world.settles = False
    world.move("require_action", refund)
    for mail in [mail for mail in world.ledger.mailbox if mail not in older]:
        world.webhook(world.ledger.mailbox.index(mail), "")
    while world.ledger.mailbox:
        world.webhook(-1, "")
    assert world.due is not None, "the read is forgotten"
