"""The worker: claim, work, release; woken at once by new intents, stopped cleanly by SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from returns_service.commands.history import By
from returns_service.domain.policy import Policy
from returns_service.store import claims
from returns_service.store.database import is_unavailable, may_pass
from returns_service.worker import chores, sweeps
from returns_service.worker.deliveries import Courier
from returns_service.worker.reconcile import reconcile_daily
from returns_service.worker.refunds import Till, Turn, renew_leases
from returns_service.worker.wake import listen

BATCH = 50  # refunds a claim: few enough to be fair to other workers, many enough to cost little each
LONGEST_SLEEP_SECONDS = 30.0  # without news; a safety net, since work wakes us
AFTER_ERROR_SECONDS = 1.0
CHORES_EVERY_SECONDS = 0.5  # not woken: each refund wakes everybody, and no chore is that urgent
OLD_THINGS_EVERY_SECONDS = 3600.0
RECONCILE_LOOK_SECONDS = 300.0
log = structlog.get_logger("returns.worker")


@dataclass
class Worker:
    """One worker of a process: refunds beside chores and outgoing webhooks, until `stop` is set."""

    till: Till
    courier: Courier
    policy: Policy
    livemode: bool
    concurrency: int = 64
    shutdown_seconds: float = 25.0
    idempotency_hours: int = 24
    inbox_days: int = 30
    in_flight: dict[asyncio.Task[None], Turn] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)  # refunds whose call may have left
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then claim nothing more, and let calls in flight end."""
        self.stop = stop
        by = By("worker", policy=self.policy)
        helpers = [
            asyncio.create_task(listen(self.till.db), name="wake"),
            asyncio.create_task(self._forever(lambda: self._do_chores(by)), name="chores"),
            asyncio.create_task(self._forever(self.courier.once), name="deliveries"),
            asyncio.create_task(self._renew(), name="renew"),
            asyncio.create_task(self._forget(), name="forget"),
            asyncio.create_task(self._reconcile(by), name="reconcile"),
        ]
        stopped = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                await self._guarded(self._refunds_once)
        finally:
            for helper in helpers:
                helper.cancel()
            stopped.cancel()
            await asyncio.gather(*helpers, stopped, return_exceptions=True)
            await asyncio.gather(self._finish(), self.courier.finish(self.shutdown_seconds))

    async def _refunds_once(self) -> None:
        db = self.till.db
        seen = db.wakes
        free = self.concurrency - len(self.in_flight)
        turns = await self.till.claim(min(free, BATCH)) if free > 0 else []
        for turn in turns:
            task = asyncio.create_task(self._take_turn(turn), name=turn.claim.refund_id)
            self.in_flight[task] = turn
            task.add_done_callback(self._ended)
        if free > 0 and self.till.ask_again_seconds > 0:  # whatever wakes us: there is no moment to be had yet
            await self._pause(self.till.ask_again_seconds)
        elif not turns:
            await db.sleep(await self._until_due() if free > 0 else LONGEST_SLEEP_SECONDS, seen)

    async def _pause(self, seconds: float) -> None:
        stopped = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait([stopped], timeout=seconds)
        stopped.cancel()

    async def _take_turn(self, turn: Turn) -> None:
        await asyncio.sleep(turn.wait_seconds)
        if turn.writes:
            await asyncio.sleep(self.till.late_seconds(turn))
        self.begun.add(turn.claim.refund_id)
        await self._guarded(lambda: self.till.pay(turn))

    def _ended(self, task: asyncio.Task[None]) -> None:
        turn = self.in_flight.pop(task)
        self.begun.discard(turn.claim.refund_id)
        self.till.db.wake()  # its payment, and its place, are free again

    async def _until_due(self) -> float:
        async with self.till.db.reading() as tx:
            due = await claims.next_due_at(tx)
            seconds = (due - tx.now).total_seconds() if due else LONGEST_SLEEP_SECONDS
        # What is due but was not claimed is held, by a dispute or by another worker.
        return min(LONGEST_SLEEP_SECONDS, seconds) if seconds > 0 else 1.0

    async def _do_chores(self, by: By) -> None:
        db, gateway = self.till.db, self.till.gateway
        done = {
            "fold_event": await chores.fold_again(db, by, livemode=self.livemode),
            "read_payment": await chores.read_again(db, gateway, by),
            "follow_up": await chores.follow_up_again(db, by),
            "pull_event": await sweeps.pull_missed_events(db, gateway, by, livemode=self.livemode) or 0,
        }
        for chore, number in done.items():
            self.till.done["chore", chore] += number
        if not any(done.values()):
            await asyncio.sleep(CHORES_EVERY_SECONDS)

    async def _renew(self) -> None:
        every = self.till.lease_seconds / 3
        while True:
            await asyncio.sleep(every)
            if turns := list(self.in_flight.values()):
                await self._guarded(lambda turns=turns: renew_leases(self.till.db, turns, self.till.lease_seconds))  # type: ignore[misc]

    async def _forget(self) -> None:
        hours, days = self.idempotency_hours, self.inbox_days
        while True:
            await self._guarded(lambda: chores.forget_old(self.till.db, idempotency_hours=hours, inbox_days=days))
            await asyncio.sleep(OLD_THINGS_EVERY_SECONDS)

    async def _reconcile(self, by: By) -> None:
        """Look now and then whether the day's comparison with Stripe is due; it may take an hour, so it is no chore."""
        while True:
            await self._guarded(lambda: reconcile_daily(self.till.db, self.till.gateway, by))
            await asyncio.sleep(RECONCILE_LOOK_SECONDS)

    async def _forever(self, once: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._guarded(once)

    async def _guarded(self, once: Callable[[], Awaitable[object]]) -> None:
        """Do it; what goes wrong is logged and waited out, since nobody else would go on."""
        try:
            await once()
        except Exception as error:  # noqa: BLE001 - logged; a worker that dies of one thing leaves all others
            known = is_unavailable(error) or may_pass(error)
            (log.warning if known else log.exception)("worker.error", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.till.db.wake()

    async def _finish(self) -> None:
        """Give back what was not begun and wait for what was; the rest is taken over when its lease ends."""
        waiting = {task: turn for task, turn in self.in_flight.items() if turn.claim.refund_id not in self.begun}
        for task in waiting:
            task.cancel()
        calls = [task for task in self.in_flight if task not in waiting]
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)
            await self._guarded(lambda: self.till.give_back(list(waiting.values())))
        if calls:
            _, late = await asyncio.wait(calls, timeout=self.shutdown_seconds)
            for task in late:
                log.warning("worker.left_to_its_lease", refund=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
