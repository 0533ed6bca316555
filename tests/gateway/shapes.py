"""Stripe's objects as Stripe sends them, and a line on which any answer can be put."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx

from returns_service.stripe_gateway import StripeGateway

KEY = "sk_" + "test_" + "x"
CREATED = 1_790_000_000  # Unix seconds
PARAMETERS = {
    "payment_intent": "pi_1",
    "amount": 1250,
    "reason": "requested_by_customer",
    "metadata": {"refund_id": "rfd_1", "order_id": "1001 & Söhne"},
}

Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Awaitable[httpx.Response]]


def refund(**changes: Any) -> dict[str, Any]:
    """A refund that succeeded at once."""
    return {
        "id": "re_1",
        "object": "refund",
        "amount": 1250,
        "balance_transaction": "txn_1",
        "charge": "ch_1",
        "created": CREATED,
        "currency": "eur",
        "customer": None,
        "customer_account": None,
        "destination_details": {
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
            "type": "card",
        },
        "metadata": {"refund_id": "rfd_1", "order_id": "1001 & Söhne"},
        "payment_intent": "pi_1",
        "payment_method": "pm_1",
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    } | changes


def charge(**changes: Any) -> dict[str, Any]:
    """A captured card charge."""
    return {
        "id": "ch_1",
        "object": "charge",
        "amount": 5000,
        "amount_captured": 5000,
        "amount_refunded": 1250,
        "application_fee": None,
        "application_fee_amount": None,
        "captured": True,
        "created": CREATED,
        "currency": "eur",
        "disputed": False,
        "livemode": False,
        "on_behalf_of": None,
        "payment_intent": "pi_1",
        "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242"}},
        "status": "succeeded",
        "transfer_data": None,
    } | changes


def intent(**changes: Any) -> dict[str, Any]:
    """A PaymentIntent that was paid, its charge expanded."""
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 5000,
        "amount_received": 5000,
        "application_fee_amount": None,
        "created": CREATED,
        "currency": "eur",
        "latest_charge": charge(),
        "livemode": False,
        "on_behalf_of": None,
        "status": "succeeded",
        "transfer_data": None,
    } | changes


def dispute(**changes: Any) -> dict[str, Any]:
    """A formal dispute."""
    return {
        "id": "du_1",
        "object": "dispute",
        "amount": 5000,
        "charge": "ch_1",
        "created": CREATED,
        "currency": "eur",
        "evidence_details": {"due_by": CREATED + 9 * 86_400, "has_evidence": False},
        "is_charge_refundable": False,
        "livemode": False,
        "payment_intent": "pi_1",
        "reason": "fraudulent",
        "status": "needs_response",
    } | changes


def event(kind: str = "refund.updated", thing: Any = None, **changes: Any) -> dict[str, Any]:
    """A snapshot event."""
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": refund() if thing is None else thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    } | changes


def listing(*things: Any, more: bool = False) -> dict[str, Any]:
    """One page of a list."""
    return {"object": "list", "url": "/v1/things", "has_more": more, "data": list(things)}


def error(status: int, headers: dict[str, str] | None = None, **said: Any) -> httpx.Response:
    """Stripe's refusal."""
    body = {"error": {"type": "invalid_request_error", "message": "No."} | said}
    return httpx.Response(status, json=body, headers={"Request-Id": "req_1"} | (headers or {}))


def ok(thing: Any, **headers: str) -> httpx.Response:
    """Stripe's yes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, json=thing, headers={"Request-Id": "req_1"} | names)


class Line:
    """A gateway whose every request is kept and answered by `answer`."""

    def __init__(self, answer: Answer | httpx.Response | Exception, **settings: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        unhurried: dict[str, Any] = {"jitter": lambda: 0.0, **settings}
        self.gateway = StripeGateway(KEY, transport=httpx.MockTransport(self._handle), **unhurried)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        if isinstance(self._answer, httpx.Response):
            return self._answer
        answer = self._answer(request)
        return answer if isinstance(answer, httpx.Response) else await answer

    def form(self, number: int = 0) -> dict[str, str]:
        """The body of one request."""
        return dict(parse_qsl(self.requests[number].content.decode()))


def routes(**answers: Any) -> Callable[[httpx.Request], httpx.Response]:
    """Answer by the path's words: `payment_intents__pi_1={...}` is GET /v1/payment_intents/pi_1; an error is raised."""

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/v1/").replace("/", "__")
        if name not in answers:
            return error(404, code="resource_missing", message=f"No such thing: {request.url.path}")
        found = answers[name]
        if isinstance(found, httpx.TransportError):
            raise found
        return found if isinstance(found, httpx.Response) else ok(found)

    return answer


def body(thing: Any) -> bytes:
    """An event's body as Stripe formats it."""
    return json.dumps(thing, indent=2).encode()
