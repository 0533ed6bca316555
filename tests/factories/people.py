"""Factories of the people and programs that act."""

from __future__ import annotations

import hashlib
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, StaffUser
from tests.factories.insert import insert


async def create_api_key(tx: Tx, **values: Any) -> ApiKey:
    """Insert a key that may do everything; nobody knows its secret."""
    key_id = tx.new_id("key")
    defaults = {
        "id": key_id,
        "name": "test",
        "secret_hash": hashlib.sha256(key_id.encode()).hexdigest(),
        "scopes": ["admin"],
        "created_at": tx.now,
    }
    return await insert(tx, ApiKey, defaults, values)


async def create_staff_user(tx: Tx, **values: Any) -> StaffUser:
    """Insert an approver without a password."""
    user_id = tx.new_id("usr")
    defaults = {"id": user_id, "email": f"{user_id}@shop.test", "role": "approver", "created_at": tx.now}
    return await insert(tx, StaffUser, defaults, values)
