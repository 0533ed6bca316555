"""Health: the doctor's lines, for admins."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.doctor import examine, worst
from returns_service.domain.roles import ADMIN
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.rendering import render


@shows("/settings/health", scope=ADMIN, personal=True)
async def show_health(call: PageCall) -> Response[Any]:
    """Check everything now, and say what to do."""
    context = call.context
    findings = await examine(context.settings, context.database, context.gateway)
    return render(call, "health.html", findings=findings, worst=worst(findings))


PAGES: Final[tuple[Page, ...]] = (show_health,)
