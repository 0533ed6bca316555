"""SQLAlchemy's way to an async driver without its detours: where nothing waits, nothing needs to be switched.

It runs each call in a greenlet, which is left and entered again at each word with the driver, and closes each session
in a task of its own. The world's driver answers at once, so a plain call does the same for less. What would have to
wait after all is refused. https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import aiosqlite
import pytest
from sqlalchemy.connectors import asyncio as connector
from sqlalchemy.ext.asyncio import engine, result, session

T = TypeVar("T")


def stay_on_one_thread(patch: pytest.MonkeyPatch) -> None:
    """Let every statement run where it is asked for. Connections must be open already: that takes a thread."""
    patch.setattr(aiosqlite.Connection, "_execute", _call_inline)
    patch.setattr(connector, "await_", _finish_at_once)
    patch.setattr(connector, "in_greenlet", lambda: True)
    for module in (engine, result, session):
        patch.setattr(module, "greenlet_spawn", _call)
    for module in (engine, session):
        patch.setattr(module, "_run_to_completion", _run)


async def _call_inline(_: aiosqlite.Connection, call: Callable[..., T], *args: object, **kwargs: object) -> T:
    """Do what aiosqlite would do on a thread of its own."""
    return call(*args, **kwargs)


async def _call(call: Callable[..., T], *args: object, _require_await: bool = False, **kwargs: object) -> T:
    return call(*args, **kwargs)


async def _run(work: Coroutine[Any, Any, T]) -> T:
    return await work


def _finish_at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns. Raises RuntimeError where it waits."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    work.close()
    raise RuntimeError("a driver on one thread waited")
