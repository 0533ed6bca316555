"""API keys of requests: `Authorization: Bearer rsk_…`, found by its hash and checked against the operation's scope."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from litestar import Request
from litestar.background_tasks import BackgroundTask
from sqlalchemy import update
from sqlmodel import col

from returns_service.commands.api_keys import key_in_force
from returns_service.commands.tokens import LONGEST_TOKEN, hash_token
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Scope
from returns_service.store.database import Database, Tx
from returns_service.store.tables import ApiKey
from returns_service.web.context import Context, context_of
from returns_service.web.errors import ACTOR
from returns_service.web.rate_limit import STANDING, Limiter

USE_SHOWN_AFTER = timedelta(minutes=1)  # `last_used_at` tells people whether a key is still needed, not when exactly
log = structlog.get_logger("returns.http")


async def authenticate(request: Request[Any, Any, Any], tx: Tx, scope: Scope) -> ApiKey:
    """Return the key in force that this request brings. Raises Problem: unauthorized, rate_limited, …

    An address that collects refusals is refused before the look-up, so that guessing costs the database nothing.
    """
    context, address = context_of(request), address_of(request)
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    bearer = kind.lower() == "bearer" and 0 < len(secret) <= LONGEST_TOKEN
    mark = hash_token(secret) if bearer else ""
    if context.failed_logins.is_exhausted(address) and mark not in context.recent_keys:
        raise Problem("rate_limited", retry_after=1)
    key = await key_in_force(tx, secret) if bearer else None
    if key is None:
        count(request, context.failed_logins, address)
        raise Problem("unauthorized")
    context.recent_keys.add(mark)
    request.scope["state"][ACTOR] = key.id
    count(request, context.keys, key.id)
    if scope not in key.scopes and "admin" not in key.scopes:
        raise Problem("insufficient_scope", f"It needs {scope}.", required_scope=scope)
    return key


def address_of(request: Request[Any, Any, Any]) -> str:
    """Return the caller's address: the connection's, or what a trusted proxy says (`RETURNS_TRUSTED_PROXIES`)."""
    return request.client.host if request.client else ""


def count(request: Request[Any, Any, Any], limiter: Limiter, caller: str) -> None:
    """Count a request, and keep the caller's standing for the answer. Raises Problem rate_limited."""
    wait_seconds = limiter.wait_seconds(caller)
    request.scope["state"][STANDING] = limiter.standing(caller)
    if wait_seconds > 0:
        raise Problem("rate_limited", retry_after=wait_seconds)


def touch_last_used(context: Context, key: ApiKey) -> BackgroundTask | None:
    """Return what keeps `last_used_at` current, to be done after the answer has gone; None where it is."""
    now = context.database.now()
    if key.last_used_at is not None and now - key.last_used_at < USE_SHOWN_AFTER:
        return None
    return BackgroundTask(_write_last_used, context.database, key.id)


async def _write_last_used(database: Database, key_id: str) -> None:
    try:
        async with database.transaction() as tx:
            await tx.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=tx.now))
    except Exception as error:  # noqa: BLE001 - the request was answered; a time that is a minute old hurts nobody
        log.warning("key.use_not_noted", error=type(error).__name__)
