"""Factories of the people and programs that act."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, Device, SavedView, SignInLink, SignInThrottle, StaffSession, StaffUser
from tests.factories.insert import insert


async def create_api_key(tx: Tx, **values: Any) -> ApiKey:
    """Insert a key that may do everything; nobody knows its secret."""
    key_id = tx.new_id("key")
    defaults = {
        "id": key_id,
        "name": "test",
        "secret_hash": _hash(key_id),
        "scopes": ["admin"],
        "created_at": tx.now,
    }
    return await insert(tx, ApiKey, defaults, values)


async def create_staff_user(tx: Tx, **values: Any) -> StaffUser:
    """Insert an approver without a password."""
    user_id = tx.new_id("usr")
    defaults = {"id": user_id, "email": f"{user_id}@shop.test", "role": "approver", "created_at": tx.now}
    return await insert(tx, StaffUser, defaults, values)


async def create_saved_view(tx: Tx, user: StaffUser | None = None, **values: Any) -> SavedView:
    """Insert a view of failed returns."""
    user = user or await create_staff_user(tx)
    defaults = {
        "id": tx.new_id("sav"),
        "user_id": user.id,
        "name": "Failed",
        "filters": {"view": "failed"},
        "created_at": tx.now,
    }
    return await insert(tx, SavedView, defaults, values)


async def create_device(tx: Tx, **values: Any) -> Device:
    """Insert a device of the dock that nobody has approved yet."""
    device_id = tx.new_id("dev")
    defaults = {"id": device_id, "name": "Dock 1", "token_hash": _hash(device_id), "created_at": tx.now}
    return await insert(tx, Device, defaults, values)


async def create_staff_session(tx: Tx, user: StaffUser | None = None, **values: Any) -> StaffSession:
    """Insert a session of an hour, begun with a password."""
    user = user or await create_staff_user(tx)
    session_id = tx.new_id("ses")
    defaults = {
        "id": session_id,
        "user_id": user.id,
        "token_hash": _hash(session_id),
        "way": "password",
        "created_at": tx.now,
        "seen_at": tx.now,
        "expires_at": tx.now + timedelta(hours=1),
    }
    return await insert(tx, StaffSession, defaults, values)


async def create_sign_in_link(tx: Tx, user: StaffUser | None = None, **values: Any) -> SignInLink:
    """Insert a link of 15 minutes that nobody has used."""
    user = user or await create_staff_user(tx)
    link_id = tx.new_id("lnk")
    defaults = {
        "id": link_id,
        "user_id": user.id,
        "token_hash": _hash(link_id),
        "created_by": "test",
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(minutes=15),
    }
    return await insert(tx, SignInLink, defaults, values)


async def create_sign_in_throttle(tx: Tx, **values: Any) -> SignInThrottle:
    """Insert one vain try."""
    defaults = {"subject": _hash(tx.new_id("try")), "tries": 1, "tried_at": tx.now}
    return await insert(tx, SignInThrottle, defaults, values)


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
