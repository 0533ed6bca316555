"""Forget a customer's portal: what links offered them, what they ticked, and their photos."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete
from sqlmodel import col, or_, select

from returns_service.store.database import Tx
from returns_service.store.tables import Photo, PortalSession


async def forget_sessions(tx: Tx, *, order_id: str | None, email_text: str | None) -> tuple[int, int]:
    """Redact the sessions of an order, or of an address as addresses are compared; return how many sessions and photos.

    A link that is still in force goes on working: only what names the customer is gone, and what they bought stays
    under its SKU.
    """
    of_order, of_address = col(PortalSession.order_id) == order_id, col(PortalSession.email_text) == email_text
    mine = of_order if order_id is not None else of_address
    sessions = (await tx.exec(select(PortalSession).where(mine).order_by(col(PortalSession.id)))).all()
    changed = 0
    for row in sessions:
        lines = [{**line, "title": None} for line in row.lines]
        if (row.customer_email, row.customer_name, row.lines) != (None, None, lines):
            row.customer_email = row.email_text = row.customer_name = None
            row.lines = lines
            changed += 1
    photos = await delete_photos(tx, [row.id for row in sessions], [row.return_id for row in sessions if row.return_id])
    return changed, photos


async def delete_photos(tx: Tx, session_ids: Collection[str], return_ids: Collection[str]) -> int:
    """Delete the photos of these sessions and returns; return how many there were."""
    mine = or_(col(Photo.portal_session_id).in_(session_ids), col(Photo.return_id).in_(return_ids))
    ids = (await tx.exec(select(Photo.id).where(mine))).all()
    if ids:
        await tx.execute(delete(Photo).where(col(Photo.id).in_(ids)))
    return len(ids)
