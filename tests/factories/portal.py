"""Factories of the customer's portal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Photo, PortalSession
from tests.factories.core import create_payment
from tests.factories.insert import insert


async def create_portal_session(tx: Tx, payment: Payment | None = None, **values: Any) -> PortalSession:
    """Insert a session over one shirt, of which nothing is ticked."""
    payment = payment or await create_payment(tx)
    defaults = {
        "id": tx.new_id("pts"),
        "order_id": "order_1",
        "payment_id": payment.id,
        "currency": payment.currency,
        "lines": [{"sku": "SHIRT", "quantity": 1, "total_amount": 1000}],
        "created_by": "test",
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(days=60),
    }
    return await insert(tx, PortalSession, defaults, values)


async def create_photo(tx: Tx, **values: Any) -> Photo:
    """Insert a photo of nothing, of no session."""
    content = values.get("content", b"picture")
    defaults = {
        "id": tx.new_id("pho"),
        "media_type": "image/webp",
        "width": 1,
        "height": 1,
        "size_bytes": len(content),
        "content": content,
        "created_at": tx.now,
    }
    return await insert(tx, Photo, defaults, values)
