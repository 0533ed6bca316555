"""What goes over the wire, and what comes back when Stripe says yes."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_objects import RefundSnapshot, TryLater, Unknown
from returns_service.stripe_gateway import StripeGateway, livemode_of
from tests.gateway.shapes import (
    CREATED,
    KEY,
    PARAMETERS,
    Line,
    charge,
    intent,
    ok,
    refund,
)

SINCE = datetime.fromtimestamp(CREATED, UTC)
LIVE = "sk_" + "live_" + "x"


async def test_the_committed_parameters_go_out_unchanged() -> None:
    line = Line(ok(refund()))
    await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None)
    request = line.requests[0]
    assert (request.method, str(request.url)) == ("POST", "https://api.stripe.com/v1/refunds")
    assert request.headers["Idempotency-Key"] == "rfd_1:1"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Stripe-Version"] == "2026-10-28.endive"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "X-Stripe-Client-Telemetry" not in request.headers
    assert line.form() == {
        "payment_intent": "pi_1",
        "amount": "1250",
        "reason": "requested_by_customer",
        "metadata[refund_id]": "rfd_1",
        "metadata[order_id]": "1001 & Söhne",
    }


async def test_the_same_parameters_give_the_same_bytes() -> None:
    line = Line(ok(refund()))
    for _ in range(2):
        await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None)
    assert line.requests[0].content == line.requests[1].content


async def test_a_refund_comes_back_in_our_words() -> None:
    line = Line(ok(refund()))
    assert await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None) == RefundSnapshot(
        id="re_1",
        status="succeeded",
        amount=1250,
        currency="eur",
        payment_intent="pi_1",
        charge="ch_1",
        created=SINCE,
        reason="requested_by_customer",
        metadata={"refund_id": "rfd_1", "order_id": "1001 & Söhne"},
        arrival_kind="refund",
    )


async def test_a_stored_yes_says_that_it_is_old() -> None:
    line = Line(ok(refund(status="pending"), Idempotent_Replayed="true"))
    seen = await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None)
    assert isinstance(seen, RefundSnapshot)
    assert seen.replayed


@pytest.mark.parametrize(
    "sent,change",
    [
        ({"charge": "ch_1", "amount": 1250}, {"payment_intent": None}),
        ({"charge": "ch_1", "amount": 1250}, {"charge": charge()}),
        ({"payment_intent": "pi_1", "amount": 1250}, {"payment_intent": intent(), "metadata": {"a": "b"}}),
    ],
)
async def test_links_may_be_expanded(sent: dict[str, Any], change: dict[str, Any]) -> None:
    line = Line(ok(refund(**change)))
    seen = await line.gateway.create_refund(sent, key="k", not_after=None)
    assert isinstance(seen, RefundSnapshot)
    assert seen.charge == "ch_1"


@pytest.mark.parametrize(
    "sent,key",
    [
        (PARAMETERS, ""),
        (PARAMETERS | {"amount": None}, "k"),
        (PARAMETERS | {"amount": 0}, "k"),
        (PARAMETERS | {"amount": True}, "k"),
        (PARAMETERS | {"amount": 12.5}, "k"),
        ({"amount": 1250}, "k"),
        (PARAMETERS | {"charge": "ch_1"}, "k"),
    ],
)
async def test_a_refund_without_key_amount_or_payment_is_never_sent(sent: dict[str, Any], key: str) -> None:
    line = Line(ok(refund()))
    with pytest.raises(ValueError, match="a refund needs"):
        await line.gateway.create_refund(sent, key=key, not_after=None)
    assert not line.requests


@pytest.mark.parametrize("late", [0.0, 0.5, 86400.0])
async def test_once_the_lease_is_over_nothing_is_sent(late: float) -> None:
    line = Line(ok(refund()), monotonic=lambda: 1000.0 + late)
    seen = await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=1000.0)
    assert isinstance(seen, TryLater)
    assert (seen.code, seen.everyone) == ("lease_over", False)
    assert not line.requests


async def test_a_call_ends_with_its_lease() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    line = Line(never, monotonic=lambda: 1000.0)
    seen = await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=1000.05)
    assert isinstance(seen, Unknown)
    assert seen.code == "timeout"


async def test_statuses_reasons_and_references_are_read() -> None:
    action = {"type": "display_details", "display_details": {"expires_at": CREATED}}
    line = Line(
        ok(
            refund(
                status="failed",
                failure_reason="declined",
                pending_reason="processing",
                next_action=action,
                reason="expired_uncaptured_charge",
                destination_details={"type": "card", "card": {"type": "reversal", "reference": "ARN7"}},
                metadata={"n": "1", "odd": 5},
            )
        )
    )
    seen = await line.gateway.retrieve_refund("re_1")
    assert isinstance(seen, RefundSnapshot)
    assert (seen.status, seen.failure_reason, seen.pending_reason) == ("failed", "declined", "processing")
    assert (seen.next_action, seen.reason) == (action, "expired_uncaptured_charge")
    assert (seen.arrival_reference, seen.arrival_kind) == ("ARN7", "reversal")
    assert seen.metadata == {"n": "1"}


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "1250"},
        {"amount": -1},
        {"amount": 2**63},
        {"amount": True},
        {"created": None},
        {"created": 10**18},
        {"currency": None},
        {"payment_intent": 7},
        {"status": 7},
        {"object": "charge"},
    ],
)
async def test_a_refund_that_lacks_what_it_must_have_isnt_believed(change: dict[str, Any]) -> None:
    line = Line(ok(refund(**change)))
    seen = await line.gateway.retrieve_refund("re_1")
    assert isinstance(seen, Unknown)
    assert seen.code == "unreadable_answer"


async def test_a_refund_without_a_status_is_taken_for_pending() -> None:
    seen = await Line(ok(refund(status=None))).gateway.retrieve_refund("re_1")
    assert isinstance(seen, RefundSnapshot)
    assert seen.status == "pending"


@pytest.mark.parametrize(
    "key,livemode",
    [(KEY, False), (LIVE, True), ("rk_" + "live_x", True), ("nonsense", None), ("", None)],
)
def test_a_key_tells_its_mode(key: str, livemode: bool | None) -> None:
    assert livemode_of(key) is livemode


@pytest.mark.parametrize(
    "base,key",
    [("http://stripe.example.com", LIVE), ("ftp://127.0.0.1", KEY), ("nonsense", KEY)],
)
def test_a_live_key_never_travels_in_the_open(base: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"http"):
        StripeGateway(key, api_base=base)


@pytest.mark.parametrize(
    "base,proxied",
    [
        ("http://127.0.0.1:9/", False),
        ("http://localhost:9", False),
        ("http://[::1]:9", False),
        ("http://stripe.test:9", True),
    ],
)
async def test_only_this_machine_is_asked_without_a_proxy(
    base: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    asked: list[str] = []

    async def refuse(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append("proxy" if getattr(self._pool, "_proxy_url", None) else "direct")
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", refuse)
    gateway = StripeGateway(KEY, api_base=base, jitter=lambda: 0.0)
    assert isinstance(await gateway.retrieve_refund("re_1"), TryLater)
    await gateway.close()
    assert set(asked) == {"proxy" if proxied else "direct"}


async def test_bodies_and_keys_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line = Line(ok(refund(metadata={"refund_id": "canary"})))
    await line.gateway.retrieve_refund("re_1")
    assert "canary" not in caplog.text
    assert KEY not in caplog.text
