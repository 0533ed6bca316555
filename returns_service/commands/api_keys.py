"""API keys: made, listed, revoked. The secret is 256 random bits, shown once; only its SHA-256 is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import col, select

from returns_service.commands.staff_users import normalize_email
from returns_service.commands.tokens import hash_token, new_token
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import SCOPES
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey

PREFIX = "rsk_"
LONGEST_NAME = 100
# Built once: every request runs it.
OF_SECRET = select(ApiKey).where(col(ApiKey.secret_hash) == bindparam("secret_hash"))


async def create_key(
    tx: Tx, name: str, scopes: Sequence[str], expires_at: datetime | None = None, *, owner: str | None = None
) -> tuple[ApiKey, str]:
    """Return the new key's row and its secret. `owner`: the e-mail address of its person, for second approvals.

    Raises Problem invalid_request for a name that tells nobody apart, an unknown scope, or an owner that is no e-mail
    address.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        errors = [{"param": "name", "code": "invalid"}]
        raise Problem("invalid_request", "Name who uses it, for example shop-backend.", param="name", errors=errors)
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise Problem("invalid_request", f"Scopes are {', '.join(SCOPES)}.", param="scopes")
    return await _add_key(tx, name, scopes, expires_at, normalize_email(owner) if owner is not None else None)


async def _add_key(
    tx: Tx, name: str, scopes: Sequence[str], expires_at: datetime | None, owner: str | None
) -> tuple[ApiKey, str]:
    secret = new_token(PREFIX)
    row = ApiKey(
        id=tx.new_id("key"),
        name=name,
        owner=owner,
        secret_hash=hash_token(secret),
        scopes=sorted(scope for scope in SCOPES if scope in scopes),
        created_at=tx.now,
        expires_at=expires_at,
    )
    tx.add(row)
    await tx.flush()
    return row, secret


async def list_keys(tx: Tx) -> list[ApiKey]:
    """Return all keys, newest first."""
    return list((await tx.exec(select(ApiKey).order_by(col(ApiKey.id).desc()))).all())


async def revoke_key(tx: Tx, key_id: str) -> ApiKey:
    """Put a key out of force, at once and for good. Raises Problem not_found."""
    row = await tx.get(ApiKey, key_id)
    if row is None:
        raise Problem("not_found", f"There is no key {key_id}.")
    row.revoked_at = row.revoked_at or tx.now
    return row


async def rotate_key(tx: Tx, key_id: str, overlap: timedelta) -> tuple[ApiKey, str]:
    """Return a new key like an old one, and its secret; the old one stays in force for `overlap`, no longer.

    The new one lives as long as the old one was made for, and is the same person's: a key without an owner is a person
    of its own, and its successors are that person. Both share their idempotency keys: a request that the old one made
    is not done again where the new one repeats it. Raises Problem not_found for a key that is not in force.
    """
    old = await tx.get(ApiKey, key_id)
    if old is None or not is_in_force(tx, old):
        raise Problem("not_found", f"There is no key {key_id} in force.")
    expires_at = tx.now + (old.expires_at - old.created_at) if old.expires_at is not None else None
    row, secret = await _add_key(tx, old.name, old.scopes, expires_at, old.owner or old.id)
    row.first_id = old.first_id or old.id
    end = tx.now + overlap
    old.expires_at = min(old.expires_at, end) if old.expires_at is not None else end
    return row, secret


async def key_in_force(tx: Tx, secret: str) -> ApiKey | None:
    """Return the key with this secret, None if there is none, or it is revoked or over."""
    row: ApiKey | None = (await tx.execute(OF_SECRET, {"secret_hash": hash_token(secret)})).scalars().first()
    return row if row is not None and is_in_force(tx, row) else None


async def keys_in_force(tx: Tx, key_ids: Collection[str]) -> frozenset[str]:
    """Return which of the keys that were let in may go on listening."""
    rows = (await tx.exec(select(ApiKey).where(col(ApiKey.id).in_(key_ids)))).all()
    return frozenset(row.id for row in rows if is_in_force(tx, row))


async def keys_of_person(tx: Tx, email: str) -> list[ApiKey]:
    """Return the keys in force of one owner, oldest first: they outlive their person's sign-in until revoked."""
    rows = (
        await tx.exec(select(ApiKey).where(col(ApiKey.owner) == normalize_email(email)).order_by(col(ApiKey.id)))
    ).all()
    return [row for row in rows if is_in_force(tx, row)]


def is_in_force(tx: Tx, row: ApiKey) -> bool:
    """Return whether the key is neither revoked nor over."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > tx.now)
