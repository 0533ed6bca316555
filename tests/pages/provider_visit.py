"""The way of a person who signs in by the company's own provider."""

from __future__ import annotations

from urllib.parse import quote

import httpx
from sqlmodel import col, select

from returns_service.commands import staff_users
from returns_service.store.tables import StaffSession, StaffUser
from tests.harness.oidc_provider import FakeProvider
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk

SESSION = "returns_session"


ATTEMPT = "returns_provider"


MARA = "mara@shop.test"


async def go(desk: Desk, provider: FakeProvider, next_path: str = "") -> str:
    """Go to the provider and sign in there; return the way back."""
    left = await desk.get(f"/sign-in/provider?next={quote(next_path, safe='')}")
    assert left.status_code == 303, left.text
    return provider.sign_in(left.headers["location"])


async def come_in(desk: Desk, provider: FakeProvider, next_path: str = "") -> httpx.Response:
    """Go to the provider, sign in there, and come back."""
    return await desk.get(await go(desk, provider, next_path))


async def person(shop: ServedShop, email: str = MARA) -> StaffUser:
    async with shop.db.reading() as tx:
        return await staff_users.existing_user(tx, email)


async def sessions_in_force(shop: ServedShop) -> list[StaffSession]:
    async with shop.db.reading() as tx:
        chosen = select(StaffSession).where(col(StaffSession.ended_at).is_(None))
        return list((await tx.exec(chosen)).all())


async def assert_refused(shop: ServedShop, desk: Desk, answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert "Nothing was changed" in answer.text
    assert SESSION not in desk.client.cookies
    assert await sessions_in_force(shop) == []
