"""Webhook endpoints: make, change, test and delete them, and rotate their signing secrets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import delete
from sqlmodel import col, func, select

from returns_service.commands.webhook_deliveries import (
    deliver_alone,
    describe_disabled,
    disable,
    lock_endpoint,
    send_again,
)
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import DISABLED_BY, DisabledBy, EndpointStatus, Subscription, find_word
from returns_service.domain.webhook_signature import OLD_SECRET_SIGNS, SECRET_BYTES, secret_of
from returns_service.return_case.event_feed import last_position, place_events
from returns_service.return_case.events import Actor, record
from returns_service.return_case.views.fields import EndpointId, Time, rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import Delivery, Event, WebhookEndpoint

MOST_ENDPOINTS = 32  # each has calls of its own under way in every worker
MOST_OLD_SECRETS = 5  # each makes one more signature in the header
DEAD_KEPT_DAYS = 90  # what an endpoint missed longer ago is not told when it is enabled again


async def create_endpoint(
    tx: Tx, url: str, events: Sequence[Subscription], description: str | None
) -> tuple[WebhookEndpoint, str]:
    """Return the new endpoint and its secret; it is told what is committed from now on. Raises Problem."""
    if (await tx.exec(select(func.count()).select_from(WebhookEndpoint))).one() >= MOST_ENDPOINTS:
        raise Problem("too_many_endpoints", f"There are {MOST_ENDPOINTS} already.")
    await place_events(tx)
    secret = secret_of(secrets.token_bytes(SECRET_BYTES))
    row = WebhookEndpoint(
        id=tx.new_id("whe"),
        url=url,
        events=_once_each(events),
        description=description,
        secret=tx.database.vault.seal(secret),
        position=await last_position(tx),
        created_at=tx.now,
    )
    tx.add(row)
    await tx.flush()
    return row, secret


async def update_endpoint(tx: Tx, by: Actor, endpoint_id: str, changes: Mapping[str, Any]) -> WebhookEndpoint:
    """Change `url`, `events`, `description` or `status`, as far as given; return the endpoint.

    Enabled again, or at another URL, it is sent at once what it has not got. Raises Problem not_found.
    """
    row = await _lock_existing(tx, endpoint_id)
    if "description" in changes:
        row.description = changes["description"]
    if changes.get("events") is not None:
        row.events = _once_each(changes["events"])
    moved = changes.get("url") is not None and changes["url"] != row.url
    if moved:
        row.url = changes["url"]
    status = changes.get("status") or row.status
    if status == "disabled" and row.status == "enabled":
        await disable(tx, row, "person", by.actor)
    elif status == "enabled" and row.status == "disabled":
        row.status, row.disabled_at = "enabled", None
        row.disabled_by = row.disabled_detail = row.disabled_reason = None
        row.position = max(row.position, await _long_ago(tx))
        await send_again(tx, row, dead=True)
    elif status == "enabled" and moved:
        await send_again(tx, row, dead=False)
    await tx.flush()
    return row


async def _long_ago(tx: Tx) -> int:
    """Return the feed's place up to which nobody is told any more."""
    await place_events(tx)
    old = select(func.max(Event.position)).where(col(Event.created_at) < tx.now - timedelta(days=DEAD_KEPT_DAYS))
    return (await tx.exec(old)).first() or 0


async def rotate_secret(tx: Tx, endpoint_id: str) -> tuple[WebhookEndpoint, str]:
    """Return the endpoint and its new secret; the old one signs beside it for a day. Raises Problem not_found."""
    row = await _lock_existing(tx, endpoint_id)
    old = {"secret": row.secret, "until": (tx.now + OLD_SECRET_SIGNS).isoformat()}
    kept = [one for one in row.old_secrets if datetime.fromisoformat(one["until"]) > tx.now]
    row.old_secrets = [old, *kept][:MOST_OLD_SECRETS]
    secret = secret_of(secrets.token_bytes(SECRET_BYTES))
    row.secret = tx.database.vault.seal(secret)
    await tx.flush()
    return row, secret


async def ping_endpoint(tx: Tx, by: Actor, endpoint_id: str) -> Delivery:
    """Write a `ping` that goes to this endpoint alone, the way of all events. Raises Problem not_found."""
    row = await _lock_existing(tx, endpoint_id)
    event = await record(tx, by, "ping", data={"endpoint": row.id})
    return await deliver_alone(tx, row, event)


async def delete_endpoint(tx: Tx, endpoint_id: str) -> None:
    """Take the endpoint away, and its deliveries with it. Raises Problem not_found."""
    row = await _lock_existing(tx, endpoint_id)
    await tx.execute(delete(Delivery).where(col(Delivery.endpoint_id) == row.id))
    await tx.delete(row)
    await tx.flush()


async def _lock_existing(tx: Tx, endpoint_id: str) -> WebhookEndpoint:
    """Lock an endpoint and return it. Raises Problem not_found."""
    row = await lock_endpoint(tx, endpoint_id)
    if row is None:
        raise Problem("not_found", f"There is no webhook endpoint {endpoint_id}.")
    return row


def _once_each(events: Sequence[Subscription]) -> list[Subscription]:
    return list(dict.fromkeys(events))


def _until(row: WebhookEndpoint) -> list[datetime]:
    return [datetime.fromisoformat(one["until"]) for one in row.old_secrets]


class WebhookEndpointView(Struct, kw_only=True, tag_field="object", tag="webhook_endpoint"):
    """Where somebody wants to be told (https://www.standardwebhooks.com)."""

    id: EndpointId
    created: Time
    url: str
    events: list[Subscription]
    description: str | None
    status: EndpointStatus
    disabled_at: Time | None
    disabled_by: DisabledBy | None
    disabled_reason: str | None
    old_secrets_until: Annotated[
        list[Time], Meta(description="Secrets rotated away sign beside the new one until then.")
    ]
    secret: Annotated[str, Meta(description="Where it is made, and only there.")] | UnsetType = UNSET
    secret_shown: (
        Annotated[bool, Meta(description="A repeated request: its secret was in the first answer, and is not kept.")]
        | UnsetType
    ) = UNSET


def show_endpoint(
    row: WebhookEndpoint, now: datetime, secret: str | UnsetType = UNSET, *, secret_shown: bool | UnsetType = UNSET
) -> WebhookEndpointView:
    """Return an endpoint; with its secret only in the answer that made it. `secret_shown`: that was an earlier one."""
    return WebhookEndpointView(
        id=row.id,
        created=rfc3339(row.created_at),
        url=row.url,
        events=row.events,
        description=row.description,
        status=row.status,
        disabled_at=rfc3339(row.disabled_at),
        disabled_by=find_word(DISABLED_BY, row.disabled_by),
        disabled_reason=describe_disabled(row),
        old_secrets_until=[rfc3339(until) for until in _until(row) if until > now],
        secret=secret,
        secret_shown=secret_shown,
    )


class DeletedWebhookEndpointView(Struct, kw_only=True, tag_field="object", tag="webhook_endpoint"):
    """It is gone."""

    id: EndpointId
    deleted: bool
