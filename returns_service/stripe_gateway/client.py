"""The only place that speaks with Stripe, and the only file that imports its SDK.

Out come the dataclasses of `domain.stripe_objects`, never an SDK object or exception.

Why one `try` around every call: between "the answer was no" and "there was no answer" lies the money. `_ask` is where
the two are told apart, so nobody else has to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import stripe
import structlog

from returns_service.domain.plural import pluralize
from returns_service.domain.stripe_objects import (
    ListedCharge,
    Missing,
    PaymentSnapshot,
    RefundSnapshot,
    Refused,
    StripeEventData,
    TryLater,
    Unknown,
)
from returns_service.stripe_gateway.charge_list import read_charges
from returns_service.stripe_gateway.classify import (
    WireResponse,
    as_read,
    is_refusal_of_us,
    is_worth_repeating,
    judge,
    same,
    unreadable,
)
from returns_service.stripe_gateway.connection import (
    NOT_SENT,
    RESPONSE,
    Connection,
    NoTurn,
    Turns,
    object_in,
    read_intent,
    tls_check,
)
from returns_service.stripe_gateway.interface import (
    Gateway,
    StripeChecked,
    StripeSilent,
    Watcher,
    check_refund,
    is_loopback,
    livemode_of,
)
from returns_service.stripe_gateway.key_check import check_key
from returns_service.stripe_gateway.parse import (
    Unreadable,
    demand,
    dispute_of,
    event_data_of,
    is_asked_for,
    payment_of,
    refund_of,
    refunds_within,
)
from returns_service.stripe_gateway.releases import may_hold_release, releases_in

TIMEOUT_SECONDS = 20.0  # Stripe answers refunds within seconds; a lease of 30 s must outlive the call
CONNECT_SECONDS = 5.0  # a handshake that takes longer won't succeed; nothing has been sent by then
IDLE_SECONDS = 4.0  # uvicorn and Node close an idle connection after 5 s; a request just on its way gets no answer
READ_AGAIN_SECONDS = (0.2, 0.8)  # the longest pauses before the second and the third attempt of a read
CONNECTIONS = 100
WAIT_SECONDS = 5.0  # that a call waits for its turn
PAGE = 100  # the most that Stripe lists at once (https://docs.stripe.com/api/pagination)
EVENT_TYPES_AT_ONCE = 20  # `types[]` takes no more (https://docs.stripe.com/api/events/list)

stripe.enable_telemetry = False  # else the SDK writes an id file into the user's configuration folder
logging.getLogger("stripe").setLevel(logging.WARNING)  # at DEBUG the SDK logs whole bodies, customers included
log = structlog.get_logger(__name__)
Call = Callable[[], Awaitable[Any]]  # of an object of the SDK's, or its raw response


class StripeGateway(Gateway):
    """Stripe over its SDK, one client a process. It repeats reads; to repeat a write is the caller's decision."""

    def __init__(
        self,
        secret_key: str,
        *,
        api_base: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        connections: int = CONNECTIONS,
        wait_seconds: float = WAIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare the client; nothing is sent. Raises ValueError for a live key over plain http.

        `connections` is how many calls may be under way at once; another one waits `wait_seconds` for its turn.
        `jitter` draws from 0 to 1: the share of its longest pause that a read waits before it is repeated.
        """
        address = (api_base or stripe.DEFAULT_API_BASE).rstrip("/")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("Stripe's address must begin with https:// or http://")
        loopback = is_loopback(parts.hostname)
        self._livemode = livemode_of(secret_key)
        self._restricted = secret_key.startswith("rk_")
        if self._livemode and parts.scheme == "http" and not loopback:
            raise ValueError("a live Stripe key is never sent over plain http")
        self._timeout_seconds = timeout_seconds
        self._monotonic, self._jitter = monotonic, jitter
        self._watcher: Watcher | None = None
        self._turns = Turns(connections, wait_seconds)
        # Proxies come from the environment, as everywhere; but what listens on this machine is asked directly.
        self._wire = Connection(
            httpx.AsyncClient(
                transport=transport,
                trust_env=not loopback,
                verify=tls_check(needed=transport is None and parts.scheme == "https"),
                timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
                limits=httpx.Limits(
                    max_connections=connections, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS
                ),
            )
        )
        self._client = stripe.StripeClient(
            secret_key, max_network_retries=0, http_client=self._wire, base_addresses={"api": address}
        )
        self._stripe = self._client.v1

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` from now on which calls Stripe lets this key make."""
        self._watcher = watcher

    async def create_refund(
        self, parameters: Mapping[str, Any], *, key: str, not_after: float | None
    ) -> RefundSnapshot | Refused | TryLater | Unknown:
        """Send exactly `parameters` under idempotency `key`. Raises ValueError, with nothing sent; see check_refund."""
        check_refund(parameters, key)
        seconds = self._timeout_seconds
        if not_after is not None:
            seconds = min(seconds, not_after - self._monotonic())
        if seconds <= 0:
            return TryLater("lease_over", "The time for this call was over before it began; nothing was sent")
        sent = cast("Any", dict(parameters))
        answer = await self._refund(
            lambda: self._stripe.refunds.create_async(sent, {"idempotency_key": key}), self._ask, seconds
        )
        if isinstance(answer, RefundSnapshot) and not is_asked_for(answer, parameters):
            # Something answers that isn't our request. To believe it would settle the wrong refund.
            log.error("stripe_answered_with_another_refund", stripe_refund=answer.id, key=key)
            return Unknown("other_refund", f"Stripe answered with another refund, {answer.id}", answer.replayed)
        return answer

    async def retrieve_refund(self, stripe_refund: str) -> RefundSnapshot | Missing | TryLater | Unknown:
        """Read one refund afresh."""
        answer = await self._refund(lambda: self._stripe.refunds.retrieve_async(stripe_refund), self._read)
        return as_read(same(answer, stripe_refund))

    async def cancel_refund(self, stripe_refund: str, *, key: str) -> RefundSnapshot | Refused | TryLater | Unknown:
        """Cancel a refund that waits for the customer; https://docs.stripe.com/api/refunds/cancel."""
        if not key:
            raise ValueError("a cancellation needs its key")
        answer = await self._refund(
            lambda: self._stripe.refunds.cancel_async(stripe_refund, None, {"idempotency_key": key}), self._ask
        )
        return same(answer, stripe_refund)

    async def read_payment(
        self, *, payment_intent: str | None = None, charge: str | None = None
    ) -> PaymentSnapshot | Missing | TryLater | Unknown:
        """Read a payment, its charge, all its refunds and, where it is disputed, its disputes."""
        if bool(payment_intent) == bool(charge):
            raise ValueError("read_payment takes a payment_intent or a charge, and not both")
        try:
            return await self._payment(payment_intent, charge)
        except StripeSilent as silence:
            return as_read(silence.answer)
        except Unreadable as error:
            return Unknown("unreadable_answer", f"Stripe's answer about this payment: {error}")

    async def refunds_since(self, since: datetime, before: datetime | None = None) -> AsyncIterator[RefundSnapshot]:
        """Yield all refunds created since (and before, whole seconds), newest first.

        A refund that can't be read hides no other: the others are yielded first, then StripeSilent tells of it.
        """
        unread: list[str] = []
        created = {"gte": int(since.timestamp())} | ({"lt": int(before.timestamp())} if before else {})
        async for thing in self._all(self._stripe.refunds.list_async, created=created):
            try:
                yield refund_of(thing)
            except Unreadable as error:
                unread.append(f"{thing.get('id')}: {error}")
        if unread:
            raise StripeSilent(
                Unknown("unreadable_answer", f"{pluralize(len(unread), 'refund')} couldn't be read: {unread[0]}")
            )

    def charges_between(self, since: datetime, before: datetime) -> AsyncIterator[ListedCharge]:
        """Yield all charges created since and before (whole seconds), newest first. Raises StripeSilent."""
        return read_charges(self._all, self._stripe.charges.list_async, since, before)

    async def events_since(
        self, since: datetime, types: Sequence[str], *, only_undelivered: bool = False
    ) -> AsyncIterator[StripeEventData]:
        """Yield the events of `types` since, newest first. `only_undelivered`: those Stripe couldn't deliver yet."""
        if not 0 < len(types) <= EVENT_TYPES_AT_ONCE:
            raise ValueError(f"Stripe lists 1 to {EVENT_TYPES_AT_ONCE} event types at once")
        filters: dict[str, Any] = {"created": {"gte": int(since.timestamp())}, "types": list(types)}
        undelivered = {"delivery_success": False} if only_undelivered else {}
        async for event in self._all(self._stripe.events.list_async, **filters, **undelivered):
            try:
                news = event_data_of(event, json.dumps(event))
            except Unreadable as error:
                raise StripeSilent(Unknown("unreadable_answer", f"An event in Stripe's list: {error}")) from None
            yield news

    async def read_account(self) -> str | Missing | TryLater | Unknown:
        """Return the id of the account that the key belongs to: https://docs.stripe.com/api/accounts/retrieve."""
        try:
            account = await self._read(
                self._stripe.accounts.retrieve_current_async, response=WireResponse(watched=False)
            )
        except StripeSilent as silence:
            return as_read(silence.answer)
        name = account.get("id")
        return name if isinstance(name, str) else Unknown("unreadable_answer", "Stripe's account has no id")

    async def check(self) -> StripeChecked:
        """Try the key, what a restricted one may do, and list the webhook endpoints."""
        checked = StripeChecked(None, self._livemode, api_version=stripe.api_version)
        endpoints = self._all(self._stripe.webhook_endpoints.list_async, watched=False)
        return await check_key(self._stripe, self._ask, endpoints, checked, restricted=self._restricted)

    async def take_test_payment(self, amount: int, currency: str, method: str) -> str:
        """Pay `amount` minor units by a test method of Stripe's; return the PaymentIntent's id. Raises StripeSilent."""
        if self._livemode:
            raise ValueError("test payments are for test keys")
        asked: Any = {"amount": amount, "currency": currency, "payment_method": method, "confirm": True}
        return str((await self._ask(lambda: self._stripe.payment_intents.create_async(asked)))["id"])

    async def close(self) -> None:
        """Close all connections."""
        await self._wire.close_async()

    async def _payment(self, payment_intent: str | None, charge: str | None) -> PaymentSnapshot:
        intent: dict[str, Any] | None = None
        paid: Any = None
        if charge is not None and payment_intent is None:
            paid = await self._charge(charge)
            owner = paid.get("payment_intent")
            payment_intent = owner.get("id") if isinstance(owner, dict) else owner
        if payment_intent:
            intent = await self._read(partial(read_intent, self._client, payment_intent))
            demand(intent, "payment_intent", payment_intent)
            paid = intent.get("latest_charge")
            if isinstance(paid, str):  # not every server expands
                paid = await self._charge(paid)
        by: dict[str, Any] = {"payment_intent": payment_intent} if payment_intent else {"charge": charge}
        charged = paid if isinstance(paid, dict) else None
        released, things = frozenset[str](), refunds_within(paid)
        if may_hold_release(intent, charged):
            things = await self._refunds_with_balance(by)
            released = releases_in(paid, things)
        elif things is None:  # more than Stripe keeps in the charge
            things = [thing async for thing in self._all(self._stripe.refunds.list_async, **by)]
        refunds = [refund_of(thing) for thing in things]
        disputes = []
        if charged is not None and charged.get("disputed"):
            listing = self._all(self._stripe.disputes.list_async, charge=str(charged.get("id")))
            disputes = [dispute_of(thing) async for thing in listing]
            if not disputes:  # refunding while a dispute may be open pays twice, so an empty list isn't believed
                raise Unreadable("the charge is disputed, yet has no dispute")
        return payment_of(intent, charged, refunds, disputes, released)

    async def _refunds_with_balance(self, by: Mapping[str, Any]) -> list[dict[str, Any]]:
        """List a payment's refunds with their balance transactions; without, where the key may not read those."""
        listing, expand = self._stripe.refunds.list_async, ["data.balance_transaction"]
        try:
            return [thing async for thing in self._all(listing, watched=False, expand=expand, **by)]
        except StripeSilent as silence:
            if not is_refusal_of_us(silence.answer):
                raise
        return [thing async for thing in self._all(listing, **by)]

    async def _charge(self, charge: str) -> dict[str, Any]:
        found = await self._read(lambda: self._stripe.charges.retrieve_async(charge, {"expand": ["refunds"]}))
        demand(found, "charge", charge)
        return found

    async def _refund(
        self, call: Call, ask: Callable[..., Awaitable[dict[str, Any]]], seconds: float | None = None
    ) -> RefundSnapshot | Refused | TryLater | Unknown:
        response = WireResponse()
        try:
            return refund_of(await ask(call, seconds, response), replayed=response.replayed)
        except StripeSilent as silence:
            return silence.answer
        except Unreadable:
            return unreadable(response)

    async def _all(
        self, listing: Callable[..., Awaitable[Any]], *, watched: bool = True, **filters: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield every object of a list, page by page, each page with a time limit of its own."""
        cursor: dict[str, str] = {}
        while True:
            parameters = {**filters, **cursor, "limit": PAGE}
            page = await self._read(partial(listing, parameters), response=WireResponse(watched=watched))
            things, more = page.get("data"), page.get("has_more")
            if not isinstance(things, list) or not isinstance(more, bool) or (more and not things):
                raise StripeSilent(Unknown("unreadable_answer", "Stripe's list isn't one"))
            for thing in things:
                yield thing if isinstance(thing, dict) else {}
            if not more:
                return
            last = things[-1].get("id") if isinstance(things[-1], dict) else None
            if not isinstance(last, str) or last == cursor.get("starting_after"):
                raise StripeSilent(Unknown("unreadable_answer", "Stripe's list doesn't go on"))
            cursor = {"starting_after": last}

    async def _read(
        self, call: Call, seconds: float | None = None, response: WireResponse | None = None
    ) -> dict[str, Any]:
        """Ask, and where no answer came ask twice more, all within the time of one call; else as `_ask`.

        A read moves nothing, so it may be repeated: https://docs.stripe.com/error-low-level#network-errors.
        """
        response = response if response is not None else WireResponse()
        end = self._monotonic() + (seconds if seconds is not None else self._timeout_seconds)
        for longest in READ_AGAIN_SECONDS:
            try:
                return await self._ask(call, end - self._monotonic(), response)
            except StripeSilent as silence:
                pause = longest * self._jitter()
                if not is_worth_repeating(response, silence.answer) or self._monotonic() + pause >= end:
                    raise
                log.info("stripe.read_repeated", answer=silence.answer.code, why=silence.answer.message)
            await asyncio.sleep(pause)
        return await self._ask(call, end - self._monotonic(), response)

    async def _ask(
        self, call: Call, seconds: float | None = None, response: WireResponse | None = None
    ) -> dict[str, Any]:
        """Return the object of a 2xx answer. Raises StripeSilent for all else, CancelledError when cancelled."""
        response = response if response is not None else WireResponse()
        try:
            thing = await self._send(call, seconds, response)
        except StripeSilent as silence:
            if self._watcher is not None and response.watched and is_refusal_of_us(silence.answer):
                await self._watcher(response.subject, silence.answer)
            raise
        if self._watcher is not None and response.watched:
            await self._watcher(response.subject, None)
        return thing

    async def _send(self, call: Call, seconds: float | None, response: WireResponse) -> dict[str, Any]:
        response.status, response.headers = 0, {}
        token = RESPONSE.set(response)
        try:
            async with (
                self._turns.take(seconds if seconds is not None else self._timeout_seconds) as left_seconds,
                asyncio.timeout(left_seconds),
            ):
                return object_in(await call())
        except NoTurn:
            # That we have many calls under way says nothing about Stripe: it isn't counted as Stripe's failure.
            raise StripeSilent(TryLater("no_free_connection", "All our connections to Stripe are in use")) from None
        except NOT_SENT as error:
            why = f"No connection to Stripe: {type(error).__name__}"
            raise StripeSilent(TryLater("no_connection", why, everyone=True)) from None
        except (TimeoutError, httpx.TimeoutException):
            raise StripeSilent(Unknown("timeout", "Stripe didn't answer in time")) from None
        except (httpx.HTTPError, OSError) as error:
            raise StripeSilent(Unknown("no_answer", f"The line was cut: {type(error).__name__}")) from None
        except stripe.StripeError as error:
            # The SDK's own message isn't passed on: for a body it can't read, it quotes all of it.
            body = error.json_body.get("error") if isinstance(error.json_body, dict) else None
            raise StripeSilent(judge(response, body if isinstance(body, dict) else None)) from None
        except Exception as error:  # noqa: BLE001 - an answer so odd that the SDK stumbles over it
            # No traceback in the log: its locals are the key and the customer's data.
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("stripe_sdk_stumbled", error=type(error).__name__, at=f"{where.name}:{where.lineno}")
            raise StripeSilent(unreadable(response)) from None
        finally:
            RESPONSE.reset(token)
