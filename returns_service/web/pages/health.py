"""Health: the doctor's lines, for admins."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.doctor import LEVELS, examine, worst
from returns_service.domain.roles import ADMIN
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.rendering import render

LABELS: Final = {
    "stripe_key": "Stripe’s key",
    "stripe_permissions": "Permissions",
    "stripe_api_version": "API version",
    "stripe_webhook": "Webhook from Stripe",
    "stripe_deliveries": "Deliveries from Stripe",
    "stripe_webhook_secret": "Webhook’s secret",
    "oldest_refund": "Oldest refund",
    "public_url": "Our address",
    "sign_in_provider": "Sign-in provider",
}  # the others are words already


@shows("/settings/health", scope=ADMIN, personal=True)
async def show_health(call: PageCall) -> Response[Any]:
    """Check everything now, and say what to do."""
    context = call.context
    findings = await examine(context.settings, context.database, context.gateway, context.provider)
    findings = sorted(findings, key=lambda finding: LEVELS.index(finding.level), reverse=True)
    return render(call, "health.html", findings=findings, worst=worst(findings), labels=LABELS)


PAGES: Final[tuple[Page, ...]] = (show_health,)
