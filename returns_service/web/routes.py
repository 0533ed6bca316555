"""All routes, and the application that serves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.datastructures import MutableScopeHeaders, State
from litestar.types import Message, Scope

from returns_service.web import health, stripe_webhook
from returns_service.web.access_log import with_access_log
from returns_service.web.api import docs
from returns_service.web.api.handler import handler_of
from returns_service.web.connections import bound_bodies
from returns_service.web.context import Context
from returns_service.web.errors import HANDLERS, explain_problem, request_id_in
from returns_service.web.head import complete_allow, with_head
from returns_service.web.operations import (
    deliveries,
    desk,
    events,
    notes,
    payments,
    policy,
    portal,
    receipts,
    reconciliations,
    refunds,
    resolutions,
    return_batch,
    return_refunds,
    returns,
    second_person,
    unmatched_receipts,
    webhook_endpoints,
)
from returns_service.web.operations.operation import Operation
from returns_service.web.pages.failures import with_pages
from returns_service.web.pages.routes import PAGES, route_handlers
from returns_service.web.rate_limit import STANDING

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]] | AbstractAsyncContextManager[None]
OPERATIONS: tuple[Operation, ...] = (
    *returns.OPERATIONS,
    *return_batch.OPERATIONS,
    *receipts.OPERATIONS,
    *unmatched_receipts.OPERATIONS,
    *resolutions.OPERATIONS,
    *notes.OPERATIONS,
    *return_refunds.OPERATIONS,
    *refunds.OPERATIONS,
    *second_person.OPERATIONS,
    *payments.OPERATIONS,
    *policy.OPERATIONS,
    *portal.OPERATIONS,
    *events.OPERATIONS,
    *reconciliations.OPERATIONS,
    *desk.OPERATIONS,
    *webhook_endpoints.OPERATIONS,
    *deliveries.OPERATIONS,
)
COMPRESSED_FROM_BYTES = 1024
COMPRESSION_LEVEL = 5  # a third of the time of 9, for a few percent more bytes
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
    app = Litestar(
        route_handlers=[*(handler_of(operation) for operation in OPERATIONS), *open_to_all, *route_handlers()],
        exception_handlers=with_pages(HANDLERS),
        before_send=[set_headers],
        middleware=[bound_bodies],
        state=State({"context": context, "operations": OPERATIONS, "pages": PAGES}),
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
        compression_config=CompressionConfig(
            backend="gzip", minimum_size=COMPRESSED_FROM_BYTES, gzip_compress_level=COMPRESSION_LEVEL
        ),
    )
    app.asgi_handler = with_access_log(with_head(app.asgi_handler))
    return app


async def set_headers(message: Message, scope: Scope) -> None:
    """Give every answer its request id and the headers that keep a browser from guessing; count it."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    headers["Request-Id"] = request_id_in(scope)
    for name, value in SAFE.items():
        headers.setdefault(name, value)
    complete_allow(headers, scope)
    if (standing := scope["state"].get(STANDING)) is not None:
        headers["RateLimit-Policy"] = f'"requests";q={standing.quota};w={standing.window_seconds}'
        headers["RateLimit"] = f'"requests";r={standing.left};t={standing.full_in_seconds}'
    if scope["path"].startswith("/v1/"):
        headers["Cache-Control"] = "no-store"
    context: Context = scope["litestar_app"].state.context
    route = scope.get("path_template") or "none"
    context.metrics.requests.labels(scope.get("method", ""), route, message["status"]).inc()
