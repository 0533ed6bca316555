"""A worker that kills itself, as a power cut would, at a named point of its n-th call to Stripe.

Its arguments: `before_call|in_call|after_call|before_commit N`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from returns_service import cli
from returns_service.stripe_gateway import StripeGateway
from returns_service.worker import refunds

IN_CALL_SECONDS = 0.03


def die() -> None:
    """End at once: no cleanup, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash_at(point: str, calls: int) -> None:
    """Let the n-th call die at `point`."""
    room: Any = refunds
    create, record = StripeGateway.create_refund, room.record_attempt
    counted = 0

    async def create_refund(self: StripeGateway, *args: Any, **kwargs: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted < calls or point == "before_commit":
            return await create(self, *args, **kwargs)
        if point == "before_call":
            die()
        if point == "in_call":
            asyncio.get_running_loop().call_later(IN_CALL_SECONDS, die)
        answer = await create(self, *args, **kwargs)
        die()
        return answer

    async def record_attempt(*args: Any) -> Any:
        row = await record(*args)
        if point == "before_commit" and counted >= calls:
            await args[0].flush()
            die()
        return row

    gateway: Any = StripeGateway
    gateway.create_refund = create_refund
    room.record_attempt = record_attempt


def main() -> None:
    """Run the worker that will crash."""
    crash_at(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["returns-service", "worker"]
    cli.main()
