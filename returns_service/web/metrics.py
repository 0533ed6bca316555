"""Figures for Prometheus: what this process did, and what the database says about everybody's work.

A `worker` process answers no HTTP, so what a worker must not get away with (work that stands still, a sweep that reads
nothing, a desk that grows) is read from rows at each scrape: any web tells it, whichever process does the work. Only
where `serve` has its worker inside does it count that worker's calls and chores as well. The statements go by indexes
over open rows, whose number follows the work and not the history; settled rows are counted too, but seldom
(`SettledCount`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import and_, case, literal_column, or_
from sqlmodel import col, func, select

from returns_service.domain.refund_status import OPEN, STATUSES, UNANSWERED
from returns_service.process_settings import COUNTS_FOLDER
from returns_service.queries import desk
from returns_service.queries.desk import LOST
from returns_service.queries.desk_columns import HELD
from returns_service.store.clock import elapsed_seconds
from returns_service.store.columns import among
from returns_service.store.database import Tx, takes_writes
from returns_service.store.tables import (
    Delivery,
    Mail,
    Payment,
    ReconciliationRun,
    Refund,
    ReturnAuthorization,
    StaffMail,
    StripeEvent,
    Sweep,
)
from returns_service.timings import HISTOGRAMS

COUNTED_ALWAYS = 10_000
ROWS_A_SECOND = 10_000  # counting them takes about a millisecond
LATE_SECONDS = 60  # a worker looks at due work within seconds, and a claim moves its moment ahead
CHORES = {
    "fold_event": col(StripeEvent.next_attempt_at),
    "read_payment": col(Payment.read_at),
    "follow_up": col(ReturnAuthorization.follow_up_at),
    "send_mail": col(Mail.next_attempt_at),
    "send_staff_mail": col(StaffMail.next_attempt_at),
}


class Metrics:
    """Registries of a context's own, so that two applications in one process don't share figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()  # of what the database knows
        self.known = False  # whether it could be asked at the last look
        self.own = CollectorRegistry()  # of this process's worker, and of its way to the database
        self.counts = CollectorRegistry()  # of what this process does
        self.requests = Counter(
            "returns_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.counts
        )
        self.webhooks = Counter(
            "returns_stripe_webhooks", "Webhooks from Stripe by outcome.", ["outcome"], registry=self.counts
        )
        self.webhooks.labels("invalid_signature")  # of which an alert goes by the rise: it begins at zero
        for histogram in HISTOGRAMS:
            self.counts.register(histogram)
        said = "Whether the database answered, and takes writes."
        self.database = Gauge("returns_database_up", said, registry=self.own)
        self.refunds = self._gauge("refunds", "Refunds by status.", "status")
        self.oldest = self._gauge(
            "oldest_unanswered_refund_seconds",
            "Age of the oldest refund that Stripe has not answered and that nothing here holds; 0: none.",
        )
        self.deliveries = self._gauge("deliveries", "Deliveries by status.", "status")
        self.oldest_delivery = self._gauge(
            "oldest_pending_delivery_seconds",
            "Age of the oldest delivery that has not arrived yet; 0: none is pending.",
        )
        self.due = self._gauge("refunds_due", "Refunds to be looked at by now, less those a dispute holds.", "status")
        self.overdue = self._gauge("refunds_overdue", f"Of these, late by more than {LATE_SECONDS} s.", "status")
        self.chores = self._gauge("chores_overdue", f"Other work late by more than {LATE_SECONDS} s.", "chore")
        self.failing = self._gauge("stripe_failures_in_a_row", "Calls without an answer since the last success.")
        self.unfolded = self._gauge("stripe_events_failed", "Stored Stripe events that can't be folded so far.")
        self.disputes = self._gauge("disputes_open", "Payments that a dispute bars from refunds, not lost yet.")
        self.desk = self._gauge("desk_items", "What waits for a person.", "kind")
        self.desk_oldest = self._gauge("desk_oldest_seconds", "How long the oldest of them waits; 0: none.", "kind")
        self.sweep = self._gauge("sweep_age_seconds", "Time since a sweep last got through, or was begun.", "sweep")
        self.settled_refunds = SettledCount(Refund.status, [word for word in STATUSES if word not in OPEN])
        self.settled_deliveries = SettledCount(Delivery.status, ["delivered", "dead"])
        self.differing = self._gauge("reconciliation_differences", "Unrepaired ones of the last finished comparison.")

    def _gauge(self, name: str, said: str, *labels: str) -> Gauge:
        return Gauge(f"returns_{name}", said, labels, registry=self.registry)

    def follow(self, done: Mapping[tuple[str, str], int]) -> None:
        """Show what the worker inside this process has done, too; `done` is its own count."""
        self.own.register(WorkDone(done))

    async def look(self, tx: Tx) -> None:
        """Read the figures that the database knows; where that fails none of them is shown, since all would be old."""
        self.known = False
        by_status = _count_by(Refund.status, OPEN)
        self.refunds.clear()
        for status, number in await self.settled_refunds.read(tx):
            self.refunds.labels(status).set(number)
        for status, number in (await tx.execute(by_status)).all():
            self.refunds.labels(status).set(number)
        # A refund that a dispute, a person or the policy's delay holds is no outage: it may wait for weeks.
        tried, due_at = col(Refund.attempts) > 0, col(Refund.next_attempt_at)
        oldest: Any = select(func.min(case((tried, col(Refund.created_at)), else_=due_at)))
        oldest = oldest.join(Payment, col(Payment.id) == col(Refund.payment_id))
        free = and_(~HELD, ~col(Refund.unapproved), or_(tried, due_at <= tx.now))
        oldest = oldest.where(among(Refund.status, UNANSWERED), free)
        since = (await tx.exec(oldest)).first()
        self.oldest.set(_age(tx, since))
        await self._look_at_work(tx)
        await self._look_at_stripe(tx)
        await self._look_at_deliveries(tx)
        await self._look_at_the_desk(tx)
        self.database.set(await takes_writes(tx))
        self.known = True

    async def _look_at_work(self, tx: Tx) -> None:
        """Read what is planned for a moment that has passed."""
        late = tx.now - timedelta(seconds=LATE_SECONDS)
        # Not the bare status: to group by it SQLite would walk through all refunds, in the order of its index.
        moment, status = col(Refund.next_attempt_at), func.coalesce(col(Refund.status), "")
        chosen: Any = select(status, func.count(), func.sum(case((moment <= late, 1), else_=0)))
        chosen = chosen.join(Payment, col(Payment.id) == col(Refund.payment_id)).where(moment <= tx.now, ~HELD)
        for gauge in (self.due, self.overdue):
            gauge.clear()
            for word in OPEN:
                gauge.labels(word).set(0)
        for word, due, overdue in (await tx.execute(chosen.group_by(status))).all():
            self.due.labels(word).set(due)
            self.overdue.labels(word).set(overdue)
        for chore, planned in CHORES.items():
            number = (await tx.exec(select(func.count()).where(planned <= late))).one()
            self.chores.labels(chore).set(number)

    async def _look_at_stripe(self, tx: Tx) -> None:
        failed = select(func.count()).where(col(StripeEvent.next_attempt_at).is_not(None))
        self.unfolded.set((await tx.exec(failed)).one())
        disputed = select(func.count()).select_from(Payment).where(literal_column("payment.disputed"), ~LOST)
        self.disputes.set((await tx.exec(disputed)).one())

    async def _look_at_deliveries(self, tx: Tx) -> None:
        self.deliveries.clear()
        for status, number in await self.settled_deliveries.read(tx):
            self.deliveries.labels(status).set(number)
        pending = select(func.count(), func.min(Delivery.created_at)).where(among(Delivery.status, ["pending"]))
        number, since = (await tx.execute(pending)).one()
        if number:
            self.deliveries.labels("pending").set(number)
        self.oldest_delivery.set(_age(tx, since))

    async def _look_at_the_desk(self, tx: Tx) -> None:
        figures = await desk.read_figures(tx)
        health = figures.health
        # As the desk: a short look back, or one by hand, says nothing of what is older.
        last = await tx.get(ReconciliationRun, health.last_run) if health.last_run is not None else None
        self.differing.set(last.differing or 0 if last else 0)
        charges = await tx.get(Sweep, "charges")
        ages = {
            "charges": charges.done_at if charges else None,
            "events": health.events_read_at,
            "reconciliation": last.finished_at if last else health.uncompared_since,
        }
        self.sweep.clear()  # a sweep that was not begun yet has no age
        for sweep, since in ages.items():
            if since is not None:
                self.sweep.labels(sweep).set(_age(tx, since))
        self.failing.set(health.call_failures)
        for total in figures.totals:
            self.desk.labels(total.kind).set(total.number)
            self.desk_oldest.labels(total.kind).set(_age(tx, total.oldest))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        counts = self.counts
        if folder := os.environ.get(COUNTS_FOLDER):
            counts = CollectorRegistry()
            counts.register(CountsOfAll(Path(folder)))
        shown = [self.own, *([self.registry] if self.known else []), counts]
        return b"".join(generate_latest(registry) for registry in shown)


class CountsOfAll(Collector):
    """The counters of all processes of one `serve`, added up: a scrape meets any of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> Iterable[Metric]:
        """Yield what the processes have written down, those that ended too."""
        files = [str(file) for kind in ("counter", "histogram") for file in self.folder.glob(f"{kind}_*.db")]
        merge: Any = MultiProcessCollector.merge
        metrics: Iterable[Metric] = merge(files, accumulate=True)
        return metrics


def worker_registry(done: Mapping[tuple[str, str], int]) -> CollectorRegistry:
    """Return the figures of a process that only works: its own, none of those that every web reads from the rows."""
    registry = CollectorRegistry()
    for histogram in HISTOGRAMS:
        registry.register(histogram)
    registry.register(WorkDone(done))
    return registry


class WorkDone(Collector):
    """The count of a worker in this process, as counters."""

    def __init__(self, done: Mapping[tuple[str, str], int]) -> None:
        self.done = done

    def collect(self) -> Iterable[Metric]:
        """Yield what was asked of Stripe by the refund's status, and the chores done by name."""
        asked = CounterMetricFamily("returns_worker_asked", "Refunds asked about at Stripe.", labels=["status"])
        chores = CounterMetricFamily("returns_worker_chores", "Chores of the worker done.", labels=["chore"])
        for (kind, name), number in sorted(self.done.items()):
            (asked if kind == "asked" else chores).add_metric([name], number)
        yield from (asked, chores)


class SettledCount:
    """How many rows have each of the statuses that hardly ever change: all of a shop's history.

    Up to COUNTED_ALWAYS rows are counted at each scrape. Of more, a count is made again only after a second for each
    ROWS_A_SECOND of them: a large history's numbers are some minutes old, and its scrapes as quick as a small one's.
    """

    def __init__(self, status: Any, words: Sequence[str]) -> None:
        self._statement = _count_by(status, words)
        self._counted: Sequence[tuple[str, int]] = ()
        self._again_at = 0.0  # seconds, as `elapsed` counts them

    async def read(self, tx: Tx) -> Sequence[tuple[str, int]]:
        """Return each status with its number, 0 left out."""
        if elapsed_seconds() >= self._again_at:
            self._counted = [(status, number) for status, number in (await tx.execute(self._statement)).all()]
            rows = sum(number for _, number in self._counted)
            self._again_at = elapsed_seconds() + (rows / ROWS_A_SECOND if rows > COUNTED_ALWAYS else 0.0)
        return self._counted


def _count_by(status: Any, words: Sequence[str]) -> Any:
    """Return the statement that counts the rows of each of these statuses."""
    return select(col(status), func.count()).where(among(status, words)).group_by(col(status))


def _age(tx: Tx, since: datetime | None) -> float:
    return max(0.0, (tx.now - since).total_seconds()) if since else 0.0
