"""The tables of outgoing webhooks: the endpoints, and each event on its way to each of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from returns_service.domain.vocabulary import (
    DELIVERY_STATUSES,
    ENDPOINT_STATUSES,
    DeliveryStatus,
    EndpointStatus,
    Subscription,
)
from returns_service.store.columns import (
    DUE_SQL,
    Json,
    StoredRow,
    defer_foreign_keys,
    json_object,
    one_of,
    partial,
    utc,
    word,
)

PENDING_SQL = "status = 'pending'"


class WebhookEndpoint(StoredRow, table=True):
    """Where a shop wants to be told (Standard Webhooks). `position`: how far into the feed of events it was told."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (one_of("status", ENDPOINT_STATUSES, "status"),)

    id: str = Field(primary_key=True)
    url: str
    events: list[Subscription] = json_object(list)
    description: str | None = None
    secret: str = Field(repr=False)
    old_secrets: list[dict[str, str]] = Field(  # [{secret, until}]: rotated away, but still signing
        default_factory=list, sa_type=Json, nullable=False, repr=False, sa_column_kwargs={"server_default": "[]"}
    )
    position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    status: EndpointStatus = word("enabled")
    disabled_at: datetime | None = utc(nullable=True)
    disabled_by: str | None = None  # person | http_gone | nothing_arrived
    disabled_detail: str | None = None  # the person, or the last error
    disabled_reason: str | None = None  # a sentence that a release before these codes wrote
    created_at: datetime = utc()


class Delivery(StoredRow, table=True):
    """One event on its way to one endpoint, and a row of the dispatcher's queue.

    Deliveries of one `stream` (a return, else a refund or payment) go to an endpoint one after the other, by
    `position`: the event's in the feed.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        one_of("status", DELIVERY_STATUSES, "status"),
        partial("ix_delivery_due", "next_attempt_at", where=DUE_SQL),
        partial("ix_delivery_turn", "endpoint_id", "next_attempt_at", "position", where=DUE_SQL),
        partial("ix_delivery_stream", "endpoint_id", "stream", "position", where=PENDING_SQL),
        partial("ix_delivery_ended", "ended_at", where="ended_at IS NOT NULL"),
        Index("ix_delivery_endpoint", "endpoint_id", "id"),
        Index("ix_delivery_status", "status", "id"),
        Index("uq_delivery_event", "endpoint_id", "event_id", unique=True),  # told twice only on purpose
    )

    id: str = Field(primary_key=True)
    event_id: str = Field(foreign_key="event.id", index=True)
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id")
    stream: str = Field(default="", sa_column_kwargs={"server_default": ""})
    position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    status: DeliveryStatus = word("pending")
    reason: str | None = None  # why it is dead
    attempts: list[dict[str, Any]] = json_object(list)  # [{at, status, error}]
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # in a row: what the schedule counts
    failing_since: datetime | None = utc(nullable=True)
    next_attempt_at: datetime | None = utc(nullable=True)  # while a call is under way: when its lease ends
    lease_token: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    ended_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc()


defer_foreign_keys("delivery")
