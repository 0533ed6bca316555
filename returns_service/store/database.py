"""Transactions and locks, on SQLite and PostgreSQL alike.

SQLite has one writer: all commands share one connection and begin IMMEDIATE, so nobody meets a busy database halfway.
PostgreSQL has row locks, always taken in the order payment, returns, refunds, `FOR NO KEY UPDATE` (plain FOR UPDATE
would block the foreign keys of inserts).
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import inspect, make_url, text
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.asyncio import AsyncSession as AsyncSessionOfSqlalchemy
from sqlalchemy.orm import Session as SessionOfSqlalchemy
from sqlalchemy.orm import make_transient_to_detached
from sqlmodel import Session, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from returns_service.store.clock import Now, SharedClock, elapsed_seconds, machine_time
from returns_service.store.engines import postgresql_engine, sqlite_engine
from returns_service.store.ids import Ids
from returns_service.store.vault import Vault

T = TypeVar("T")
Row = TypeVar("Row", bound=SQLModel)
WAKE_CHANNEL = "returns_work"
RETRIES = 4  # of a whole command after a deadlock or a serialization failure; the fifth answers 503
PASSING = {"40001", "40P01"}  # serialization_failure, deadlock_detected
LOCK_NOT_AVAILABLE = "55P03"
NOTIFY, CLOCK = text("SELECT pg_notify(:channel, '')"), text("SELECT clock_timestamp()")
TAKES_WRITES = text("SELECT current_setting('transaction_read_only') = 'off'")


class CommitLost(ConnectionError):
    """The connection was lost while COMMIT was under way: nobody knows whether the transaction holds."""


class PlainSession(Session):
    """SQLModel's session under a Tx, whose `execute` goes no detour."""

    execute = SessionOfSqlalchemy.execute  # SQLModel's adds a call to say: use `exec`


class Tx(AsyncSession):
    """One transaction: it knows its time, makes ids, and remembers which payments it has locked."""

    database: Database
    now: datetime
    sync_session_class = PlainSession
    execute = AsyncSessionOfSqlalchemy.execute  # SQLModel's warns at each call that `exec` is better typed

    async def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Send what has changed, where anything has: otherwise the way to the driver is saved."""
        if self.new or self.dirty or self.deleted:
            await super().flush(objects)

    def new_id(self, prefix: str) -> str:
        """Return a new id of that kind."""
        return self.database.ids.new(prefix, self.now)

    @property
    def postgresql(self) -> bool:
        """Whether this is PostgreSQL; otherwise it is SQLite."""
        return self.database.postgresql

    @property
    def locked_payments(self) -> set[str]:
        """Ids of the payments this transaction has locked."""
        held: set[str] = self.info.setdefault("locked", set())
        return held

    def forget(self) -> None:
        """Forget what was locked, who was to be woken and what was to follow the commit: it was rolled back."""
        self.info.clear()

    def after_commit(self, work: Callable[[], None]) -> None:
        """Do `work` once this is committed. What it raises is no longer undone, so it may only tell."""
        self.info.setdefault("after_commit", []).append(work)

    def wake_workers(self) -> None:
        """Let workers look for work as soon as this is committed."""
        self.info["wake"] = True


class Database:
    """One database for a process: `transaction()` to write, `reading()` to look."""

    def __init__(
        self,
        url: str,
        *,
        now: Now | None = None,
        source: random.Random | None = None,
        pool_size: int = 10,
        statement_timeout_seconds: float = 30.0,
        sends_mail: bool = False,
        listen_url: str | None = None,
        mails_staff: bool = False,
        secret_keys: Sequence[bytes] = (),
    ) -> None:
        """Prepare the connections; nothing is opened. `listen_url`: the server's own address, past a pooler."""
        self.url = async_url(url)
        self.listen_url = async_url(listen_url or url)
        self._pooled = listen_url is not None
        self.postgresql = self.url.startswith("postgresql")
        self.vault = Vault(secret_keys)
        self.sends_mail = sends_mail  # commands then write what customers are to be told into the outbox
        self.mails_staff = mails_staff  # and what staff are to be told
        self.random = source or random.SystemRandom()
        self.ids = Ids(self.random)
        self.commits = 0  # of this process: who saw the same number knows that it has changed nothing since
        self.wakes = 0  # counts reasons to look for work; who saw the same number may sleep
        self._sleepers: set[asyncio.Future[None]] = set()
        self.shared_clock = SharedClock() if self.postgresql and now is None else None
        self._now: Now = now or self.shared_clock or machine_time
        self.writer: AsyncEngine
        self.reader: AsyncEngine
        if self.postgresql:
            self.writer = postgresql_engine(self.url, pool_size, statement_timeout_seconds, pooled=self._pooled)
            # The same pool without BEGIN: under READ COMMITTED each statement has a snapshot of its own anyway.
            self.reader = self.writer if self._pooled else self.writer.execution_options(isolation_level="AUTOCOMMIT")
        else:
            self.writer, self.reader = sqlite_engine(self.url, writes=True), sqlite_engine(self.url, writes=False)

    def now(self) -> datetime:
        """Return the time that leases and schedules go by, UTC."""
        return self._now()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Open a transaction that commits at the end of the block, or leaves nothing. Raises CommitLost."""
        async with self._session(self.writer) as tx:
            yield tx
            await tx.flush()
            if tx.info.get("wake") and self.postgresql:
                await tx.execute(NOTIFY, {"channel": WAKE_CHANNEL})
            try:
                await tx.commit()
            except Exception as error:
                if is_lost_connection(error):
                    raise CommitLost(str(error)) from error
                raise
            finally:
                self.commits += 1
            for work in tx.info.get("after_commit", ()):
                work()
        if tx.info.get("wake"):
            self.wake()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """Look at the database: nothing is locked or written, and each statement sees what is committed by then."""
        async with self._session(self.reader) as tx:
            yield tx

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection that has no limits of time, since a migration may take long; it has not begun yet."""
        engine = postgresql_engine(self.url, 1, None, pooled=self._pooled) if self.postgresql else self.writer
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            if engine is not self.writer:
                await engine.dispose()

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Return what `work` reads; with a connection that was lost meanwhile it is done once more."""
        try:
            async with self.reading() as tx:
                return await work(tx)
        except Exception as error:
            if not is_lost_connection(error):
                raise
        async with self.reading() as tx:
            return await work(tx)

    async def run(self, work: Callable[[Tx], Awaitable[T]], *, safe_to_repeat: bool = False) -> T:
        """Do `work` in a transaction; after a deadlock or serialization failure do the whole of it again.

        A connection lost before COMMIT was sent has left nothing, so the whole is done once more. Lost in COMMIT nobody
        knows whether it holds: then only where `safe_to_repeat` says that doing it twice is doing it once, thanks to an
        idempotency key, a scan id, an inbox id or a fencing token. Raises CommitLost otherwise.
        """
        was_lost = False
        for attempt in itertools.count(1):
            try:
                async with self.transaction() as tx:
                    return await work(tx)
            except CommitLost:
                if was_lost or not safe_to_repeat:
                    raise
                was_lost = True
            except Exception as error:
                if is_lost_connection(error):
                    if was_lost:
                        raise
                    was_lost = True
                elif attempt > RETRIES or not may_pass(error):
                    raise
                else:
                    await asyncio.sleep(self.random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable: the loop returns or raises")

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine) -> AsyncIterator[Tx]:
        async with Tx(engine, expire_on_commit=False, autoflush=False) as tx:
            tx.database = self
            if self.shared_clock and self.shared_clock.is_stale:
                _ = await tx.connection()  # opened first: it may take long, and the clock is asked in between
                asked_at = elapsed_seconds()
                self.shared_clock.set((await tx.execute(CLOCK)).scalar_one(), asked_at)
            tx.now = self.now()
            yield tx

    def wake(self) -> None:
        """Let everybody in `sleep` look for work, or not fall asleep at all."""
        self.wakes += 1
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float, seen: int) -> None:
        """Sleep, unless there was a reason to wake since `seen` was read from `wakes`."""
        if self.wakes != seen or seconds <= 0:
            return
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            async with asyncio.timeout(seconds):  # wait_for would lose a cancellation that comes with the wake-up
                await sleeper
        except TimeoutError:
            return
        finally:
            self._sleepers.discard(sleeper)

    async def empty_journal(self) -> bool:
        """Move SQLite's journal into the database's file and empty it: nothing that was erased is left in it.

        Return whether that was possible: a reader that takes longer than BUSY_SECONDS bars it. PostgreSQL has no such
        file of its own.
        """
        if self.postgresql:
            return True
        async with self.reader.connect() as connection:
            done = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return not done.one()[0]

    async def close(self) -> None:
        """Close all connections."""
        await self.writer.dispose()
        if not self.postgresql:
            await self.reader.dispose()


def async_url(url: str) -> str:
    """Return the URL with the driver that is used: asyncpg or aiosqlite."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+asyncpg"):
        return parsed.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    return parsed.set(drivername="sqlite+aiosqlite").render_as_string(hide_password=False)


def may_pass(error: BaseException) -> bool:
    """Return whether the same command, done again, may work: a deadlock, a serialization failure, a busy file."""
    original = getattr(error, "orig", None)
    busy = getattr(original, "sqlite_errorname", "").startswith("SQLITE_BUSY")  # the name of an SQLite result code
    return busy or getattr(original, "sqlstate", None) in PASSING


def is_lost_connection(error: BaseException) -> bool:
    """Return whether the connection to the database was lost, as opposed to a statement that failed."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", ""))
        return error.connection_invalidated or state[:2] == "08" or state in ("57P01", "57P02", "57P03")
    return isinstance(error, ConnectionError) and not isinstance(error, CommitLost)


def is_unavailable(error: BaseException) -> bool:
    """Return whether the database could not be reached, is full, or has no connection left."""
    if getattr(getattr(error, "orig", None), "sqlite_errorname", "") == "SQLITE_ERROR":
        return False  # a statement that is wrong: https://www.sqlite.org/rescode.html#error
    if isinstance(error, PoolTimeout | InterfaceError | OperationalError | ConnectionError):
        return True
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", ""))
        passing = may_pass(error) or state == LOCK_NOT_AVAILABLE
        return error.connection_invalidated or passing or state[:2] in ("08", "53", "57", "58")
    return isinstance(error, OSError)  # a stopped PostgreSQL takes its socket's file away: FileNotFoundError too


async def takes_writes(tx: Tx) -> bool:
    """Return whether the database takes writes: no standby does, nor a server that was closed for lack of room.

    A connection to one that doesn't is given up, since the next may lead to the primary.
    """
    if not tx.postgresql:
        await tx.execute(text("SELECT 1"))
        return True
    found: bool = (await tx.execute(TAKES_WRITES)).scalar_one()
    if not found:
        await tx.invalidate()
    return found


def for_update(chosen: Any, kind: type[Row]) -> Any:
    """Return the statement that locks the chosen rows of `kind`, and nothing joined, for `select_locked`."""
    return chosen.with_for_update(key_share=True, of=kind).execution_options(populate_existing=True)


async def select_locked(tx: Tx, statement: Any, values: Mapping[str, Any]) -> Sequence[Any]:
    """Return the rows of a `for_update` statement as they are now, locked to the end of `tx`."""
    await tx.flush()  # or a row changed in here would be read back as it was
    rows: Sequence[Any] = (await tx.execute(statement, values)).scalars().all()
    return rows


async def select_for_update(tx: Tx, chosen: Any, kind: type[Row]) -> Sequence[Row]:
    """Return the chosen rows of `kind` as they are now, locked to the end of `tx`; nothing joined is locked."""
    return await select_locked(tx, for_update(chosen, kind), {})


async def insert_ignore(tx: Tx, kind: type[SQLModel], values: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its unique keys is taken; return whether it was.

    Waits for another transaction that is just taking the key.
    """
    done: Any = await tx.execute(_insert_ignore(kind, tx.postgresql), dict(values))
    return bool(done.rowcount)


@cache
def _insert_ignore(kind: type[SQLModel], postgresql: bool) -> Any:
    insert = insert_postgresql if postgresql else insert_sqlite
    return insert(inspect(kind).local_table).on_conflict_do_nothing()


async def insert_or_none(tx: Tx, row: Row) -> Row | None:
    """Insert a row, which is then in `tx`, and return it; None where one of its unique keys is taken."""
    values = {column: getattr(row, name) for name, column in _columns(type(row))}
    if not await insert_ignore(tx, type(row), values):
        return None
    make_transient_to_detached(row)  # to the session it is a row that was read
    tx.add(row)
    return row


@cache
def _columns(kind: type[SQLModel]) -> list[tuple[str, str]]:
    """Return the names of a table's attributes, each with its column's."""
    mapper = inspect(kind)
    return [(mapper.get_property_by_column(column).key, column.key) for column in mapper.local_table.columns]


async def insert_ignore_all(tx: Tx, kind: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, each unless one of its unique keys is taken."""
    insert = insert_postgresql if tx.postgresql else insert_sqlite
    if rows:
        await tx.execute(insert(kind).on_conflict_do_nothing(), [dict(row) for row in rows])
