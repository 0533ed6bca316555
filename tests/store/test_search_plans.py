"""A search reads an index on both databases, whatever the size of the shop."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from returns_service.queries.returns import finds_often, return_ids
from returns_service.store.database import Database, Tx
from returns_service.store.tables import ReturnAuthorization, SearchWord
from tests.factories import create_return
from tests.store.test_desk_plans import plans, scanned

MANY = 5000
DIGITS = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :many) "


@pytest.fixture
async def large_shop(database: Database) -> Database:
    """A shop with 5,000 returns, each with words of its own and one that all share."""
    async with database.transaction() as tx:
        row = await create_return(tx, slip_code="1000000000", email_text="x@example.com")
        names = [column.name for column in ReturnAuthorization.metadata.tables["return_authorization"].columns]
        changed = {"id": "id || n", "slip_code": "n || 'slip'", "email_text": "n || email_text"}
        columns = ", ".join(f'"{name}"' for name in names)
        values = ", ".join(changed.get(name, f'"{name}"') for name in names)
        copied = f"INSERT INTO return_authorization ({columns}) {DIGITS}SELECT {values} FROM return_authorization, n"  # noqa: S608
        await tx.execute(text(copied), {"many": MANY})
        common, own = "INSERT INTO search_word (return_id, word) SELECT id, 'order'", "SELECT id, 'w' || id"
        await tx.execute(text(f"{common} FROM return_authorization UNION ALL {own} FROM return_authorization"))
        tx.add(SearchWord(return_id=row.id, word="müller"))
    async with database.writer.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(text("ANALYZE"))
    return database


def look_for(**filters: Any) -> Any:
    """Return the look that lists the newest returns which meet the filters."""

    async def look(tx: Tx) -> None:
        chosen = return_ids(**filters)
        await tx.execute(chosen.order_by(ReturnAuthorization.id.desc()).limit(11))  # type: ignore[attr-defined]

    return look


@pytest.mark.parametrize("words", ["MÜLL", "müller order", "1 2 müller"])
async def test_a_search_reads_the_index_of_words(large_shop: Database, words: str) -> None:
    """D1: prefixes are ranges of `ix_search_word_word`, whose order is by code point on both databases."""
    (plan,) = await plans(large_shop, look_for(words=words))
    assert "ix_search_word_word" in plan
    assert scanned(plan) == set(), plan


async def test_an_address_reads_its_index(large_shop: Database) -> None:
    """D1: the filter goes by the address as it is compared."""
    (plan,) = await plans(large_shop, look_for(customer_email="7X@EXAMPLE.com"))
    assert "ix_return_authorization_email_text" in plan
    assert scanned(plan) == set(), plan


async def test_the_index_finds_what_begins_so(large_shop: Database) -> None:
    async with large_shop.reading() as tx:
        assert len((await tx.execute(return_ids(words="Mülle"))).all()) == 1
        assert len((await tx.execute(return_ids(words="ORD"))).all()) == MANY + 1
        assert (await tx.execute(return_ids(words="mu"))).all() == []


@pytest.mark.parametrize("words", ["order", "ord w", "ORDER wret 1"])
async def test_a_frequent_word_is_looked_up_for_the_newest_returns(large_shop: Database, words: str) -> None:
    """Else a search for what all returns have would read and sort a word of each of them."""
    async with large_shop.reading() as tx:
        assert await finds_often(tx, words) is (words != "ORDER wret 1")
        found = [(await tx.execute(return_ids(words=words, frequent=way))).scalars().all() for way in (False, True)]
    assert sorted(found[0]) == sorted(found[1])
    (plan,) = await plans(large_shop, look_for(words=words, frequent=True))
    assert "ix_search_word_word" not in plan
    assert scanned(plan) == set(), plan


@pytest.mark.parametrize("words", ["", "müller", "order müller", "nobody"])
async def test_a_rare_word_is_looked_up_itself(large_shop: Database, words: str) -> None:
    async with large_shop.reading() as tx:
        assert not await finds_often(tx, words)
