"""PostgreSQL behind a pooler in transaction mode, such as PgBouncer: the server changes between two transactions.

So nothing may outlive one: no prepared statement, which then has no name; no setting, which each transaction makes
anew; no LISTEN, which goes past the pooler (`RETURNS_DATABASE_LISTEN_URL`); and no statement outside a transaction,
since the driver sends even a single one in two steps. https://www.pgbouncer.org/features.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from returns_service.store import postgresql_connection


class PooledConnection(postgresql_connection.Connection):
    """A connection that asks about types inside a transaction, as each new one does before its first statement."""

    async def set_type_codec(self, *arguments: Any, **options: Any) -> None:
        """Set a codec. Raises what asyncpg raises."""
        async with self.transaction():
            await super().set_type_codec(*arguments, **options)


POOLER_OPTIONS: dict[str, Any] = {
    "connection_class": PooledConnection,
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}


def set_in_each_transaction(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    """Let every transaction of the engine begin with these settings of the server's."""
    chosen = select(*(func.set_config(bindparam(name, name), bindparam(f"{name}_", value), True)
                      for name, value in settings.items()))  # fmt: skip

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.execute(chosen)
