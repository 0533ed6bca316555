"""Engines that outlive a test: a new one compiles every statement anew, which takes longer than most tests do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from returns_service.store.database import Database


@dataclass
class Engines:
    """What a database writes and reads with, and the address that its next connection leads to."""

    writer: AsyncEngine
    reader: AsyncEngine
    url: str


_idle: dict[bool, list[Engines]] = defaultdict(list)  # by whether they are PostgreSQL's


class TestDatabase(Database):
    """A database on the engines of one that a test before has closed, if there is any."""

    __test__ = False  # pytest collects classes by their name

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        idle = _idle[self.postgresql]
        self._engines = idle.pop() if idle else self._new_engines()
        self._engines.url = self.url
        self.writer, self.reader = self._engines.writer, self._engines.reader

    def _new_engines(self) -> Engines:
        engines = Engines(self.writer, self.reader, self.url)

        def lead(dialect: Any, _: Any, args: list[Any], options: dict[str, Any]) -> None:
            args[:], more = dialect.create_connect_args(make_url(engines.url))
            options.update(more)

        for engine in {engine.sync_engine.pool: engine.sync_engine for engine in (self.writer, self.reader)}.values():
            event.listen(engine, "do_connect", lead)
        return engines

    async def close(self) -> None:
        """Close all connections; the engines wait for the next test."""
        await super().close()
        if self._engines not in _idle[self.postgresql]:
            _idle[self.postgresql].append(self._engines)
