"""Be woken at once: PostgreSQL's NOTIFY from any process, an in-process signal on SQLite.

Polling is only the fallback; a listener whose connection died comes back by itself, and wakes everybody first, since
it may have missed something. A server that hangs is as silent as one that has nothing to tell, so it is asked now and
then.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from sqlalchemy import make_url

from returns_service.store import postgresql_connection
from returns_service.store.database import WAKE_CHANNEL, Database

RECONNECT_SECONDS = 1.0
ASK_EVERY_SECONDS = 30.0
ANSWER_SECONDS = 10.0
log = structlog.get_logger("returns.wake")


async def listen(db: Database) -> None:
    """Wake `db`'s sleepers at each NOTIFY, until cancelled. Does nothing on SQLite."""
    while db.postgresql:
        try:
            await _listen_once(db)
        except Exception as error:  # noqa: BLE001 - logged; whatever ends it, without a listener every refund waits
            log.warning("wake.no_listener", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)


async def _listen_once(db: Database) -> None:
    """Listen over one connection until it ends."""
    gone = asyncio.Event()
    # As the pool connects: in a DSN the driver would take `ssl` for a setting of the server's, which refuses it.
    _, options = db.writer.dialect.create_connect_args(make_url(db.listen_url))
    options.pop("prepared_statement_cache_size", None)  # the pool's own
    connection: Any = await postgresql_connection.connect(**options, command_timeout=ANSWER_SECONDS)
    try:
        connection.add_termination_listener(lambda *_: gone.set())
        await connection.add_listener(WAKE_CHANNEL, lambda *_: db.wake())
        db.wake()
        while not await _has_come(gone, ASK_EVERY_SECONDS):
            await connection.execute("SELECT 1")
    finally:
        connection.terminate()


async def _has_come(happening: asyncio.Event, seconds: float) -> bool:
    """Return whether the event is set within these seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await happening.wait()
    except TimeoutError:
        return False
