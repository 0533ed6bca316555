"""All pages, and the routes that serve them."""

from __future__ import annotations

from typing import Any, Final

from returns_service.web.pages import (
    approvals,
    assets,
    count,
    health,
    home,
    photos,
    portal,
    portal_look,
    receive,
    return_acts,
    sign_in,
    you,
)
from returns_service.web.pages.forms import FormAct
from returns_service.web.pages.handler import handler_of
from returns_service.web.pages.page import Page

FORMS: Final[tuple[FormAct, ...]] = (*return_acts.FORMS,)
PAGES: Final[tuple[Page, ...]] = (
    *sign_in.PAGES, *home.PAGES, *approvals.PAGES, *(form.page for form in FORMS), *receive.PAGES, *count.PAGES,
    *health.PAGES, *you.PAGES, *portal.PAGES, *photos.PAGES,
)  # fmt: skip


def route_handlers() -> list[Any]:
    """Return the handlers of all pages and of what they load."""
    return [*(handler_of(page) for page in PAGES), *assets.HANDLERS, *portal_look.HANDLERS, *assets.static_routers()]
