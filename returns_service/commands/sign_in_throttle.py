"""How often somebody may try to sign in: counted per account and per address, over all processes.

A try is counted before the password is looked at, so a hundred guesses at once are a hundred tries. A right password
gives its try back: nobody is slowed down by signing in.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final, NamedTuple

from sqlmodel import col, select

from returns_service.store.database import Tx, insert_ignore, select_for_update
from returns_service.store.tables import SignInThrottle

FREE_TRIES: Final = {"account": 5, "address": 20, "device": 5}
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30, 15 * 60  # doubled with each further try
FORGOTTEN_AFTER: Final = timedelta(hours=1)


class Try(NamedTuple):
    """A try that was counted, or has to wait."""

    wait_seconds: float  # above zero: nothing was counted
    left: int  # tries until one has to wait


async def take_try(tx: Tx, **subjects: str) -> Try:
    """Count one try of each subject (`account`, `address`, `device`), or say how long to wait first."""
    rows = {kind: await _lock_throttle(tx, kind, subjects[kind]) for kind in sorted(subjects)}
    wait = max(_wait_seconds(tx, kind, row) for kind, row in rows.items())
    if wait > 0:
        return Try(wait, 0)
    for row in rows.values():
        row.tries, row.tried_at = row.tries + 1, tx.now
    return Try(0, max(0, min(FREE_TRIES[kind] - row.tries for kind, row in rows.items())))


async def give_back(tx: Tx, **subjects: str) -> None:
    """Forget the try of a sign-in that went right: all of its account's or device's, one of its address's."""
    for kind in sorted(subjects):
        row = await _lock_throttle(tx, kind, subjects[kind])
        row.tries = max(0, row.tries - 1) if kind == "address" else 0


async def _lock_throttle(tx: Tx, kind: str, subject: str) -> SignInThrottle:
    mark = hashlib.sha256(f"{kind} {subject}".encode()).hexdigest()
    await insert_ignore(tx, SignInThrottle, {"subject": mark, "tries": 0, "tried_at": tx.now})
    chosen = select(SignInThrottle).where(col(SignInThrottle.subject) == mark)
    row = (await select_for_update(tx, chosen, SignInThrottle))[0]
    if row.tried_at < tx.now - FORGOTTEN_AFTER:
        row.tries = 0
    return row


def _wait_seconds(tx: Tx, kind: str, row: SignInThrottle) -> float:
    beyond = row.tries - FREE_TRIES[kind]
    if beyond < 0:
        return 0
    wait: float = min(FIRST_WAIT_SECONDS * 2 ** min(beyond, 10), LONGEST_WAIT_SECONDS)
    return max(0.0, wait - (tx.now - row.tried_at).total_seconds())
