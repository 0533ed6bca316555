"""One actor at a time, from gate to gate: a deterministic scheduler for real async code.

Why: an async driver answers from a thread of its own, so asyncio alone promises no order. Here a private loop turns
only while ONE actor is on its way to its next gate; all the others stand at theirs. The order of effects is the order
in which the test called `step`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from returns_service.worker.refunds import ScheduledCall

WATCHDOG_SECONDS = 60.0  # real time; nothing between two gates takes longer, unless it waits for a parked actor
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
IDS = re.compile(r"\b(ret|rfd|pay|rcp|rli|pi|ch|re|du|evt|whe|und)_[0-9A-Za-z]{20,}")
WORDS = {
    "ret": "return", "rfd": "refund", "pay": "payment", "rcp": "receipt", "rli": "line", "pi": "intent",
    "ch": "charge", "re": "Stripe's refund", "du": "dispute", "evt": "event", "whe": "endpoint", "und": "undeclared",
}  # fmt: skip


class Killed(asyncio.CancelledError):
    """The process died here. Not an `Exception`: code under test must not catch it."""


class Stuck(AssertionError):
    """An actor neither reached a gate nor finished: it sleeps, or waits for a lock that a parked actor holds."""


@dataclass
class Clock:
    """Virtual time: it passes only when somebody says so. A machine's wall clock may be set wrong; time isn't."""

    at: datetime = START
    wrong_by: timedelta = timedelta()
    settings: int = 0  # how often the wall clock was set

    def now(self) -> datetime:
        """The service's and the database's idea of UTC."""
        return self.at + self.wrong_by

    def set_wrong_by(self, seconds: float) -> None:
        """Set the wall clock: ahead of the true time, or behind it."""
        self.wrong_by = timedelta(seconds=seconds)
        self.settings += 1

    def unix(self) -> float:
        """Stripe's idea of the time, seconds since 1970."""
        return self.at.timestamp()

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return (self.at - START).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass(eq=False)
class Actor:
    """A request, a worker's turn, a webhook or a sweep, on its way from gate to gate."""

    name: str
    go: asyncio.Future[None]
    parked: asyncio.Future[None]
    task: asyncio.Task[object] | None = None
    gate: str = "start"
    dead: bool = False  # the dead pass no gate and commit nothing, whatever their `finally` tries
    doomed: bool = False  # dies inside its next transaction
    scheduled: ScheduledCall | None = None  # of a worker that claimed a refund
    settings: int = 0  # how often the wall clock had been set by then
    answer: object = None  # what it returned; None if it died


ACTOR: ContextVar[Actor] = ContextVar("actor")  # a context variable: tasks that the code under test starts inherit it


@dataclass
class Kernel:
    """The scheduler, and the story of what it let happen."""

    loop: asyncio.AbstractEventLoop
    clock: Clock = field(default_factory=Clock)
    waiting: list[Actor] = field(default_factory=list)  # the living, in order of birth
    story: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    births: int = 0
    failed: bool = False
    met: set[str] = field(default_factory=set)  # what this world has seen happen, in words

    def meet(self, what: str) -> None:
        """Note that something worth testing has happened."""
        self.met.add(what)

    def tell(self, text: str) -> None:
        """Add a numbered line to the story, ids as short names."""
        self.story.append(f"{len(self.story) + 1:3}. +{self.clock.monotonic():.0f}s {IDS.sub(self._name, text)}")

    def _name(self, found: re.Match[str]) -> str:
        kind = WORDS[found[1]]
        number = 1 + sum(name.startswith(f"{kind}-") for name in self.names.values())
        return self.names.setdefault(found[0], f"{kind}-{number}")

    # --- called by the code under test, through its gateway and its database -----------------------------------------

    async def gate(self, name: str) -> None:
        """Stand here until the scheduler says go. Never call it with a transaction open."""
        actor = ACTOR.get()
        if actor.dead:
            raise Killed
        actor.gate, actor.go = name, self.loop.create_future()
        actor.parked.set_result(None)
        await actor.go
        if actor.dead:
            raise Killed

    def last_breath(self) -> None:
        """Stand right before a commit: the doomed die here, and the driver rolls back."""
        actor = ACTOR.get()
        actor.dead = actor.dead or actor.doomed
        if actor.dead:
            raise Killed

    # --- called by the test ------------------------------------------------------------------------------------------

    def spawn(self, name: str, work: Coroutine[object, object, object]) -> Actor:
        """Bring an actor to life; it waits at its `start` gate."""
        self.births += 1
        actor = Actor(f"{name} #{self.births}", self.loop.create_future(), self.loop.create_future())

        async def live() -> object:
            ACTOR.set(actor)
            try:
                await self.gate("start")
            except Killed:
                work.close()
                raise
            return await work

        actor.task = self.loop.create_task(live(), name=actor.name)
        actor.task.add_done_callback(lambda _: None if actor.parked.done() else actor.parked.set_result(None))
        self.waiting.append(actor)
        self._run_until_parked(actor)
        return actor

    def step(self, actor: Actor) -> None:
        """Let `actor` run to its next gate or to its end. What it raises is raised here."""
        before = actor.gate
        actor.parked = self.loop.create_future()
        actor.go.set_result(None)
        self._run_until_parked(actor)
        assert actor.task
        if not actor.task.done():
            self.tell(f"{actor.name}: {before} -> {actor.gate}")
            return
        self.waiting.remove(actor)
        if actor.task.cancelled():
            self.tell(f"{actor.name}: {before} -> killed")
            return
        with self.judged():
            actor.answer = actor.task.result()
        self.tell(f"{actor.name}: {before} -> done: {actor.answer}")

    def finish(self, actor: Actor) -> None:
        """Let `actor` run to its end."""
        while actor in self.waiting:
            self.step(actor)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Remember a failure, so that the teardown does not judge a world already broken."""
        try:
            yield
        except Exception as error:
            self.failed = True
            self.tell(f"!! {error}")
            raise

    def bury_all(self) -> None:
        """Kill everybody: the world ends."""
        for actor in list(self.waiting):
            actor.dead = True
            self.step(actor)

    def crash(self, actor: Actor) -> None:
        """Kill it at the gate where it stands."""
        self.meet("a process died in a call" if actor.gate.startswith("Stripe") else "a process died after a commit")
        actor.dead = True
        self.step(actor)

    def crash_in_transaction(self, actor: Actor) -> None:
        """Kill it inside its next transaction, which is rolled back; without one, it finishes."""
        actor.doomed = True
        self.finish(actor)
        if actor.dead:
            self.meet("a process died before its commit")

    def _run_until_parked(self, actor: Actor) -> None:
        error = Stuck(f"{actor.name} after {actor.gate}")
        watchdog = self.loop.call_later(WATCHDOG_SECONDS, _complain, actor.parked, error)
        try:
            self.loop.run_until_complete(actor.parked)
        finally:
            watchdog.cancel()


def _complain(parked: asyncio.Future[None], error: Stuck) -> None:
    if not parked.done():
        parked.set_exception(error)
