"""Outgoing webhooks: claim in one transaction, call in none, write what became of it in another. At least once.

Each endpoint has calls of its own: a hanging endpoint holds up its own events and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter

import msgspec
import structlog
from sqlmodel import col, select

from returns_service import tracing
from returns_service.commands.webhook_deliveries import fan_out, record_delivery
from returns_service.domain.webhook_signature import Attempt, signed_headers
from returns_service.return_case import event_feed
from returns_service.return_case.views import show_event
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database
from returns_service.store.delivery_claims import DELIVERY_LEASE_SECONDS, DeliveryClaim, claim_deliveries, waiting
from returns_service.store.tables import Event, Refund
from returns_service.timings import DELIVERIES
from returns_service.webhook_client import WebhookClient

ENDPOINT_CALLS = 8  # under way to one endpoint from one process: a burst goes fast, a small shop's server copes
WRITES_AT_ONCE = 2  # write-backs: where many calls end together, the refunds keep connections of the pool
LOOK_SECONDS = 0.5  # not woken: each refund wakes everybody, and a listener is not that urgent
USER_AGENT = f"returns-service/{version('returns-service')}"
UNSIGNED = Attempt(None, "Its signing secret was sealed by a key that is not set: see `returns-service doctor`.")
log = structlog.get_logger("returns.deliveries")


@dataclass
class WebhookDispatcher:
    """Tells all endpoints what happened; one a process."""

    db: Database
    line: WebhookClient
    lease_seconds: float = DELIVERY_LEASE_SECONDS
    in_flight: dict[asyncio.Task[None], str] = field(default_factory=dict)  # -> the endpoint
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITES_AT_ONCE))

    async def once(self) -> None:
        """Begin the calls that are due; without any, wait until one ends or it is time to look again."""
        self.ended.clear()
        asked_at = elapsed_seconds()
        claims = await self.claim()
        for claim in claims:
            task = asyncio.create_task(self._call_in_time(claim, asked_at + self.lease_seconds), name=claim.delivery_id)
            self.in_flight[task] = claim.endpoint_id
            task.add_done_callback(self._forget_delivery)
        if not claims:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # wait_for would lose a cancellation that comes with the end
                    await self.ended.wait()

    async def claim(self) -> list[DeliveryClaim]:
        """Write the deliveries of new events, and lease those that are due and have a call free."""
        async with self.db.reading() as tx:
            endpoints = await waiting(tx)
        if not endpoints:
            return []
        fanned_out: list[str] = []
        if any(endpoint.enabled for endpoint in endpoints):
            await event_feed.bring_up_to_date(self.db)
            async with self.db.reading() as tx:
                last = await event_feed.last_position(tx)
            if any(endpoint.enabled and endpoint.position < last for endpoint in endpoints):
                fanned_out = await self.db.run(fan_out)
        now, busy = self.db.now(), Counter(self.in_flight.values())
        due = [
            e.endpoint_id
            for e in endpoints
            if e.endpoint_id in fanned_out or (e.due_at is not None and e.due_at <= now)
        ]
        free = {name: ENDPOINT_CALLS - busy[name] for name in due if busy[name] < ENDPOINT_CALLS}
        if not free:
            return []
        return await self.db.run(lambda tx: claim_deliveries(tx, free, self.lease_seconds))

    async def deliver(self, claim: DeliveryClaim) -> None:
        """Make one call and write down what became of it."""
        body = msgspec.json.encode(show_event(claim.event))
        signed = signed_headers(claim.secrets, claim.event.id, self.db.now(), body)
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, **signed}
        began = perf_counter()
        with tracing.span(claim.event.type, kind="CLIENT", parent=await self._trace_of(claim.event)):
            traceparent = tracing.current_traceparent()
            traced = {"traceparent": traceparent} if traceparent else {}
            attempt = await self.line.post(claim.url, headers | traced, body) if claim.secrets else UNSIGNED
        DELIVERIES.labels("arrived" if attempt.arrived else "failed").observe(perf_counter() - began)
        async with self.writing:
            disabled = await self.db.run(lambda tx: record_delivery(tx, claim, attempt))
        if disabled is not None:
            log.warning("webhook_endpoint.disabled", endpoint=claim.endpoint_id, reason=disabled)
        elif not attempt.arrived:
            log.info("delivery.failed", delivery=claim.delivery_id, status=attempt.status, error=attempt.error)

    async def _trace_of(self, event: Event) -> str | None:
        """Return the trace of the refund that an event tells of; None where traces are off."""
        if not tracing.is_on() or event.refund_id is None:
            return None
        async with self.db.reading() as tx:
            return (await tx.exec(select(Refund.traceparent).where(col(Refund.id) == event.refund_id))).first()

    async def _call_in_time(self, claim: DeliveryClaim, not_after: float) -> None:
        """Call, unless the lease has ended: then another worker may call, and a late call would break the order."""
        if elapsed_seconds() < not_after:
            await self.deliver(claim)

    def _forget_delivery(self, task: asyncio.Task[None]) -> None:
        del self.in_flight[task]
        self.ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            said = f"{type(error).__name__}: {error}"[:300]
            log.warning("delivery.left_to_its_lease", delivery=task.get_name(), error=said)

    async def finish(self, seconds: float) -> None:
        """Let calls under way end; a worker makes those that are cut off again, once their lease has ended."""
        if self.in_flight:
            _, late = await asyncio.wait(list(self.in_flight), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
