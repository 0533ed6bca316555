"""The worker's whole turn for what is due now, without the loop around it."""

from __future__ import annotations

import asyncio

from returns_service.store.database import Database
from returns_service.stripe_gateway import Gateway
from returns_service.worker.refunds import Till


async def pay_due(db: Database, gateway: Gateway, limit: int = 10) -> int:
    """Work off what is due now; return how many refunds Stripe was asked about."""
    till = Till(db, gateway, budget=1000.0, warm=True)
    turns = await till.claim(limit)
    await asyncio.gather(*(till.pay(turn) for turn in turns))
    return len(turns)
