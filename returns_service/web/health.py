"""For whoever runs it: is it alive, is it ready, and its figures. No key is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from litestar import Request, Response, get
from msgspec import UNSET
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from returns_service.store import schema
from returns_service.store.tables import StripeRefusal
from returns_service.web.context import Context, context_of
from returns_service.web.health_views import HealthView, MissingPartView, ReadinessView

PATIENCE_SECONDS = 5  # a database that takes longer to say one word is not there for callers either
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
    missing = await missing_now(context)
    if missing:
        return ReadinessView("not_ready", missing)
    return ReadinessView("ready", [], await warnings_now(context) or UNSET)


async def warnings_now(context: Context) -> list[MissingPartView]:
    """Return what doesn't bar requests as a whole, and yet needs a person: Stripe refuses the key."""
    async with context.database.reading() as tx:
        subjects = (await tx.execute(select(col(StripeRefusal.subject)).order_by(col(StripeRefusal.subject)))).scalars()
        do = "See the desk for Stripe's own words: `returns-service desk`."
        return [MissingPartView("stripe_refuses", f"{do} It refuses: {subject}.") for subject in subjects]


async def missing_now(context: Context) -> list[MissingPartView]:
    """Return what is missing, each with what to do."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with context.database.reading() as tx:
                await tx.execute(text("SELECT 1"))
            behind = await schema.is_behind(context.database)
    except (SQLAlchemyError, OSError) as error:  # a timeout is an OSError
        log.warning("database.unavailable", error=type(error).__name__)
        return [MissingPartView("database", "Check that DATABASE_URL is right and that the database runs.")]
    return [MissingPartView("schema", "Run `returns-service migrate`.")] if behind else []


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
