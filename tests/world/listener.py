"""The shop's end of outgoing webhooks: what arrived there, whether we heard so or not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from returns_service.domain.webhook_signature import Attempt
from returns_service.webhook_client import WebhookClient
from tests.world.kernel import Kernel

if TYPE_CHECKING:
    from tests.world.stage import Stage

LOST, REFUSED = "lost on the way", "done, and answered 500"


class Listener(WebhookClient):
    """A line to one receiver, with a gate behind each call."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.fault = ""  # strikes the next call
        self.stripe_read: list[str] = []  # events, in the order of their arrival

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Let a call arrive, or be lost; then its caller stands at a gate."""
        fault, self.fault = self.fault, ""
        if fault != LOST:
            self.stripe_read.append(json.loads(body)["id"])
        await self.kernel.gate(f"listener {fault}".rstrip())
        if fault:
            self.kernel.meet(f"an outgoing webhook {fault}")
        return Attempt(500 if fault == REFUSED else None if fault else 200, fault or None)


def due_at(stage: Stage) -> datetime | None:
    """Return when the next event goes out to the listener; None: all are told."""
    position = "(SELECT position FROM webhook_endpoint WHERE status = 'enabled')"
    behind = f"SELECT 1 FROM event WHERE type <> 'ping' AND (position IS NULL OR position > {position}) LIMIT 1"  # noqa: S608
    if stage.eye.execute(behind).fetchone() and stage.one(f"SELECT {position}")[0] is not None:
        return stage.clock.now()
    earlier = "SELECT 1 FROM delivery e WHERE e.status = 'pending' AND e.stream = d.stream AND e.position < d.position"
    first = f"SELECT min(next_attempt_at) FROM delivery d WHERE status = 'pending' AND NOT EXISTS ({earlier})"  # noqa: S608
    moment = stage.one(first)[0]
    return datetime.fromisoformat(moment) if moment else None


def check_told(stage: Stage) -> None:
    """Every event arrived at least once, each stream in its order, or its delivery is dead and says why."""
    listener, streams = stage.listener, defaultdict[str, list[int]](list)
    first = {event: number for number, event in reversed(list(enumerate(listener.stripe_read)))}
    rows = stage.eye.execute(
        "SELECT e.id, e.return_id, e.refund_id, e.payment_id, e.position, d.status, d.reason FROM event e"
        " LEFT JOIN delivery d ON d.event_id = e.id, webhook_endpoint w WHERE e.position <= w.position"
        " ORDER BY e.position"
    ).fetchall()  # to the end: a statement left open would hold its old sight of the file
    for row in rows:
        buried = row["status"] == "dead" and row["reason"]
        assert row["id"] in first or buried, f"{row['id']} was never told, and nothing says why"
        if row["id"] in first:
            streams[row["return_id"] or row["refund_id"] or row["payment_id"] or row["id"]].append(first[row["id"]])
    for name, order in streams.items():
        assert order == sorted(order), f"{name}: its events were told out of their order"
