"""All routes, and the application that serves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders, State
from litestar.types import Message, Scope

from returns_service.web import health, stripe_webhook
from returns_service.web.api import docs
from returns_service.web.api.handler import handler_of
from returns_service.web.connections import bound_bodies
from returns_service.web.context import Context
from returns_service.web.errors import HANDLERS, explain_problem, request_id_in
from returns_service.web.operations import (
    deliveries,
    desk,
    events,
    payments,
    policy,
    portal,
    receipts,
    reconciliations,
    refunds,
    resolutions,
    return_refunds,
    returns,
    unmatched_receipts,
    webhook_endpoints,
)
from returns_service.web.operations.operation import Operation
from returns_service.web.pages.failures import with_pages
from returns_service.web.pages.routes import PAGES, route_handlers

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]] | AbstractAsyncContextManager[None]
OPERATIONS: tuple[Operation, ...] = (
    *returns.OPERATIONS,
    *receipts.OPERATIONS,
    *unmatched_receipts.OPERATIONS,
    *resolutions.OPERATIONS,
    *return_refunds.OPERATIONS,
    *refunds.OPERATIONS,
    *payments.OPERATIONS,
    *policy.OPERATIONS,
    *portal.OPERATIONS,
    *events.OPERATIONS,
    *reconciliations.OPERATIONS,
    *desk.OPERATIONS,
    *webhook_endpoints.OPERATIONS,
    *deliveries.OPERATIONS,
)
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def litestar_app(context: Context, lifespan: Sequence[Lifespan] = ()) -> Litestar:
    """Return the application. `lifespan`: what begins and ends with it."""
    open_to_all = [
        health.healthz, health.readyz, health.metrics, stripe_webhook.stripe_webhook, explain_problem, *docs.HANDLERS,
    ]  # fmt: skip
    return Litestar(
        route_handlers=[*(handler_of(operation) for operation in OPERATIONS), *open_to_all, *route_handlers()],
        exception_handlers=with_pages(HANDLERS),
        before_send=[set_headers],
        middleware=[bound_bodies],
        state=State({"context": context, "operations": OPERATIONS, "pages": PAGES}),
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
    )


async def set_headers(message: Message, scope: Scope) -> None:
    """Give every answer its request id and the headers that keep a browser from guessing; count it."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    headers["Request-Id"] = request_id_in(scope)
    for name, value in SAFE.items():
        headers.setdefault(name, value)
    if scope["path"].startswith("/v1/"):
        headers["Cache-Control"] = "no-store"
    context: Context = scope["litestar_app"].state.context
    route = scope.get("path_template") or "none"
    context.metrics.requests.labels(scope.get("method", ""), route, message["status"]).inc()
