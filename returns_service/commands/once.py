"""Do an act of a person's form once, where its answer holds a secret that may not be kept."""

from __future__ import annotations

from typing import Final

from returns_service.commands import idempotency
from returns_service.commands.idempotency import Remembered
from returns_service.store.database import Tx

_DONE: Final = Remembered(200, {}, "{}")  # the secret itself was shown, and is kept nowhere


async def done_before(tx: Tx, actor: str, what: str, once: str) -> bool:
    """Return whether this was done under its one-time token before; if not, this transaction marks it as done."""
    scope = f"{actor} {what}"
    if await idempotency.begin(tx, scope, once, what) is not None:
        return True
    await idempotency.remember(tx, scope, once, _DONE)
    return False
