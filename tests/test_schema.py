"""Models and migrations are the same thing, on both databases."""

from __future__ import annotations

from returns_service.store import schema
from returns_service.store.database import Database


async def test_models_equal_migrations(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.writer.connect() as connection:
            assert await connection.run_sync(schema.differences) == []
        assert await schema.current(database) == schema.head()
        assert not await schema.is_behind(database)
    finally:
        await database.close()


async def test_migrating_twice_changes_nothing(database_url: str) -> None:
    database = Database(database_url)
    try:
        await schema.upgrade(database)
        assert await schema.current(database) == schema.head()
    finally:
        await database.close()
