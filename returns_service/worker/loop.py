"""The worker: claim, work, release; woken at once by new intents, stopped cleanly by SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from returns_service.domain.policy import Policy
from returns_service.return_case import event_feed
from returns_service.return_case.events import Actor
from returns_service.store import claims
from returns_service.store.database import is_unavailable, may_pass
from returns_service.worker import maintenance, missed_events
from returns_service.worker.charges import count_charges
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.mail import MailSender
from returns_service.worker.maintenance import Chore
from returns_service.worker.notifications import listen
from returns_service.worker.reconcile import reconcile_daily
from returns_service.worker.refunds import RefundExecutor, ScheduledCall, renew_leases

BATCH = 50  # refunds a claim: few enough to be fair to other workers, many enough to cost little each
LONGEST_SLEEP_SECONDS = 30.0  # without news; a safety net, since work wakes us
HELD_LOOK_SECONDS = 1.0
AFTER_ERROR_SECONDS = 1.0
CHORES_EVERY_SECONDS = 0.5  # not woken: each refund wakes everybody, and no chore is that urgent
OLD_THINGS_EVERY_SECONDS = 3600.0
RECONCILE_LOOK_SECONDS = 300.0
PLACES_EVERY_SECONDS = 60.0
CHARGES_LOOK_SECONDS = 5.0  # at most so often a day of the past is listed, beside all that is urgent
log = structlog.get_logger("returns.worker")


@dataclass
class Worker:
    """One worker of a process: refunds beside chores and outgoing webhooks, until `stop` is set."""

    executor: RefundExecutor
    dispatcher: WebhookDispatcher
    policy: Policy
    livemode: bool
    concurrency: int = 64
    shutdown_seconds: float = 25.0
    idempotency_hours: int = 24
    inbox_days: int = 30
    mail: MailSender | None = None  # None: mail is off
    in_flight: dict[asyncio.Task[None], ScheduledCall] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)  # refunds whose call may have left
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then claim nothing more, and let calls in flight end."""
        self.stop = stop
        by = Actor("worker")
        self.executor.done.update({("chore", chore): 0 for chore in maintenance.CHORES})  # figures begin at zero
        helpers = [
            asyncio.create_task(listen(self.executor.db), name="wake"),
            asyncio.create_task(self._forever(lambda: self._do_chores(by)), name="chores"),
            asyncio.create_task(self._forever(self.dispatcher.once), name="deliveries"),
            asyncio.create_task(self._renew(), name="renew"),
            *([asyncio.create_task(self._forever(self.mail.once), name="mail")] if self.mail else []),
            asyncio.create_task(self._forget(), name="forget"),
            asyncio.create_task(self._follow_policy(by), name="holds"),
            asyncio.create_task(self._reconcile(by), name="reconcile"),
            asyncio.create_task(self._count_charges(by), name="charges"),
            asyncio.create_task(self._place_events(), name="places"),
        ]
        stopped = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                await self._guard(self._refunds_once)
        finally:
            for helper in helpers:
                helper.cancel()
            stopped.cancel()
            await asyncio.gather(*helpers, stopped, return_exceptions=True)
            mail = [self.mail.finish(self.shutdown_seconds)] if self.mail else []
            await asyncio.gather(self._finish(), self.dispatcher.finish(self.shutdown_seconds), *mail)

    async def _refunds_once(self) -> None:
        db = self.executor.db
        seen = db.wakes
        free = self.concurrency - len(self.in_flight)
        # Each refund wakes everybody several times: a look costs a tenth of a claim.
        until_due = await self._until_due() if free > 0 else LONGEST_SLEEP_SECONDS
        if until_due > 0:
            await db.sleep(until_due, seen)
            return
        scheduled_calls = await self.executor.claim(min(free, BATCH))
        for scheduled in scheduled_calls:
            task = asyncio.create_task(self._execute_at_its_time(scheduled), name=scheduled.claim.refund_id)
            self.in_flight[task] = scheduled
            task.add_done_callback(self._forget_refund)
        if self.executor.ask_again_seconds > 0:  # no wake-up helps: there is no moment to be had yet
            await self._pause(self.executor.ask_again_seconds)
        elif not scheduled_calls:  # a dispute, or another worker, holds all that is due
            await db.sleep(HELD_LOOK_SECONDS, seen)

    async def _pause(self, seconds: float) -> None:
        stopped = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait([stopped], timeout=seconds)
        stopped.cancel()

    async def _execute_at_its_time(self, scheduled: ScheduledCall) -> None:
        await asyncio.sleep(scheduled.wait_seconds)
        if scheduled.writes:
            await asyncio.sleep(self.executor.reserve_moment(scheduled))
        self.begun.add(scheduled.claim.refund_id)
        await self._guard(lambda: self.executor.execute(scheduled))

    def _forget_refund(self, task: asyncio.Task[None]) -> None:
        scheduled = self.in_flight.pop(task)
        self.begun.discard(scheduled.claim.refund_id)
        self.executor.db.wake()  # its payment, and its place, are free again

    async def _until_due(self) -> float:
        async with self.executor.db.reading() as tx:
            due = await claims.next_due_at(tx)
            seconds = (due - tx.now).total_seconds() if due else LONGEST_SLEEP_SECONDS
        return min(LONGEST_SLEEP_SECONDS, seconds)

    async def _do_chores(self, by: Actor) -> None:
        db, gateway, policy, livemode = self.executor.db, self.executor.gateway, self.policy, self.livemode
        chores: dict[Chore, Callable[[], Awaitable[int | None]]] = {
            "fold_event": lambda: maintenance.refold_event(db, by, policy, livemode=livemode),
            "read_payment": lambda: maintenance.reread_payment(db, gateway, by, policy),
            "follow_up": lambda: maintenance.retry_follow_up(db, by, policy),
            "complete_return": lambda: maintenance.complete_return(db, by, policy),
            "pull_event": lambda: missed_events.pull_missed_events(db, gateway, by, policy, livemode=livemode),
        }
        before = self._chores_done()
        for chore in await db.read(maintenance.find_due_chores):
            await self._guard(partial(self._do_chore, chore, chores[chore]))  # its failure keeps no other waiting
        if self._chores_done() == before:
            await asyncio.sleep(CHORES_EVERY_SECONDS)

    async def _do_chore(self, name: Chore, chore: Callable[[], Awaitable[int | None]]) -> None:
        self.executor.done["chore", name] += int(await chore() or 0)

    def _chores_done(self) -> int:
        return sum(number for (kind, _), number in self.executor.done.items() if kind == "chore")

    async def _renew(self) -> None:
        every = self.executor.lease_seconds / 3
        while True:
            await asyncio.sleep(every)
            await self._guard(self._renew_in_flight)

    async def _renew_in_flight(self) -> None:
        if calls := list(self.in_flight.values()):
            await renew_leases(self.executor.db, calls, self.executor.lease_seconds)

    async def _forget(self) -> None:
        hours, days = self.idempotency_hours, self.inbox_days
        while True:
            await self._guard(lambda: maintenance.note_arrivals(self.executor.db))
            await self._guard(lambda: maintenance.index_late_refunds(self.executor.db))
            await self._guard(
                lambda: maintenance.delete_expired(self.executor.db, idempotency_hours=hours, inbox_days=days)
            )
            await asyncio.sleep(OLD_THINGS_EVERY_SECONDS)

    async def _follow_policy(self, by: Actor) -> None:
        """Apply the policy of this start to what an earlier one held, or didn't."""
        while True:
            await self._guard(lambda: maintenance.follow_policy_on_holds(self.executor.db, by, self.policy))
            await asyncio.sleep(OLD_THINGS_EVERY_SECONDS)

    async def _reconcile(self, by: Actor) -> None:
        """Look now and then whether the day's comparison with Stripe is due; it may take an hour, so it is no chore."""
        while True:
            await self._guard(lambda: reconcile_daily(self.executor.db, self.executor.gateway, by, self.policy))
            await asyncio.sleep(RECONCILE_LOOK_SECONDS)

    async def _count_charges(self, by: Actor) -> None:
        """Look now and then which of Stripe's charges are to be counted; a day of them may take minutes to list."""
        while True:
            await asyncio.sleep(CHARGES_LOOK_SECONDS)
            await self._guard(lambda: count_charges(self.executor.db, self.executor.gateway, by, self.policy))

    async def _place_events(self) -> None:
        """Place events in the feed now and then, where nobody reads it: else its first reader has to wait."""
        while True:
            await self._guard(lambda: event_feed.bring_up_to_date(self.executor.db))
            await asyncio.sleep(PLACES_EVERY_SECONDS)

    async def _forever(self, once: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._guard(once)

    async def _guard(self, once: Callable[[], Awaitable[object]]) -> None:
        """Do one piece of work. An error is logged and waited out: raised, it would end this loop for good."""
        try:
            await once()
        except Exception as error:  # noqa: BLE001 - logged; a worker that dies of one thing leaves all others
            known = is_unavailable(error) or may_pass(error)
            (log.warning if known else log.exception)("worker.error", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.executor.db.wake()

    async def _finish(self) -> None:
        """Give back the claims that were not begun, and wait for calls under way; those that hang keep their lease."""
        waiting = {
            task: scheduled for task, scheduled in self.in_flight.items() if scheduled.claim.refund_id not in self.begun
        }
        for task in waiting:
            task.cancel()
        calls = [task for task in self.in_flight if task not in waiting]
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)
            await self._guard(lambda: self.executor.give_back(list(waiting.values())))
        if calls:
            _, late = await asyncio.wait(calls, timeout=self.shutdown_seconds)
            for task in late:
                log.warning("worker.left_to_its_lease", refund=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
