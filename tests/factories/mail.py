"""The factories of the outboxes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import Mail, ReturnAuthorization, StaffMail
from tests.factories.core import create_event, create_return
from tests.factories.insert import insert

BEFORE = timedelta(days=1)  # an event of this release would need its data


async def create_mail(tx: Tx, row: ReturnAuthorization | None = None, **values: Any) -> Mail:
    """Insert a mail about a request that is due."""
    row = row or await create_return(tx)
    event = await create_event(tx, return_id=row.id, created_at=tx.now - BEFORE)
    defaults = {
        "id": tx.new_id("eml"),
        "event_id": event.id,
        "return_id": row.id,
        "kind": "requested",
        "next_attempt_at": tx.now,
        "created_at": tx.now,
    }
    return await insert(tx, Mail, defaults, values)


async def create_staff_mail(tx: Tx, **values: Any) -> StaffMail:
    """Insert a mail to staff about a refund that failed, due now."""
    event = await create_event(tx, created_at=tx.now - BEFORE)
    defaults = {
        "id": tx.new_id("eml"),
        "event_id": event.id,
        "kind": "refund_failed",
        "next_attempt_at": tx.now,
        "created_at": tx.now,
    }
    return await insert(tx, StaffMail, defaults, values)
