"""Idempotency-Key: remember, replay, refuse. The key, its effect and its answer are one transaction.

A killed request leaves nothing; a second one with the same key waits for the first, then replays its answer.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel, select

from returns_service.domain.problems import Problem
from returns_service.store.database import LOCK_NOT_AVAILABLE, Tx, insert_ignore
from returns_service.store.tables import IdempotencyKey

KEYS = SQLModel.metadata.tables["idempotency_key"]
NAMED = (KEYS.c.scope == bindparam("of_scope"), KEYS.c.key == bindparam("of_key"))
# Built once: nearly every request runs them.
KEPT = select(IdempotencyKey).where(*NAMED)
KEEP = (
    update(KEYS)
    .where(*NAMED)
    .values(status=bindparam("new_status"), headers=bindparam("new_headers"), body=bindparam("new_body"))
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that a key got the first time."""

    status: int
    headers: Mapping[str, str]
    body: str


async def recall(tx: Tx, scope: str, key: str, fingerprint: str) -> Remembered | None:
    """Return the answer stored under the key, None if there is none. Raises Problem idempotency_key_reused."""
    row = (await tx.execute(KEPT, {"of_scope": scope, "of_key": key})).scalars().first()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise Problem("idempotency_key_reused", param="Idempotency-Key")
    if row.status is None or row.body is None:
        raise Problem("idempotency_key_in_use")
    return Remembered(row.status, row.headers, row.body)


async def begin(tx: Tx, scope: str, key: str, fingerprint: str) -> Remembered | None:
    """Take the key for this transaction; return the stored answer if it was taken before. Raises Problem."""
    values = {"scope": scope, "key": key, "fingerprint": fingerprint, "headers": {}, "created_at": tx.now}
    try:
        if await insert_ignore(tx, IdempotencyKey, values):
            return None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise Problem("idempotency_key_in_use") from error
        raise
    return await recall(tx, scope, key, fingerprint)


async def remember(tx: Tx, scope: str, key: str, answer: Remembered) -> None:
    """Store the answer under a key that `begin` took."""
    said = {"new_status": answer.status, "new_headers": dict(answer.headers), "new_body": answer.body}
    await tx.execute(KEEP, {"of_scope": scope, "of_key": key, **said})
