"""The engines: how connections to SQLite and PostgreSQL are set up, kept and bounded."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from returns_service.store import postgresql_connection, sqlite_driver
from returns_service.store.pooler import POOLER_OPTIONS, set_in_each_transaction

SILENCE_SECONDS = 5.0  # beyond the server's own limit of a statement: who says nothing then hangs
LOCK_TIMEOUT = "15s"  # of any wait for a lock; a request answers 409 or 503 then
BUSY_SECONDS = 10.0
READ_ONLY = "25006"  # read_only_sql_transaction


def write_json(value: object) -> str:
    """Return a value of a JSON column as it is sent."""
    return msgspec.json.encode(value).decode()


def postgresql_engine(
    url: str, pool_size: int, statement_timeout_seconds: float | None, *, pooled: bool = False
) -> AsyncEngine:
    """Return a pool that never waits for ever. The newest connection goes first, so that idle ones may be closed.

    The server ends a statement after `statement_timeout_seconds`. We leave a server that hangs `SILENCE_SECONDS` later.
    None: a statement has all time, as a migration needs it. `pooled`: a pooler in transaction mode is in between.

    No `pool_pre_ping`: it costs three round trips a checkout. `Database.run` repeats what a lost connection left.
    """
    milliseconds = str(int((statement_timeout_seconds or 0) * 1000))  # 0: no limit
    settings = {
        "timezone": "UTC",
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        "lock_timeout": LOCK_TIMEOUT,
        "jit": "off",  # compiling the desk's statement took seconds
    }
    at_start = {} if pooled else settings  # a pooler refuses to connect with settings that it doesn't know
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=statement_timeout_seconds,
        pool_use_lifo=True,
        hide_parameters=True,  # an error message would quote customers
        json_serializer=write_json,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "async_creator_fn": postgresql_connection.connect,
            "command_timeout": statement_timeout_seconds and statement_timeout_seconds + SILENCE_SECONDS,
            "server_settings": {"application_name": "returns-service", **at_start},
            **(POOLER_OPTIONS if pooled else {}),
        },
    )
    if pooled:
        set_in_each_transaction(engine, settings)
    event.listen(engine.sync_engine, "handle_error", leave_standby)
    event.listen(engine.sync_engine, "handle_error", leave_silent_server, retval=True)
    return engine


def leave_standby(context: ExceptionContext) -> None:
    """Give a connection up that leads to a server which takes no writes: it was the primary, or will be.

    Connections outlive a change of roles, and new ones follow a name server that is late: without this the pool would
    keep them for ever.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def leave_silent_server(context: ExceptionContext) -> Exception | None:
    """Give a connection up whose server let the driver's time pass, and return what to raise instead.

    To whoever decides what may be repeated it is a connection that was lost: a server that hangs may go on, and then
    do what it was sent last.
    """
    if not isinstance(context.original_exception, TimeoutError):
        return None
    context.is_disconnect = True
    if context.connection is not None and not context.connection.invalidated:
        driver: Any = context.connection.connection.driver_connection
        driver.terminate()  # a farewell would wait for an answer once more
    return postgresql_connection.DatabaseSilent("PostgreSQL gives no answer: it hangs, or its machine does")


def sqlite_engine(url: str, *, writes: bool) -> AsyncEngine:
    """Return an engine on the file: one connection that writes, or several that read."""
    options: dict[str, Any] = {"pool_size": 1 if writes else 8, "max_overflow": 0}
    engine = create_async_engine(
        url,
        connect_args={"async_creator_fn": sqlite_driver.connect, "timeout": BUSY_SECONDS},
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
        json_serializer=write_json,
        json_deserializer=msgspec.json.decode,
        **options,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def settle_connection(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver must not begin by itself
        cursor = connection.cursor()
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # a forgotten person is gone from the file, too
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if writes:

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Any) -> None:
            connection.connection.driver_connection.begin_with_next()

    return engine
