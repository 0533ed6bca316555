"""A worker that kills itself, as a power cut would, at a named point of its n-th call to Stripe.

`python -m tests.processes.dying before_call|in_call|after_call|before_commit N`
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


def doom(point: str, calls: int) -> None:
    """Let the n-th call die at `point`."""
    room: Any = refunds
    asks, writes_back = StripeGateway.create_refund, room.answered
    counted = 0

    async def create_refund(self: StripeGateway, *args: Any, **kwargs: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted < calls or point == "before_commit":
            return await asks(self, *args, **kwargs)
        if point == "before_call":
            die()
        if point == "in_call":
            asyncio.get_running_loop().call_later(IN_CALL_SECONDS, die)
        answer = await asks(self, *args, **kwargs)
        die()
        return answer

    async def answered(*args: Any) -> Any:
        row = await writes_back(*args)
        if point == "before_commit" and counted >= calls:
            await args[0].flush()
            die()
        return row

    gateway: Any = StripeGateway
    gateway.create_refund = create_refund
    room.answered = answered


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["returns-service", "worker"]
    cli.main()
