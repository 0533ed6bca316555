"""Forget a customer's portal: what links offered them, what they ticked, and their photos."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, false
from sqlmodel import col, or_, select

from returns_service.commands.erasure_words import Words
from returns_service.domain.forgotten import pseudonym
from returns_service.store.database import Tx
from returns_service.store.tables import Photo, PortalSession, ReturnAuthorization


async def forget_sessions(
    tx: Tx,
    words: Words,
    *,
    order_id: str | None,
    email_text: str | None,
    payment_ids: Collection[str] = (),
    return_ids: Collection[str] = (),
) -> tuple[dict[str, bool], int]:
    """Redact the sessions of an order, of an address as addresses are compared, of payments, or of returns.

    Those of a return are the one it was sent by, whatever address that holds, and those of its order without any.
    Return the sessions' ids, each with whether something of it was redacted, and how many photos were deleted. A link
    that is still in force goes on working: only what names the customer is gone, and what they bought stays under its
    SKU.
    """
    row = PortalSession
    mine = [col(row.order_id) == order_id] if order_id is not None else []
    mine += [col(row.email_text) == email_text] if email_text is not None else []
    orders = select(ReturnAuthorization.order_id).where(col(ReturnAuthorization.id).in_(return_ids))
    mine += [col(row.return_id).in_(return_ids), col(row.order_id).in_(orders) & col(row.email_text).is_(None)]
    chosen = select(row).where(or_(false(), col(row.payment_id).in_(payment_ids), *mine)).order_by(col(row.id))
    sessions = (await tx.exec(chosen)).all()
    changed = {
        session.id: words.put(
            session,
            customer_email=None,
            email_text=None,
            customer_name=None,
            lines=[_forget_line(words, line, session.order_id) for line in session.lines],
            picks=[words.tree(pick) for pick in session.picks],
        )
        for session in sessions
    }
    returns = [session.return_id for session in sessions if session.return_id]
    return changed, await delete_photos(tx, list(changed), returns)


def _forget_line(words: Words, line: Mapping[str, Any], order_id: str) -> dict[str, Any]:
    name = line.get("order_line")
    named = {"order_line": pseudonym(name, order_id)} if name is not None else {}
    return {**words.tree(dict(line)), "title": None, **named}


async def delete_photos(tx: Tx, session_ids: Collection[str], return_ids: Collection[str]) -> int:
    """Delete the photos of these sessions and returns; return how many there were."""
    mine = or_(col(Photo.portal_session_id).in_(session_ids), col(Photo.return_id).in_(return_ids))
    ids = (await tx.exec(select(Photo.id).where(mine))).all()
    if ids:
        await tx.execute(delete(Photo).where(col(Photo.id).in_(ids)))
    return len(ids)
