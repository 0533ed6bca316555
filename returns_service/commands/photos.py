"""Photos that the dock takes: of a receipt, of units nobody announced, of a parcel of nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import delete, update
from sqlmodel import col, func, select

from returns_service.commands.once import done_before
from returns_service.commands.photo_store import add_to_store, free_bytes
from returns_service.domain.problems import Problem
from returns_service.images import CleanPhoto
from returns_service.return_case.events import Actor
from returns_service.store.database import Tx
from returns_service.store.tables import DockScan, Photo, Receipt, UndeclaredItem, UnmatchedReceipt

MOST_PHOTOS: Final = 12  # of one thing


async def add_photo(tx: Tx, by: Actor, about_id: str, photo: CleanPhoto, once: str, *, storage_mb: int) -> None:
    """Keep a photo of a receipt, an undeclared item, a parcel of nobody or a unit put aside; once. Raises Problem."""
    return_id = await _return_of(tx, about_id)
    if await done_before(tx, by.actor, f"photos/of/{about_id}", once):
        return
    kept = (await tx.exec(select(func.count()).where(col(Photo.about_id) == about_id))).one()
    if kept >= MOST_PHOTOS:
        raise Problem("invalid_request", f"There are {MOST_PHOTOS} photos of it already.", param="photo")
    if len(photo.content) > await free_bytes(tx, storage_mb):
        raise Problem("invalid_request", "The store of photos is full: ask an admin to make room.", param="photo")
    add_to_store(tx, photo, return_id=return_id, about_id=about_id, added_by=by.actor)


async def _return_of(tx: Tx, about_id: str) -> str | None:
    """Return the return that a thing of the dock is of; None for a parcel of nobody. Raises Problem not_found."""
    row: Receipt | UndeclaredItem | UnmatchedReceipt | DockScan | None = None
    for kind in (Receipt, UndeclaredItem, UnmatchedReceipt, DockScan):
        row = row or await tx.get(kind, about_id)
    if row is None:
        raise Problem("not_found", "There is nothing here that a photo could be of.")
    return row.return_id


async def move_photos(tx: Tx, places: Mapping[str, str]) -> None:
    """Let photos of some things (keys) be of others (values): units put aside are an item of the receipt now."""
    for of, to in places.items():
        await tx.execute(update(Photo).where(col(Photo.about_id) == of).values(about_id=to))


async def forget_photos(tx: Tx, about_ids: Collection[str]) -> int:
    """Delete the photos of some things; return how many there were."""
    ids = (await tx.exec(select(Photo.id).where(col(Photo.about_id).in_(about_ids)))).all()
    if ids:
        await tx.execute(delete(Photo).where(col(Photo.id).in_(ids)))
    return len(ids)
