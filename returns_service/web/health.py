"""For whoever runs it: is it alive, is it ready, and its figures. No key is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from litestar import Request, Response, get
from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from returns_service.store import schema
from returns_service.store.database import Tx, takes_writes
from returns_service.store.tables import StripeRefusal
from returns_service.web.context import Context, context_of
from returns_service.web.health_views import HealthView, MissingPartView, ReadinessView

PATIENCE_SECONDS = 3  # a database that takes longer to say one word is not there for callers either
AWAY = "Check that DATABASE_URL is right and that the database runs, and answers."
TAKES_NO_WRITES = "Let DATABASE_URL lead to the primary, or make room: the database takes no writes."
log = structlog.get_logger("returns.health")


@get("/healthz", include_in_schema=False, name="healthz")
async def healthz() -> HealthView:
    """Say that the process is alive."""
    return HealthView("ok")


@get("/readyz", include_in_schema=False, name="readyz")
async def readyz(request: Request[Any, Any, Any]) -> Response[ReadinessView]:
    """Say whether requests can be served, and what is missing if not."""
    context = context_of(request)
    view = await context.readiness.read(lambda: readiness_now(context))
    return Response(view, status_code=200 if view.status == "ready" else 503)


async def readiness_now(context: Context) -> ReadinessView:
    """Return whether requests can be served, and what is missing if not."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with context.database.reading() as tx:
                if not await takes_writes(tx):
                    return ReadinessView("not_ready", [MissingPartView("database", TAKES_NO_WRITES)])
            if await schema.is_behind(context.database):
                return ReadinessView("not_ready", [MissingPartView("schema", "Run `returns-service migrate`.")])
            return ReadinessView("ready", [], await context.database.read(warnings_now) or UNSET)
    except (SQLAlchemyError, OSError) as error:  # a timeout is an OSError
        log.warning("database.unavailable", error=type(error).__name__)
        return ReadinessView("not_ready", [MissingPartView("database", AWAY)])


async def warnings_now(tx: Tx) -> list[MissingPartView]:
    """Return what doesn't bar requests as a whole, and yet needs a person: Stripe refuses the key."""
    subjects = (await tx.execute(select(col(StripeRefusal.subject)).order_by(col(StripeRefusal.subject)))).scalars()
    do = "See the desk for Stripe's own words: `returns-service desk`."
    return [MissingPartView("stripe_refuses", f"{do} It refuses: {subject}.") for subject in subjects]


@get("/metrics", include_in_schema=False, name="metrics")
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the figures for Prometheus; without the database, those of this process alone."""
    context = context_of(request)
    text = await context.figures.read(lambda: figures_now(context))
    return Response(text, media_type="text/plain; version=0.0.4")


async def figures_now(context: Context) -> bytes:
    """Return the figures as text."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), context.database.reading() as tx:
            await context.metrics.look(tx)
    except (SQLAlchemyError, OSError):
        context.metrics.database.set(0)
    return context.metrics.text()
