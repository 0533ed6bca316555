"""A4: readiness, figures and what waits are looked up at most once in a moment, however many ask."""

from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import event
from sqlmodel import update

from returns_service.store.database import Database
from returns_service.store.tables import ReturnAuthorization
from returns_service.web.snapshot import Snapshot
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, open_desk, sign_in_as


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
async def test_a4_many_who_ask_at_once_cost_one_look(shop: ServedShop, path: str) -> None:
    shop.context.readiness.seconds = shop.context.figures.seconds = 60.0
    statements: list[str] = []
    engine = shop.db.reader.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    assert (await shop.get(path)).status_code == 200
    first = len(statements)
    assert first > 0
    answers = await asyncio.gather(*(shop.get(path) for _ in range(50)))
    assert len(statements) == first
    assert len({answer.content for answer in answers}) == 1


async def test_a4_a_look_is_made_again_once_it_is_old(shop: ServedShop) -> None:
    made = await shop.create_return()
    assert "returns_http_requests_total" in (await shop.get("/metrics")).text
    expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "A test."}), 200)
    assert '/decline",status="200"} 1.0' in (await shop.get("/metrics")).text


async def test_those_who_wait_for_a_long_look_share_what_it_sees() -> None:
    snapshot: Snapshot[int] = Snapshot(0.0)
    go_on = asyncio.Event()
    looks = 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await go_on.wait()
        return looks

    waiting = [asyncio.create_task(snapshot.read(look)) for _ in range(5)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*waiting) == [1] * 5
    assert await snapshot.read(look) == 2


async def test_a_look_that_fails_is_made_again_by_the_next(shop: ServedShop) -> None:
    snapshot: Snapshot[int] = Snapshot(60.0)

    async def fail() -> int:
        raise ConnectionResetError

    async def see() -> int:
        return 7

    with pytest.raises(ConnectionResetError):
        await snapshot.read(fail)
    assert await snapshot.read(see) == 7
    assert await snapshot.read(fail) == 7


async def test_what_people_see_that_waits_is_a_moment_old_at_most_and_never_older_than_what_they_did(
    shop: ServedShop,
) -> None:
    """The numbers beside the places: with 50 pages a second they are not counted 50 times."""
    shop.context.desk.seconds = shop.context.approvals.seconds = 60.0
    made = [await shop.create_return() for _ in range(2)]
    async with open_desk(shop) as desk:
        await sign_in_as(shop, desk, "admin")
        assert await waiting_on(desk) == "2"
        expect(await shop.post(f"/v1/returns/{made[0]['id']}/approve", {"override_reason": "A test."}), 200)
        assert await waiting_on(desk) == "1"
        elsewhere = Database(shop.db.url, now=shop.clock)
        async with elsewhere.transaction() as tx:
            await tx.execute(update(ReturnAuthorization).values(state="approved"))
        await elsewhere.close()
        assert await waiting_on(desk) == "1"
        assert await waiting_on(desk, **{"X-Live": "1"}) is None  # a script that heard of it
        assert await waiting_on(desk) is None


async def waiting_on(desk: Desk, **headers: str) -> str | None:
    """Return the number beside the approvals, None where nothing waits."""
    page = await desk.get("/returns", **headers)
    found = re.search(r'href="/approvals"[^>]*>.*?</a>', page.text, re.DOTALL)
    assert found is not None
    number = re.search(r'class="n"[^>]*>(\d+)<', found[0])
    return number[1] if number else None
