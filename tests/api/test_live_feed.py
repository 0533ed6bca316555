"""The live feed while the database is away, and once its readers have left."""

from __future__ import annotations

import pytest

from returns_service.return_case import event_feed
from returns_service.web.live_feed import EventFilter
from tests.harness.served_shop import ServedShop


async def test_a_stream_that_begins_while_the_database_is_away_ends_without_an_error(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(event_feed, "last_position", fail)
    feed = shop.context.live_feed
    stream = feed.stream(feed.take_seat("key_1"), 0, EventFilter(), "hello")
    assert [text async for text in stream] == ["hello"]
    assert feed.streams.total() == 0


async def test_the_feed_keeps_in_mind_nobody_who_has_left(shop: ServedShop) -> None:
    feed = shop.context.live_feed
    for number in range(3):
        seat = feed.take_seat(f"key_{number}")
        await feed._begin_to_read(seat.key_id)
        seat.give_back()
    await feed._read_once()
    assert feed._in_force == frozenset()
