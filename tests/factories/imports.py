"""The factory of imported returns."""

from __future__ import annotations

from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import ImportedReturn, ReturnAuthorization
from tests.factories.core import create_return
from tests.factories.insert import insert


async def create_imported_return(tx: Tx, row: ReturnAuthorization | None = None, **values: Any) -> ImportedReturn:
    """Insert the note that a return was imported."""
    row = row or await create_return(tx)
    defaults = {"digest": tx.new_id("imp"), "fingerprint": "file", "return_id": row.id, "created_at": tx.now}
    return await insert(tx, ImportedReturn, defaults, values)
