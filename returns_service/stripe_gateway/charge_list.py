"""Stripe's list of charges, read for sums."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import structlog

from returns_service.domain.stripe_objects import ListedCharge
from returns_service.stripe_gateway.parse import Unreadable, listed_charge_of

log = structlog.get_logger(__name__)


async def read_charges(
    pages: Callable[..., AsyncIterator[dict[str, Any]]], listing: object, since: datetime, before: datetime
) -> AsyncIterator[ListedCharge]:
    """Yield the charges created between two moments (whole seconds); one that can't be read is logged and left out.

    They are summed for people and decide nothing: one odd charge is no reason to have no sum.
    """
    created = {"gte": int(since.timestamp()), "lt": int(before.timestamp())}
    async for thing in pages(listing, created=created):
        try:
            yield listed_charge_of(thing)
        except Unreadable as error:
            log.warning("stripe.charge_not_read", charge=str(thing.get("id"))[:100], why=str(error))
