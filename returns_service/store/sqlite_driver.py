"""SQLite's driver, which changes threads only for what may take long.

aiosqlite keeps each connection in a thread of its own, and SQLAlchemy goes there four times a statement (to make a
cursor, to execute, to fetch and to close), once to begin, and twice to roll back what only read. Each way costs more
than most statements do. So a statement goes once; and in a transaction that writes it doesn't go at all: what a command
reads and writes there is found by an index. What waits for another process or for the disk goes: to begin where the
file is locked, and to commit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiosqlite

Finished = tuple[Any, int, Any, list[Any]]  # columns, the number of rows changed, the last id, rows
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
    """A connection in a thread of its own."""

    _begins = False  # a transaction, with the next statement
    _at_rest = True  # the thread has told the end of all that it was given

    def begin_with_next(self) -> None:
        """Begin a transaction on the way to the next statement, whose thread is gone to anyway."""
        self._begins = True

    def cursor(self) -> Cursor:  # type: ignore[override]  # all that SQLAlchemy calls of it
        """Return a cursor."""
        return Cursor(self)

    async def finish(self, method: str, sql: str, parameters: Any) -> Finished:
        """Execute a statement to its end; return its columns, the number of rows changed, its last id and its rows."""
        begins, self._begins = self._begins, False
        if self._at_rest and (_begin_at_once(self._conn) if begins else self.in_transaction):
            return _finish(self._conn, False, method, sql, parameters)
        in_thread: Any = self._execute  # typed in part only
        self._at_rest = False
        finished: Finished = await in_thread(_finish, self._conn, begins, method, sql, parameters)
        self._at_rest = True
        return finished

    async def commit(self) -> None:
        """Commit what a statement has begun."""
        if self._begins:
            self._begins = False
        else:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back what a statement has begun: a pool does it to each connection, and most have nothing open."""
        self._begins = False
        if self._at_rest and not self.in_transaction:
            return
        await super().rollback()
        self._at_rest = True


def _begin_at_once(connection: sqlite3.Connection) -> bool:
    """Begin a transaction that writes, unless that had to wait; return whether it has begun."""
    (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
    finally:
        connection.execute(f"PRAGMA busy_timeout={milliseconds}")
    return connection.in_transaction


def _finish(connection: sqlite3.Connection, begins: bool, method: str, sql: str, parameters: Any) -> Finished:
    cursor = connection.cursor()
    try:
        if begins:
            cursor.execute("BEGIN IMMEDIATE")
        getattr(cursor, method)(sql, parameters)
        rows = cursor.fetchall() if cursor.description else []  # the last of them brings `rowcount` up to date
        return cursor.description, cursor.rowcount, cursor.lastrowid, rows
    finally:
        cursor.close()


def _open(file: str, timeout: float, **options: Any) -> sqlite3.Connection:
    """Open the file in WAL mode, https://www.sqlite.org/wal.html. `timeout`: seconds to wait for who has it locked.

    Of two that switch a new file at once SQLite refuses one without any wait: https://www.sqlite.org/c3ref/busy_handler.html
    """
    connection: sqlite3.Connection = sqlite3.connect(file, timeout=timeout, **options)
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                connection.close()
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return connection


def connect(file: str, **options: Any) -> Connection:
    """Return a connection, to be awaited; a process that ends doesn't wait for its thread."""
    connection = Connection(partial(_open, file, **options), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection
