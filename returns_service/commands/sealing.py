"""Bring sealed secrets up to date with the keys that are set: done at each start, so that a key can be rotated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select

from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import WebhookEndpoint
from returns_service.store.vault import CannotOpen, Vault


@dataclass(frozen=True, slots=True)
class Sealing:
    """How many secrets there are, how many the first key did not seal, and whose can't be opened."""

    secrets: int = 0
    outdated: int = 0
    lost: tuple[str, ...] = ()  # ids of endpoints


async def look_at_sealing(tx: Tx) -> Sealing:
    """Return how the secrets of webhook endpoints are sealed."""
    rows = (await tx.exec(select(WebhookEndpoint).order_by(col(WebhookEndpoint.id)))).all()
    vault, secrets, outdated, lost = tx.database.vault, 0, 0, []
    for row in rows:
        for stored in _stored_secrets(row):
            secrets += 1
            try:
                outdated += not vault.is_current(stored)
            except CannotOpen:
                lost.append(row.id)
    return Sealing(secrets, outdated, tuple(dict.fromkeys(lost)))


async def seal_anew(tx: Tx) -> Sealing:
    """Seal by the first key what an older key sealed, or no key; return how all was sealed before. Safe to do twice.

    What can't be opened stays as it is: its key may come back.
    """
    found = await look_at_sealing(tx)
    if not found.outdated:
        return found
    for row in await select_for_update(tx, select(WebhookEndpoint).order_by(col(WebhookEndpoint.id)), WebhookEndpoint):
        row.secret = _seal_anew(tx.database.vault, row.secret)
        row.old_secrets = [{**old, "secret": _seal_anew(tx.database.vault, old["secret"])} for old in row.old_secrets]
    await tx.flush()
    return found


def _stored_secrets(row: WebhookEndpoint) -> list[str]:
    old: Any = row.old_secrets
    return [row.secret, *(one["secret"] for one in old)]


def _seal_anew(vault: Vault, stored: str) -> str:
    try:
        return stored if vault.is_current(stored) else vault.seal(vault.open(stored))
    except CannotOpen:
        return stored
