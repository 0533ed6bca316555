"""Photos as staff look at them: whose they are and what of, without the pictures themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from returns_service.store.database import Tx
from returns_service.store.tables import Photo, PortalSession

MOST_SHOWN = 500  # of one page


@dataclass(frozen=True, slots=True)
class PhotoShown:
    """One photo. `about_id`: what it is of, where the dock took it; `item`: the line that the customer took it of."""

    id: str
    return_id: str | None
    about_id: str | None
    added_by: str | None  # an actor; None: the customer
    item: str
    at: datetime


async def photos_of_returns(tx: Tx, return_ids: Collection[str]) -> Mapping[str, list[PhotoShown]]:
    """Return the photos of some returns, the oldest first."""
    shown: dict[str, list[PhotoShown]] = {}
    for photo in await _photos(tx, col(Photo.return_id).in_(return_ids)):
        shown.setdefault(photo.return_id or "", []).append(photo)
    return shown


async def photos_about(tx: Tx, about_ids: Collection[str]) -> Mapping[str, list[PhotoShown]]:
    """Return the photos of some things of the dock, the oldest first."""
    shown: dict[str, list[PhotoShown]] = {}
    for photo in await _photos(tx, col(Photo.about_id).in_(about_ids)):
        shown.setdefault(photo.about_id or "", []).append(photo)
    return shown


async def _photos(tx: Tx, of: Any) -> list[PhotoShown]:
    columns: Any = (
        Photo.id, Photo.return_id, Photo.about_id, Photo.added_by, Photo.line, Photo.created_at, PortalSession.lines
    )  # fmt: skip
    chosen: Any = select(*columns).outerjoin(PortalSession, col(PortalSession.id) == col(Photo.portal_session_id))
    rows = (await tx.execute(chosen.where(of).order_by(col(Photo.id)).limit(MOST_SHOWN))).all()
    return [
        PhotoShown(photo_id, return_id, about_id, added_by, _item(lines, line), at)
        for photo_id, return_id, about_id, added_by, line, at, lines in rows
    ]


def _item(lines: list[dict[str, Any]] | None, place: int | None) -> str:
    if lines is None or place is None or not 0 <= place < len(lines):
        return ""
    return str(lines[place].get("title") or lines[place].get("sku") or "")
