"""Factories of outgoing webhooks."""

from __future__ import annotations

from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import Delivery, Event, WebhookEndpoint
from tests.factories.core import create_event
from tests.factories.insert import insert


async def create_webhook_endpoint(tx: Tx, **values: Any) -> WebhookEndpoint:
    """Insert an endpoint that is sent every event."""
    defaults = {
        "id": tx.new_id("whe"),
        "url": "https://shop.test/hook",
        "events": ["*"],
        "secret": "whsec_" + "dGVzdA==",
        "created_at": tx.now,
    }
    return await insert(tx, WebhookEndpoint, defaults, values)


async def create_delivery(
    tx: Tx, event: Event | None = None, endpoint: WebhookEndpoint | None = None, **values: Any
) -> Delivery:
    """Insert an event's delivery that is due now."""
    event = event or await create_event(tx, position=1)
    endpoint = endpoint or await create_webhook_endpoint(tx)
    defaults = {
        "id": tx.new_id("del"),
        "event_id": event.id,
        "endpoint_id": endpoint.id,
        "stream": event.return_id or event.refund_id or event.payment_id or event.id,
        "position": event.position or 0,
        "next_attempt_at": tx.now,
        "created_at": tx.now,
    }
    return await insert(tx, Delivery, defaults, values)
