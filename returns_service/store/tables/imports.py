"""Open returns of another system that were imported, so that none is twice."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from returns_service.store.columns import StoredRow, defer_foreign_keys, utc


class ImportedReturn(StoredRow, table=True):
    """A return by its id in the other system. Only digests are kept: such an id may name the customer."""

    __tablename__ = "imported_return"

    digest: str = Field(primary_key=True)  # SHA-256 of the other system's id
    fingerprint: str  # SHA-256 of all that the file said of it
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    created_at: datetime = utc()


defer_foreign_keys("imported_return")
