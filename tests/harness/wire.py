"""The wire to the simulated Stripe, in process."""

from __future__ import annotations

import httpx

from returns_service.stripe_simulator import Faults, Ledger, Request, answer_with_fault


class Wire(httpx.AsyncBaseTransport):
    """Carries each request to the simulator, struck by the faults that a test armed; `requests` lists what arrived.

    `down`: no connection at all. `cut_after`: none any more once so many requests have arrived.
    """

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self.ledger, self.faults = ledger, faults
        self.requests: list[str] = []  # "POST /v1/refunds"
        self.down = False
        self.cut_after: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play one request."""
        if self.down or (self.cut_after is not None and len(self.requests) >= self.cut_after):
            raise httpx.ConnectError("cut", request=request)
        self.requests.append(f"{request.method} {request.url.path}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        query, body = request.url.query.decode(), await request.aread()
        received = Request(request.method, request.url.path, query, headers, body)
        answer = answer_with_fault(self.ledger, received, self.faults.draw_fault(received.method, received.path))
        if answer is None:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)
