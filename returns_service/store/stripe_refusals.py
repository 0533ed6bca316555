"""Which calls Stripe refuses this service: kept apart from the request that met it, struck off by the next success.

A key that lacks one permission is refused that one kind of call, so a success says something of its own kind alone. A
key that is expired or unknown is refused all, so any success strikes that off.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from returns_service.domain.stripe_objects import TryLater
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database, Tx, insert_ignore
from returns_service.store.tables import StripeRefusal

EVERY_CALL = "key"
LOOK_AGAIN_SECONDS = 60.0  # another process may have been refused: its refusals are struck off as well
log = structlog.get_logger("returns.stripe")


class StripeRefusals:
    """Watches the answers of one process's calls to Stripe."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = elapsed_seconds) -> None:
        self._database, self._monotonic = database, monotonic
        self._open: set[str] = set()  # subjects that are written down, as far as this process knows
        self._looked_at: float | None = None  # monotonic

    async def note(self, subject: str, refusal: TryLater | None) -> None:
        """Keep a refusal of a call about `subject` (`payment_intents`, `refunds`, …); None: the call succeeded.

        It is called with no transaction open. A database that is away costs the note, never Stripe's answer.
        """
        try:
            if refusal is None:
                await self._strike_off(subject)
            else:
                await self._write_down(EVERY_CALL if refusal.key_refused else subject, refusal)
        except (SQLAlchemyError, OSError) as error:
            log.warning("stripe.refusal_not_noted", subject=subject, error=type(error).__name__)

    async def _write_down(self, subject: str, refusal: TryLater) -> None:
        log.warning("stripe.refuses_us", subject=subject, code=refusal.code, message=refusal.message)

        async def work(tx: Tx) -> None:
            values = {"subject": subject, "code": refusal.code, "message": refusal.message, "since": tx.now}
            await insert_ignore(tx, StripeRefusal, values)

        await self._database.run(work, safe_to_repeat=True)
        self._open.add(subject)

    async def _strike_off(self, subject: str) -> None:
        now = self._monotonic()
        if self._looked_at is None or now - self._looked_at > LOOK_AGAIN_SECONDS:
            self._looked_at = now
            async with self._database.reading() as tx:
                self._open = set((await tx.execute(select(col(StripeRefusal.subject)))).scalars())
        ended = self._open & {subject, EVERY_CALL}
        if not ended:
            return
        gone = delete(StripeRefusal).where(col(StripeRefusal.subject).in_(ended))

        async def work(tx: Tx) -> None:
            await tx.execute(gone)

        await self._database.run(work, safe_to_repeat=True)
        self._open -= ended
        log.info("stripe.refuses_us_no_more", subjects=sorted(ended))
