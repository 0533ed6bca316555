"""The SDK's connection to Stripe over httpx, and what came back over it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import stripe

from returns_service import tracing
from returns_service.stripe_gateway.classify import WireResponse
from returns_service.timings import STRIPE_CALLS, observe_seconds

# The answer to the call in this task: the SDK forgets the headers of an answer whose body it can't read.
RESPONSE: ContextVar[WireResponse] = ContextVar("response")
# Raised before the first byte of the request left: Stripe can't have acted.
NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Connection(stripe.HTTPClient):
    """The SDK's line to Stripe: one request over httpx, no retries, no threads, no sleep.

    Why not the SDK's own HTTPXClient: it takes no transport, builds a TLS context even for a test, and hides httpx's
    exceptions, which tell what was never sent from what may have arrived.
    """

    name = "httpx"

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__()
        self._http = client

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        response = RESPONSE.get(WireResponse())
        response.subject = urlsplit(url).path.removeprefix("/v1/").partition("/")[0]
        with (
            observe_seconds(STRIPE_CALLS, method.upper(), response.subject),
            tracing.span(f"Stripe {method.upper()} {response.subject}", kind="CLIENT") as span,
        ):
            answer = await self._http.request(method, url, headers=headers, content=post_data)
            span.tell({"http.response.status_code": answer.status_code})
        response.status, response.headers = answer.status_code, answer.headers
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        await self._http.aclose()


async def read_intent(client: stripe.StripeClient, payment_intent: str) -> stripe.StripeResponse:
    """Read a PaymentIntent with its charge and refunds, as Stripe sends it.

    Of an answer as deep as this the SDK would make dozens of objects, and nobody here looks at them.
    """
    path, expand = f"/v1/payment_intents/{quote(payment_intent, safe='')}", ["latest_charge.refunds"]
    answer: stripe.StripeResponse = await client.raw_request_async("get", path, expand=expand)
    return answer


def object_in(answer: stripe.StripeObject | stripe.StripeResponse) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises TypeError for any other JSON."""
    thing: Any = answer.data if isinstance(answer, stripe.StripeResponse) else answer.to_dict(for_json=True)
    if not isinstance(thing, dict):
        raise TypeError("no JSON object")
    return thing


class NoTurn(Exception):
    """As many calls as may be are under way, and none ended in time."""


class Turns:
    """How many calls may be under way at once; each waits for its turn, first come, first served.

    Why not httpx's own pool: it starts a waiting call's time anew whenever another call takes a connection before it.
    """

    def __init__(self, calls: int, wait_seconds: float) -> None:
        self._free, self._wait_seconds = asyncio.Semaphore(calls), wait_seconds

    @asynccontextmanager
    async def take(self, seconds: float) -> AsyncIterator[float]:
        """Lend a turn to a call of at most `seconds`, and tell how many of them are left. Raises NoTurn."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(min(self._wait_seconds, seconds)):
                await self._free.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            yield seconds - (loop.time() - began)
        finally:
            self._free.release()


def tls_check(*, needed: bool) -> ssl.SSLContext | bool:
    """Return the TLS check against the authorities that Stripe ships; building it takes long where it isn't needed."""
    return ssl.create_default_context(cafile=stripe.ca_bundle_path) if needed else False
