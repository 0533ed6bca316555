"""Each table has a factory whose defaults the database accepts."""

from __future__ import annotations

import pytest

from returns_service.store import tables
from returns_service.store.database import Database
from tests import factories

TABLES = {name: getattr(tables, name) for name in tables.__all__}
FACTORIES = {name: getattr(factories, name) for name in factories.__all__}


async def test_each_table_has_a_factory(database: Database) -> None:
    async with database.transaction() as tx:
        made = [await create(tx) for create in FACTORIES.values()]
    assert {type(row).__name__ for row in made} == TABLES.keys()
    assert len(made) == len(TABLES)


@pytest.mark.parametrize("name", FACTORIES)
async def test_a_word_that_is_no_column_is_refused(database: Database, name: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(TypeError, match="has no wrong_word"):
            await FACTORIES[name](tx, wrong_word=1)
