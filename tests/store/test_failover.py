"""PostgreSQL's roles change, its machines go without a word: what leads nowhere is left, another is found."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from returns_service.store import postgresql_connection
from returns_service.store.database import Database, is_unavailable, takes_writes
from returns_service.worker import notifications
from returns_service.worker.notifications import listen
from tests.factories import create_payment
from tests.harness.patience import wait_for

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
READ_ONLY = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")


async def make_read_only(database: Database) -> None:
    """Let the pool's connection be one to a server that has become a standby."""
    async with database.writer.begin() as connection:
        await connection.execute(READ_ONLY)


async def test_a_server_that_takes_no_writes_is_left_for_the_next(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    try:
        await make_read_only(database)
        await database.run(create_payment)
        await make_read_only(database)
        async with database.reading() as tx:
            assert not await takes_writes(tx)
        async with database.reading() as tx:
            assert await takes_writes(tx), "the connection to it is given up"
    finally:
        await database.close()


async def test_where_no_server_takes_writes_it_is_an_outage(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    name = make_url(postgresql_url).database
    try:
        async with database.writer.begin() as connection:
            await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        await database.close()
        with pytest.raises((DBAPIError, OSError)) as raised:
            await database.run(create_payment)
        assert is_unavailable(raised.value)
    finally:
        await database.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Lend the port of a server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a machine that takes the connection, and is gone."""
    await reader.read()
    writer.close()


def relay_to(url: str) -> Serve:
    """Return what passes all on to the PostgreSQL of a test, which listens on no port."""
    folder = str(make_url(url).query["host"])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(next(Path(folder).glob(".s.PGSQL.*[0-9]"))))

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(pass_on(reader, back), pass_on(there, writer))

    return relay


async def test_a_host_that_is_gone_without_a_word_leaves_time_for_the_next(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_connection, "HOST_SECONDS", 0.5)
    name = make_url(postgresql_url).database
    async with serving(say_nothing) as gone, serving(relay_to(postgresql_url)) as there:
        hosts = f"host=127.0.0.1:{gone}&host=127.0.0.1:{there}"
        database = Database(f"postgresql://postgres@/{name}?{hosts}&target_session_attrs=primary")
        try:
            await database.run(create_payment)
            async with database.writer.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                shown = driver._transport.get_extra_info("socket")
                with shown.dup() as handle:
                    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                    if hasattr(socket, "TCP_USER_TIMEOUT"):
                        kept = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                        assert kept == postgresql_connection.UNACKNOWLEDGED_MILLISECONDS
        finally:
            await database.close()


async def test_while_no_host_is_the_primary_it_is_an_outage_too(postgresql_url: str) -> None:
    database = Database(f"{postgresql_url}&target_session_attrs=standby")
    try:
        with pytest.raises((DBAPIError, OSError)) as raised:
            await database.run(create_payment)
        assert is_unavailable(raised.value)
    finally:
        await database.close()


@pytest.mark.parametrize("error", [RuntimeError("never heard of"), ConnectionError("no primary")])
async def test_the_listener_outlives_whatever_ends_its_connection(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.0)
    connect, failures = postgresql_connection.connect, [error, error]

    async def connect_at_last(**options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await connect(**options)

    monkeypatch.setattr(postgresql_connection, "connect", connect_at_last)
    database = Database(postgresql_url)
    listening = asyncio.create_task(listen(database))
    try:
        await wait_for(lambda: database.wakes, "the listener", progress=listening.done)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await database.close()
