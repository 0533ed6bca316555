"""Factories of what the dock counts before it is a receipt."""

from __future__ import annotations

from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import DockScan, ReturnAuthorization
from tests.factories.core import create_return
from tests.factories.insert import insert


async def create_dock_scan(tx: Tx, of: ReturnAuthorization | None = None, **values: Any) -> DockScan:
    """Insert a scan of one new cup that was put aside."""
    of = of or await create_return(tx)
    defaults = {
        "id": tx.new_id("scn"),
        "return_id": of.id,
        "code": "CUP",
        "condition": "new",
        "quantity": 1,
        "scanned_by": "test",
        "scanned_at": tx.now,
    }
    return await insert(tx, DockScan, defaults, values)
