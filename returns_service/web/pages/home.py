"""Home: what waits, what happened last."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.queries.home import latest_changes, returns_by_state
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.rendering import render


@shows("/")
async def show_home(call: PageCall) -> Response[Any]:
    """Show what waits for this person, and what happened last."""
    async with call.context.database.reading() as tx:
        numbers = await returns_by_state(tx)
        latest = await latest_changes(tx, limit=8)
    return render(call, "home.html", numbers=numbers, latest=latest)


PAGES: Final[tuple[Page, ...]] = (show_home,)
