"""Leases for outgoing webhooks: which deliveries of an endpoint go next, in their order, and whose they are.

A lease is `next_attempt_at` moved behind the longest call, so one that is never written back is due again by itself.
Each claim counts the row's token up: a worker that writes back with an older token is late and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from returns_service.store.database import Tx
from returns_service.store.tables import Delivery, Event, WebhookEndpoint
from returns_service.store.vault import CannotOpen, Vault

DELIVERY_LEASE_SECONDS = 30.0  # a call takes 10 at most, its write-back waits for the database


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """A delivery as it was claimed: all that a call needs."""

    delivery_id: str
    endpoint_id: str
    url: str = field(repr=False)  # its path may hold a token
    secrets: tuple[str, ...] = field(repr=False)
    event: Event = field(repr=False)
    token: int
    claimed_at: datetime


# Built once: a worker runs it twice a second.
WAITING = select(
    col(WebhookEndpoint.id),
    col(WebhookEndpoint.status),
    col(WebhookEndpoint.position),
    select(func.min(col(Delivery.next_attempt_at)))
    .where(col(Delivery.endpoint_id) == col(WebhookEndpoint.id), col(Delivery.next_attempt_at).is_not(None))
    .scalar_subquery(),
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint, how far it was told, and when its next delivery is due."""

    endpoint_id: str
    enabled: bool
    position: int
    due_at: datetime | None


async def waiting(tx: Tx) -> list[Waiting]:
    """Return all endpoints with what they wait for."""
    found = (await tx.execute(WAITING)).all()
    return [Waiting(name, status == "enabled", place, due_at) for name, status, place, due_at in found]


def _claim(endpoint_id: str, limit: int, now: datetime, until: datetime) -> Any:
    """Return the statement that leases what is due: none while an earlier one of its stream is pending."""
    earlier = aliased(Delivery)
    behind = exists().where(
        col(earlier.endpoint_id) == col(Delivery.endpoint_id),
        col(earlier.stream) == col(Delivery.stream),
        col(earlier.status) == "pending",
        col(earlier.position) < col(Delivery.position),
    )
    due = (
        select(col(Delivery.id))
        .where(col(Delivery.endpoint_id) == endpoint_id, col(Delivery.next_attempt_at) <= now, ~behind)
        .order_by(col(Delivery.next_attempt_at), col(Delivery.position))
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("due")  # run once: as a plain subquery PostgreSQL may run it again, and lease more than the limit
    )
    return (
        update(Delivery)
        .where(col(Delivery.id).in_(select(due.c.id)))
        .values(next_attempt_at=until, lease_token=col(Delivery.lease_token) + 1)
        .returning(col(Delivery.id), col(Delivery.lease_token))
        .execution_options(synchronize_session=False)
    )


async def claim_deliveries(
    tx: Tx, limits: Mapping[str, int], lease_seconds: float = DELIVERY_LEASE_SECONDS
) -> list[DeliveryClaim]:
    """Lease to the caller what is due: by endpoint, at most so many."""
    until = tx.now + timedelta(seconds=lease_seconds)
    tokens: dict[str, int] = {}
    for endpoint_id, limit in limits.items():
        if limit > 0:
            taken = await tx.execute(_claim(endpoint_id, limit, tx.now, until))
            tokens |= {row[0]: row[1] for row in taken.all()}
    if not tokens:
        return []
    chosen = (
        select(Delivery, Event, WebhookEndpoint)
        .join(Event, col(Event.id) == col(Delivery.event_id))
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == col(Delivery.endpoint_id))
        .where(col(Delivery.id).in_(tokens))
        .order_by(col(Delivery.position), col(Delivery.id))
    )
    rows = (await tx.execute(chosen)).all()
    return [
        DeliveryClaim(
            row.id, to.id, to.url, signing_secrets(to, tx.now, tx.database.vault), event, tokens[row.id], tx.now
        )
        for row, event, to in rows
    ]


def signing_secrets(endpoint: WebhookEndpoint, now: datetime, vault: Vault) -> tuple[str, ...]:
    """Return the secrets that sign at `now`, the newest first; none where one was sealed by a key that is not set."""
    old: Sequence[dict[str, str]] = endpoint.old_secrets
    stored = endpoint.secret, *(one["secret"] for one in old if datetime.fromisoformat(one["until"]) > now)
    try:
        return tuple(vault.open(one) for one in stored)
    except CannotOpen:
        return ()
