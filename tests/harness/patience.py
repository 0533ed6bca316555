"""Patience that counts progress instead of minutes: work that still moves may take as long as the machine needs.

A wait fails only after `SECONDS_WITHOUT_PROGRESS` in which nothing that it watches has changed.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS_WITHOUT_PROGRESS = 60.0
BETWEEN_LOOKS_SECONDS = 0.05
# A look counts no more than this: while the whole machine stood still, nothing could have moved.
LONGEST_LOOK_SECONDS = 1.0


class NoProgress(AssertionError):
    """Nothing has changed for too long."""


class Patience:
    """The seconds for which nothing has changed. `what` names what is waited for."""

    def __init__(
        self,
        what: str,
        seconds_without_progress: float = SECONDS_WITHOUT_PROGRESS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._limit, self._monotonic = what, seconds_without_progress, monotonic
        self._spent, self._looked_at, self._last = 0.0, monotonic(), object()

    def spend(self, state: object) -> None:
        """Count the time since the last look, or begin anew if `state` differs from then. Raises NoProgress."""
        now = self._monotonic()
        if state != self._last:
            self._spent, self._last = 0.0, state
        else:
            self._spent += min(now - self._looked_at, LONGEST_LOOK_SECONDS)
        self._looked_at = now
        if self._spent >= self._limit:
            raise NoProgress(f"no progress for {self._spent:.0f} s: {self._what}; last seen: {state!r}"[:2000])


def nothing_else() -> None:
    """Watch nothing beside the state itself."""


async def wait_for(
    look: Callable[[], Any],
    what: str,
    *,
    until: Callable[[Any], object] = bool,
    progress: Callable[[], object] = nothing_else,
    seconds_without_progress: float = SECONDS_WITHOUT_PROGRESS,
) -> Any:
    """Look, synchronously or not, until `until` holds for what was seen; return that.

    Every change of what is seen, or of `progress`, is progress. Raises NoProgress.
    """
    patience = Patience(what, seconds_without_progress)
    while True:
        looked = look()
        state = await looked if inspect.isawaitable(looked) else looked
        if until(state):
            return state
        patience.spend((state, progress()))
        await asyncio.sleep(BETWEEN_LOOKS_SECONDS)


async def complete(
    work: Coroutine[Any, Any, T] | asyncio.Future[T],
    what: str,
    *,
    progress: Callable[[], object] = nothing_else,
    seconds_without_progress: float = SECONDS_WITHOUT_PROGRESS,
) -> T:
    """Return the result of `work`, which is cancelled once `progress` has not changed for too long.

    Raises NoProgress, and whatever `work` raises.
    """
    task = asyncio.ensure_future(work)
    patience = Patience(what, seconds_without_progress)
    try:
        while not (await asyncio.wait([task], timeout=BETWEEN_LOOKS_SECONDS))[0]:
            patience.spend(progress())
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def block_until(
    look: Callable[[], T],
    what: str,
    *,
    until: Callable[[T], object] = bool,
    seconds_without_progress: float = SECONDS_WITHOUT_PROGRESS,
) -> T:
    """Look as `wait_for` does, outside of any event loop. Raises NoProgress."""
    patience = Patience(what, seconds_without_progress)
    while not until(state := look()):
        patience.spend(state)
        time.sleep(BETWEEN_LOOKS_SECONDS)
    return state
