"""One row, from defaults and what a test names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlmodel import SQLModel

from returns_service.store.database import Tx

Row = TypeVar("Row", bound=SQLModel)


async def insert(tx: Tx, table: type[Row], defaults: Mapping[str, Any], values: Mapping[str, Any]) -> Row:
    """Insert a row, written out at once. Raises TypeError for a column that the table does not have."""
    if unknown := values.keys() - table.model_fields.keys():  # a table model takes any word, and drops it
        raise TypeError(f"{table.__name__} has no {', '.join(sorted(unknown))}")
    row = table(**{**defaults, **values})
    tx.add(row)
    await tx.flush()
    return row
