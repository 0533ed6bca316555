"""Over real HTTP, as Stripe's own SDK sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from random import Random

import httpx
import pytest
import stripe

from returns_service.stripe_simulator import Faults, Ledger, Settings, running, serve
from tests.simulator.receiver import Receiver, receiving
from tests.simulator.shop import KEY, SECRET

stripe.enable_telemetry = False

# The SDK still hands httpx its body under the older name.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
async def ledger() -> Ledger:
    return Ledger(time.time, Random(7), settings=Settings(settle_seconds=0.05, retry_seconds=0.02))


@pytest.fixture
async def faults() -> Faults:
    return Faults(Random(8))


@pytest.fixture
async def address(ledger: Ledger, faults: Faults) -> AsyncIterator[str]:
    async with running(ledger, faults) as address:
        yield address


@pytest.fixture
async def sdk(address: str) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.HTTPXClient(timeout=5)
    yield stripe.StripeClient(KEY, base_addresses={"api": address}, http_client=http)
    await http.close_async()  # type: ignore[no-untyped-call]


@pytest.fixture
async def receiver(ledger: Ledger) -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        ledger.add_endpoint(receiver.url, SECRET, ["refund.created", "refund.updated", "refund.failed"])
        yield receiver


async def pay(sdk: stripe.StripeClient, amount: int = 5000, card: str = "pm_card_visa") -> str:
    """Return the id of a paid PaymentIntent."""
    intent = await sdk.v1.payment_intents.create_async(
        {"amount": amount, "currency": "usd", "payment_method": card, "confirm": True}
    )
    return intent.id


async def refund(sdk: stripe.StripeClient, intent: str, key: str) -> stripe.Refund:
    """Ask for 100 of `intent`."""
    return await sdk.v1.refunds.create_async(
        {"payment_intent": intent, "amount": 100, "metadata": {"refund_id": "rfd_1"}}, {"idempotency_key": key}
    )


async def test_the_sdk_pays_refunds_and_reads(sdk: stripe.StripeClient) -> None:
    intent = await pay(sdk)
    first = await refund(sdk, intent, "k1")
    again = await refund(sdk, intent, "k1")
    assert first.id == again.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    seen = await sdk.v1.payment_intents.retrieve_async(intent, {"expand": ["latest_charge"]})
    assert isinstance(seen.latest_charge, stripe.Charge)
    assert seen.latest_charge.amount_refunded == 100
    await sdk.v1.refunds.update_async(first.id, {"metadata": {"note": "late"}})
    for _ in range(11):
        await sdk.v1.refunds.create_async({"payment_intent": intent, "amount": 1})
    page = await sdk.v1.refunds.list_async({"payment_intent": intent, "limit": 5})
    rows = [row async for row in page.auto_paging_iter()]
    assert len(rows) == 12
    assert rows[-1].metadata is not None
    assert rows[-1].metadata.to_dict() == {"refund_id": "rfd_1", "note": "late"}
    events = await sdk.v1.events.list_async({"types": ["refund.created", "refund.updated"], "limit": 100})
    assert [event.type for event in events.data].count("refund.created") == 12


@pytest.mark.parametrize(
    "card, code",
    [("pm_card_visa_chargeDeclined", "card_declined"), ("pm_card_chargeDeclinedExpiredCard", "expired_card")],
)
async def test_the_sdk_raises_card_errors(sdk: stripe.StripeClient, card: str, code: str) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await pay(sdk, card=card)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "fault, error, status, done",
    [
        ("drop_before", stripe.APIConnectionError, None, 0),
        ("drop_after", stripe.APIConnectionError, None, 1),
        ("unreadable_200", stripe.APIError, 200, 1),
        ("stored_500", stripe.APIError, 500, 0),
        ("500", stripe.APIError, 500, 0),
        ("503_html", stripe.APIError, 503, 0),
        ("429_rate_limit", stripe.RateLimitError, 429, 0),
        ("409_key_in_use", stripe.APIError, 409, 0),
        ("401", stripe.AuthenticationError, 401, 0),
        ("403", stripe.PermissionError, 403, 0),
    ],
)
async def test_the_sdk_sees_each_fault_for_what_it_is(
    sdk: stripe.StripeClient,
    ledger: Ledger,
    faults: Faults,
    fault: str,
    error: type[stripe.StripeError],
    status: int | None,
    done: int,
) -> None:
    intent = await pay(sdk)
    faults.arm(fault, count=1)
    with pytest.raises(error) as caught:
        await refund(sdk, intent, "k1")
    assert caught.value.http_status == status
    assert len(ledger.refunds) == done
    if fault != "stored_500":
        await refund(sdk, intent, "k1")
        assert len(ledger.refunds) == 1


async def test_a_webhook_is_signed_as_stripe_signs(sdk: stripe.StripeClient, receiver: Receiver) -> None:
    made = await refund(sdk, await pay(sdk), "k1")
    await receiver.until(1)
    event = stripe.Webhook.construct_event(receiver.bodies[0], receiver.signatures[0], SECRET)
    assert event.type == "refund.created"
    assert event.data.object["id"] == made.id
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.bodies[0] + b" ", receiver.signatures[0], SECRET)


async def test_a_webhook_comes_again_until_it_is_taken(
    sdk: stripe.StripeClient, ledger: Ledger, receiver: Receiver
) -> None:
    receiver.answers = [500, 302]
    await refund(sdk, await pay(sdk), "k1")
    await receiver.until(3)
    assert len({event["id"] for event in receiver.events}) == 1
    await asyncio.sleep(0.1)
    assert len(receiver.bodies) == 3
    assert ledger.outbox == []


async def test_time_acts_by_itself(sdk: stripe.StripeClient, receiver: Receiver) -> None:
    await refund(sdk, await pay(sdk, card="pm_card_pendingRefund"), "k1")
    await refund(sdk, await pay(sdk, card="pm_card_refundFail"), "k2")
    await receiver.until(5)
    assert sorted(receiver.types) == ["refund.created"] * 2 + ["refund.failed"] + ["refund.updated"] * 2


async def test_webhooks_can_be_doubled_and_lost(
    sdk: stripe.StripeClient, ledger: Ledger, faults: Faults, receiver: Receiver
) -> None:
    faults.arm("double", count=1)
    faults.arm("lose", count=1)
    intent = await pay(sdk)
    await refund(sdk, intent, "k1")
    await receiver.until(2)
    await refund(sdk, intent, "k2")
    await asyncio.sleep(0.1)
    assert len(receiver.bodies) == 2
    assert len({event["id"] for event in receiver.events}) == 1
    lost = await sdk.v1.events.list_async({"delivery_success": False})
    assert [event.type for event in lost.data] == ["refund.created"]
    assert ledger.outbox == []


async def test_a_slow_call_holds_up_nobody_else_but_its_key(
    sdk: stripe.StripeClient, ledger: Ledger, faults: Faults
) -> None:
    intent = await pay(sdk)
    faults.arm("latency", seconds=0.3, count=1, path="/v1/refunds")
    slow = asyncio.create_task(refund(sdk, intent, "k1"))
    while not ledger.keys.in_flight:
        await asyncio.sleep(0.005)
    await sdk.v1.payment_intents.retrieve_async(intent)
    assert not slow.done()
    assert (await refund(sdk, intent, "k2")).amount == 100
    faults.arm("latency", seconds=0.01, count=1)
    with pytest.raises(stripe.APIError) as caught:
        await refund(sdk, intent, "k1")
    assert caught.value.http_status == 409
    assert caught.value.error is not None
    assert caught.value.error.code == "idempotency_key_in_use"
    assert (await slow).amount == 100


async def test_a_caller_that_hangs_up_is_served_all_the_same(address: str, ledger: Ledger, faults: Faults) -> None:
    sdk = stripe.StripeClient(KEY, base_addresses={"api": address}, http_client=stripe.HTTPXClient(timeout=0.1))
    intent = await pay(sdk)
    faults.arm("latency", seconds=0.3, path="/v1/refunds")
    with pytest.raises(stripe.APIConnectionError):
        await refund(sdk, intent, "k1")
    assert len(ledger.refunds) == 0
    await asyncio.sleep(0.4)
    assert len(ledger.refunds) == 1


async def test_a_port_in_use_is_an_os_error(address: str) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve(port=int(address.rpartition(":")[2]))


async def test_serving_says_when_it_is_ready_and_stops_when_cancelled() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    work = asyncio.create_task(serve(port=0, on_ready=ready.set_result))
    address = await ready
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(address + "/v1/account")).status_code == 401
        assert (await client.post(address + "/v1/refunds", content=b"x" * (1 << 21))).status_code == 413
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) != 0


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_a_process_prints_its_address_and_ends_on_sigterm() -> None:
    code = "from returns_service.stripe_simulator import run; run(port=0, seed=1)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, _, address = process.stdout.readline().strip().partition(" ")
        assert word == "ready"
        assert httpx.get(address + "/_control/state", trust_env=False).json()["payments"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
