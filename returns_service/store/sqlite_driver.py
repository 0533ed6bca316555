"""SQLite's driver, which leaves the loop only for what may take long.

aiosqlite keeps each connection in a thread of its own, and SQLAlchemy goes there four times a statement (to make a
cursor, to execute, to fetch and to close), once to begin, and twice to roll back what only read. Each way costs more
than most statements do. So only what may take long goes there: what waits for who has the file locked, what waits for
the disk (a commit), and a read that has not ended within a millisecond, which then begins anew. A write finds its
rows by an index and stays.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiosqlite

Finished = tuple[Any, int, Any, list[Any]]  # columns, the number of rows changed, the last id, rows
SOON_STEPS = 20_000  # of SQLite's machine, which makes some thirty in a microsecond
PAUSE_SECONDS = 0.01  # between two tries to switch a new file


class Cursor:
    """What SQLAlchemy asks of a cursor: one statement at a time, whose rows are all fetched with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount, self.lastrowid, self.arraysize = -1, None, 1

    async def __aenter__(self) -> Cursor:
        """Begin; nothing is made before there is a statement."""
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        """Execute a statement and fetch its rows."""
        return await self._finish("execute", sql, parameters)

    async def executemany(self, sql: str, parameters: Sequence[Any]) -> Cursor:
        """Execute a statement for each set of parameters."""
        return await self._finish("executemany", sql, parameters)

    async def fetchall(self) -> list[Any]:
        """Return the rows, once."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Drop the rows."""
        self._rows = []

    async def _finish(self, method: str, sql: str, parameters: Any) -> Cursor:
        finished = await self._connection.finish(method, sql, parameters)
        self.description, self.rowcount, self.lastrowid, self._rows = finished
        return self


class Connection(aiosqlite.Connection):
    """A connection with a thread of its own, for what may take long."""

    wait_seconds = 0.0  # in the thread, for who has the file locked; elsewhere nothing waits
    _begins = False  # a transaction, with the next statement
    _at_rest = True  # the thread has told the end of all that it was given

    def begin_with_next(self) -> None:
        """Begin a transaction with the next statement."""
        self._begins = True

    def cursor(self) -> Cursor:  # type: ignore[override]  # all that SQLAlchemy calls of it
        """Return a cursor."""
        return Cursor(self)

    async def finish(self, method: str, sql: str, parameters: Any) -> Finished:
        """Execute a statement to its end; return its columns, the number of rows changed, its last id and its rows."""
        begins, self._begins = self._begins, False
        if self._at_rest:
            if begins and _begins_at_once(self._conn):
                begins = False
            reads = sql.startswith("SELECT")
            if not begins and (reads or self.in_transaction):
                finished = _finish_soon(self._conn, method, sql, parameters, repeatable=reads)
                if finished is not None:
                    return finished
        in_thread: Any = self._execute  # typed in part only
        self._at_rest = False
        done: Finished = await in_thread(
            _wait_and_finish, self._conn, self.wait_seconds, begins, method, sql, parameters
        )
        self._at_rest = True
        return done

    async def commit(self) -> None:
        """Commit what a statement has begun."""
        if self._begins:
            self._begins = False
            return
        self._at_rest = False
        await super().commit()
        self._at_rest = True

    async def rollback(self) -> None:
        """Roll back what a statement has begun: a pool does it to each connection, and most have nothing open."""
        self._begins = False
        if self._at_rest and not self.in_transaction:
            return
        await super().rollback()
        self._at_rest = True


def _begins_at_once(connection: sqlite3.Connection) -> bool:
    """Begin a transaction that writes, unless somebody has the file locked; return whether it has begun."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        return False
    return True


def _finish_soon(
    connection: sqlite3.Connection, method: str, sql: str, parameters: Any, *, repeatable: bool
) -> Finished | None:
    """Execute a statement; None where a `repeatable` one would take long: it was given up, and has changed nothing.

    A write runs to its end: SQLite takes back the whole transaction of a write that is given up
    (https://www.sqlite.org/c3ref/interrupt.html).
    """
    if not repeatable:
        return _finish(connection, method, sql, parameters)
    connection.set_progress_handler(_give_up, SOON_STEPS)
    try:
        return _finish(connection, method, sql, parameters)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT" and not _is_busy(error):
            raise
        return None
    finally:
        connection.set_progress_handler(None, 0)


def _give_up() -> int:
    return 1


def _wait_and_finish(
    connection: sqlite3.Connection, wait_seconds: float, begins: bool, method: str, sql: str, parameters: Any
) -> Finished:
    connection.execute(f"PRAGMA busy_timeout={int(wait_seconds * 1000)}")
    try:
        if begins:
            connection.execute("BEGIN IMMEDIATE")
        return _finish(connection, method, sql, parameters)
    finally:
        connection.execute("PRAGMA busy_timeout=0")


def _finish(connection: sqlite3.Connection, method: str, sql: str, parameters: Any) -> Finished:
    cursor = connection.cursor()
    try:
        getattr(cursor, method)(sql, parameters)
        rows = cursor.fetchall() if cursor.description else []  # the last of them brings `rowcount` up to date
        return cursor.description, cursor.rowcount, cursor.lastrowid, rows
    finally:
        cursor.close()


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


def _open(file: str, timeout: float, **options: Any) -> sqlite3.Connection:
    """Open the file in WAL mode, https://www.sqlite.org/wal.html. `timeout`: seconds to wait for who has it locked.

    Of two that switch a new file at once SQLite refuses one without any wait: https://www.sqlite.org/c3ref/busy_handler.html
    """
    options["check_same_thread"] = False  # the loop and the connection's thread take turns
    connection: sqlite3.Connection = sqlite3.connect(file, timeout=timeout, **options)
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > end:
                connection.close()
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            connection.execute("PRAGMA busy_timeout=0")
            return connection


def connect(file: str, *, timeout: float, **options: Any) -> Connection:
    """Return a connection, to be awaited; a process that ends doesn't wait for its thread.

    `timeout`: seconds to wait for who has the file locked.
    """
    connection = Connection(partial(_open, file, timeout, **options), iter_chunk_size=64)
    connection.wait_seconds = timeout
    connection._thread.daemon = True
    return connection
