"""The store of photos, which customers and the dock fill up to the size that the shop allows."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import col, func, select

from returns_service.images import CleanPhoto
from returns_service.store.database import Tx
from returns_service.store.tables import Photo

BYTES_PER_MEGABYTE: Final = 1024 * 1024


async def free_bytes(tx: Tx, storage_mb: int) -> int:
    """Return how many bytes of photos the store still takes, of `storage_mb` megabytes; negative where it is over."""
    used = (await tx.exec(select(func.coalesce(func.sum(col(Photo.size_bytes)), 0)))).one()
    return storage_mb * BYTES_PER_MEGABYTE - used


def add_to_store(tx: Tx, photo: CleanPhoto, **of: Any) -> None:
    """Keep a photo; `of` are the columns that say what it is of and who added it."""
    tx.add(
        Photo(
            id=tx.new_id("pho"),
            media_type=photo.media_type,
            width=photo.width,
            height=photo.height,
            size_bytes=len(photo.content),
            content=photo.content,
            created_at=tx.now,
            **of,
        )
    )
