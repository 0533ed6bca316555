"""Patience ends without progress, never by the clock alone."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from tests.harness.patience import LONGEST_LOOK_SECONDS, NoProgress, Patience, block_until, complete, wait_for


class FakeTime:
    """A monotonic clock that goes on by `step` seconds at each look."""

    def __init__(self, step: float) -> None:
        self.at, self.step = 0.0, step

    def __call__(self) -> float:
        self.at += self.step
        return self.at


def test_it_ends_once_nothing_has_changed_for_too_long() -> None:
    patience = Patience("a parcel", 60, FakeTime(0.5))
    for _ in range(120):
        patience.spend("on its way")
    with pytest.raises(NoProgress, match="a parcel; last seen: 'on its way'"):
        patience.spend("on its way")


def test_it_never_ends_while_something_changes() -> None:
    patience = Patience("parcels", 60, FakeTime(1.0))
    for number in range(10_000):
        patience.spend(number // 59)


def test_a_machine_that_stood_still_costs_no_patience() -> None:
    patience = Patience("a parcel", 60, FakeTime(3600.0))
    for _ in range(int(60 / LONGEST_LOOK_SECONDS)):
        patience.spend(None)
    with pytest.raises(NoProgress):
        patience.spend(None)


async def test_a_wait_returns_what_it_saw() -> None:
    numbers = count()
    assert await wait_for(lambda: next(numbers), "three", until=lambda number: number == 3) == 3

    async def look() -> str:
        return "there"

    assert await wait_for(look, "anything") == "there"
    assert block_until(lambda: next(numbers), "a number above five", until=lambda number: number > 5) == 6


async def test_a_wait_without_progress_fails() -> None:
    with pytest.raises(NoProgress, match="Godot"):
        await wait_for(lambda: False, "Godot", seconds_without_progress=0.1)
    with pytest.raises(NoProgress, match="Godot"):
        block_until(lambda: False, "Godot", seconds_without_progress=0.1)


async def test_work_without_progress_is_cancelled() -> None:
    ended = False

    async def hang() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    with pytest.raises(NoProgress):
        await complete(hang(), "an answer", seconds_without_progress=0.1)
    assert ended


async def test_work_that_moves_is_waited_for_and_its_result_or_error_is_handed_on() -> None:
    done = 0

    async def work() -> str:
        nonlocal done
        for _ in range(8):
            await asyncio.sleep(0.05)
            done += 1
        return "all"

    async def fail() -> None:
        raise ValueError("wrong")

    assert await complete(work(), "eight steps", progress=lambda: done, seconds_without_progress=0.3) == "all"
    with pytest.raises(ValueError, match="wrong"):
        await complete(fail(), "an error")
