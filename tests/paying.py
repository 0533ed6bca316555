"""The worker's whole turn for what is due now, without the loop around it."""

from __future__ import annotations

import asyncio

from returns_service.domain.policy import DEFAULT, Policy
from returns_service.store.database import Database
from returns_service.stripe_gateway import Gateway
from returns_service.worker.refunds import RefundExecutor


async def pay_due(db: Database, gateway: Gateway, policy: Policy = DEFAULT, limit: int = 10) -> int:
    """Work off what is due now; return how many refunds Stripe was asked about."""
    executor = RefundExecutor(db, gateway, policy=policy, budget=1000.0, warm=True)
    scheduled_calls = await executor.claim(limit)
    await asyncio.gather(*(executor.execute(scheduled) for scheduled in scheduled_calls))
    return len(scheduled_calls)
