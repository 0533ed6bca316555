"""Taking in one of Stripe's webhooks: verified, stored, folded, answered; against a route that verifies and stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from returns_service.stripe_simulator import signature_of
from tests.bench.requests import Both, Call, MakeCall, measure_requests
from tests.bench.result import Row
from tests.harness.shop import SECRET

AIM = 0.3


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare intakes."""
    return await measure_requests("webhook", AIM, (200, 800), rounds, on_round, _calls)


async def _calls(both: Both) -> tuple[MakeCall, MakeCall]:
    """Return calls with Stripe's news of one refund, each as an event of its own."""
    event = both.service.facts.rows["stripe_event"][-1]

    def call(target: object, number: int) -> Call:
        body = event["payload"].replace(event["id"], f"evt_{uuid4().hex}").encode()
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature_of(body, SECRET, time.time())}
        return Call("POST", "/webhooks/stripe", headers, body)

    return call, call
