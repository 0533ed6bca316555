"""A return's page for somebody signed in, against bare Litestar with the one SELECT and a bare template."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from returns_service.commands.sessions import begin_session
from returns_service.commands.staff_users import add_user
from returns_service.store.database import Database, Tx
from returns_service.web.pages.visitor import SESSION
from tests.bench.requests import Both, Call, MakeCall, measure_requests
from tests.bench.result import Row

AIM = 0.10


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare pages."""
    return await measure_requests("page", AIM, (100, 800), rounds, on_round, _calls)


async def _calls(both: Both) -> tuple[MakeCall, MakeCall]:
    cookie = f"{SESSION}={await _session(both.service.deployment.database_url)}"
    shown = {"Accept": "text/html", "Cookie": cookie}

    def ours(target: object, number: int) -> Call:
        names = both.service.returns
        return Call("GET", f"/returns/{names[number % len(names)]}", shown)

    def theirs(target: object, number: int) -> Call:
        names = both.bare_returns
        return Call("GET", f"/returns/{names[number % len(names)]}", {})

    return ours, theirs


async def _session(url: str) -> str:
    """Return the token of a session that somebody has begun."""

    async def work(tx: Tx) -> str:
        person = await add_user(tx, "finance@shop.test", "finance")
        return await begin_session(tx, person, "password")

    database = Database(url)
    try:
        return await database.run(work)
    finally:
        await database.close()
