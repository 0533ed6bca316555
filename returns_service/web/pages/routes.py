"""All pages, and the routes that serve them."""

from __future__ import annotations

from typing import Any, Final

from returns_service.web.pages import (
    approvals,
    assets,
    count,
    dashboard,
    health,
    home,
    live,
    parcels,
    payments,
    photos,
    portal,
    portal_look,
    portal_settings,
    receipt_acts,
    receive,
    refund_acts,
    refund_desk,
    return_acts,
    return_page,
    returns,
    settings,
    sign_in,
    sign_in_provider,
    you,
)
from returns_service.web.pages.forms import FormAct
from returns_service.web.pages.handler import handler_of
from returns_service.web.pages.page import Page

FORMS: Final[tuple[FormAct, ...]] = (*return_acts.FORMS, *receipt_acts.FORMS, *refund_acts.FORMS, *payments.FORMS)
PAGES: Final[tuple[Page, ...]] = (
    *sign_in.PAGES, *sign_in_provider.PAGES, *home.PAGES, *live.PAGES, *approvals.PAGES, *returns.PAGES,
    *return_page.PAGES, *refund_desk.PAGES, *payments.PAGES, *dashboard.PAGES, *parcels.PAGES,
    *(form.page for form in FORMS), *receive.PAGES, *count.PAGES, *health.PAGES, *settings.PAGES,
    *portal_settings.PAGES, *you.PAGES, *portal.PAGES, *photos.PAGES,
)  # fmt: skip


def route_handlers() -> list[Any]:
    """Return the handlers of all pages and of what they load."""
    return [*(handler_of(page) for page in PAGES), *assets.HANDLERS, *portal_look.HANDLERS, *assets.static_routers()]
