"""Sessions of the pages: begun at sign-in with a token that nobody chose, looked up by its hash, ended one by one.

Why a table of our own: Litestar's server-side session keeps the id that the visitor brought (session fixation).
A session ends after a shift at the latest, and earlier when nobody uses it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, bindparam, update
from sqlmodel import col, select

from returns_service.commands.tokens import LONGEST_TOKEN, hash_token, new_token
from returns_service.domain.vocabulary import Way
from returns_service.store.database import Tx
from returns_service.store.tables import Device, StaffSession, StaffUser

SESSION_LIVES: Final = timedelta(hours=12)
IDLE_LIVES: Final = timedelta(hours=3)
SHARED_IDLE_LIVES: Final = timedelta(minutes=30)  # by badge or PIN: the next person stands beside the device
SEEN_SHOWN_AFTER: Final = timedelta(minutes=1)
SCANS_SIGNED_FOR: Final = timedelta(days=14)  # how long a device may keep scans before it finds its way back
MOST_LISTED: Final = 200
_LONGEST_USER_AGENT: Final = 300
_OF_SESSION: Any = (StaffSession, StaffUser, Device)
_WITH_PERSON: Final = (  # every page begins with it
    select(*_OF_SESSION)
    .join(StaffUser, col(StaffUser.id) == col(StaffSession.user_id))
    .outerjoin(Device, col(Device.id) == col(StaffSession.device_id))
    .where(col(StaffSession.token_hash) == bindparam("token_hash"))
)


class SignedIn(NamedTuple):
    """A session in force, and whose it is."""

    session: StaffSession
    user: StaffUser


async def begin_session(
    tx: Tx,
    user: StaffUser,
    way: Way,
    *,
    replaces: str | None = None,
    device: Device | None = None,
    user_agent: str | None = None,
    address: str | None = None,
) -> str:
    """Return the token of a new session; the one with the token `replaces` ends. `device`: the one it is on."""
    if replaces is not None and (old := await _session_of(tx, replaces)) is not None:
        old.ended_at = old.ended_at or tx.now
    token = new_token()
    tx.add(
        StaffSession(
            id=tx.new_id("ses"),
            user_id=user.id,
            device_id=device.id if device else None,
            token_hash=hash_token(token),
            way=way,
            user_agent=user_agent[:_LONGEST_USER_AGENT] if user_agent else None,
            address=address,
            created_at=tx.now,
            seen_at=tx.now,
            expires_at=tx.now + SESSION_LIVES,
        )
    )
    await tx.flush()
    return token


async def session_in_force(tx: Tx, token: str) -> SignedIn | None:
    """Return the session with this token and its person; None if it is over, idle, or its person disabled."""
    if not 0 < len(token) <= LONGEST_TOKEN:
        return None
    found = (await tx.execute(_WITH_PERSON, {"token_hash": hash_token(token)})).first()
    if found is None:
        return None
    row, user, device = found
    if row.ended_at is not None or row.expires_at <= tx.now or idle_at(row) <= tx.now or user.disabled_at is not None:
        return None
    if row.device_id is not None and not _is_in_use(device):
        return None
    return SignedIn(row, user)


async def sessions_in_force(tx: Tx, session_ids: Collection[str]) -> frozenset[str]:
    """Return which of the sessions that were let in may go on listening: those in force."""
    chosen = (
        select(StaffSession)
        .join(StaffUser, col(StaffUser.id) == col(StaffSession.user_id))
        .where(
            col(StaffSession.id).in_(session_ids), col(StaffSession.ended_at).is_(None),
            col(StaffSession.expires_at) > tx.now, col(StaffUser.disabled_at).is_(None),
        )
    )  # fmt: skip
    return frozenset(row.id for row in (await tx.exec(chosen)).all() if idle_at(row) > tx.now)


def idle_at(row: StaffSession) -> datetime:
    """Return when the session ends by itself if nobody uses it."""
    return row.seen_at + (SHARED_IDLE_LIVES if row.receiving_only else IDLE_LIVES)


async def touch_session(tx: Tx, session_id: str) -> None:
    """Note that a session is in use."""
    await tx.execute(update(StaffSession).where(col(StaffSession.id) == session_id).values(seen_at=tx.now))


async def end_session(tx: Tx, user_id: str, session_id: str) -> bool:
    """End one session of a person; return whether it is theirs. Where it is over already, nothing changes."""
    row = await tx.get(StaffSession, session_id)
    if row is None or row.user_id != user_id:
        return False
    await _end(tx, col(StaffSession.id) == session_id)
    return True


async def end_sessions(tx: Tx, user_id: str, *, but: str | None = None) -> None:
    """End all sessions of a person, except the one with the id `but`."""
    chosen = col(StaffSession.user_id) == user_id
    await _end(tx, chosen if but is None else chosen & (col(StaffSession.id) != but))


async def end_sessions_on(tx: Tx, device_id: str) -> None:
    """End all sessions on a device."""
    await _end(tx, col(StaffSession.device_id) == device_id)


async def sessions_of(tx: Tx, user_id: str) -> list[StaffSession]:
    """Return a person's sessions in force, the last used first."""
    chosen = select(StaffSession).where(
        col(StaffSession.user_id) == user_id,
        col(StaffSession.ended_at).is_(None),
        col(StaffSession.expires_at) > tx.now,
    )
    rows = (await tx.exec(chosen.order_by(col(StaffSession.seen_at).desc()))).all()
    return [row for row in rows if idle_at(row) > tx.now]


async def sessions_by_person(tx: Tx) -> list[SignedIn]:
    """Return all sessions in force with whose they are, the last used first; no more than MOST_LISTED."""
    chosen = (
        select(StaffSession, StaffUser)
        .join(StaffUser, col(StaffUser.id) == col(StaffSession.user_id))
        .where(col(StaffSession.ended_at).is_(None), col(StaffSession.expires_at) > tx.now)
        .order_by(col(StaffSession.seen_at).desc())
        .limit(MOST_LISTED)
    )
    return [SignedIn(row, user) for row, user in (await tx.exec(chosen)).all() if idle_at(row) > tx.now]


async def end_anybodys_session(tx: Tx, session_id: str) -> None:
    """End one session, whoever's it is; where it is over already, nothing changes."""
    await _end(tx, col(StaffSession.id) == session_id)


def scan_token(session: StaffSession) -> str:
    """Return what a scan carries to say who made it, even after the session is over.

    It lets nobody in: a scan is taken only from somebody who is signed in, and then counts under this name.
    """
    return f"{session.id}.{_seal(session)}"


async def scanner_of(tx: Tx, token: str) -> StaffUser | None:
    """Return who made a scan; None for a token that is nobody's, or too old."""
    session_id, _, seal = token[:LONGEST_TOKEN].partition(".")
    row = await tx.get(StaffSession, session_id) if token.isascii() and token.isprintable() else None
    if row is None or row.created_at < tx.now - SCANS_SIGNED_FOR or not hmac.compare_digest(seal, _seal(row)):
        return None
    return await tx.get(StaffUser, row.user_id)


def _seal(session: StaffSession) -> str:
    return hmac.new(session.token_hash.encode(), b"scan", hashlib.sha256).hexdigest()


async def _session_of(tx: Tx, token: str) -> StaffSession | None:
    if not 0 < len(token) <= LONGEST_TOKEN:
        return None
    return (await tx.exec(select(StaffSession).where(col(StaffSession.token_hash) == hash_token(token)))).first()


def _is_in_use(device: Device | None) -> bool:
    return device is not None and device.approved_at is not None and device.revoked_at is None


async def _end(tx: Tx, chosen: ColumnElement[bool]) -> None:
    await tx.execute(update(StaffSession).where(chosen, col(StaffSession.ended_at).is_(None)).values(ended_at=tx.now))
