"""Be woken at once: PostgreSQL's NOTIFY from any process, an in-process signal on SQLite.

Polling is only the fallback; a listener whose connection died comes back by itself, and wakes everybody first, since
it may have missed something.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import structlog
from sqlalchemy import make_url

from returns_service.store.database import WAKE_CHANNEL, Database

RECONNECT_SECONDS = 1.0
asyncpg_: Any = asyncpg  # typed in part only
CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg_.PostgresError, asyncpg_.InterfaceError)
log = structlog.get_logger("returns.wake")


async def listen(db: Database) -> None:
    """Wake `db`'s sleepers at each NOTIFY, until cancelled. Does nothing on SQLite."""
    while db.postgresql:
        gone = asyncio.Event()
        try:
            connection = await _connect(db)
        except CONNECTION_ERRORS as error:
            log.warning("wake.no_listener", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)
            continue
        try:
            connection.add_termination_listener(lambda *_, gone=gone: gone.set())
            await connection.add_listener(WAKE_CHANNEL, lambda *_: db.wake())
            db.wake()
            await gone.wait()
        except CONNECTION_ERRORS as error:
            log.warning("wake.listener_lost", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            connection.terminate()


async def _connect(db: Database) -> Any:
    # As the pool connects: in a DSN the driver would take `ssl` for a setting of the server's, which refuses it.
    _, options = db.writer.dialect.create_connect_args(make_url(db.listen_url))
    options.pop("prepared_statement_cache_size", None)  # the pool's own
    return await asyncpg_.connect(**options, timeout=10)
