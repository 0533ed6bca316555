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
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import httpx
import pytest
import stripe

from returns_service.stripe_simulator import Faults, Ledger, Settings, build_key, running, serve
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


async def authorize(sdk: stripe.StripeClient, feature: str = "multicapture") -> str:
    """Return the id of a PaymentIntent over 100 dollars, authorized."""
    card: Any = {f"request_{feature}": "if_available"}
    intent = await sdk.v1.payment_intents.create_async(
        {
            "amount": 10_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True,
            "capture_method": "manual", "payment_method_options": {"card": card},
        }
    )  # fmt: skip
    return intent.id


async def test_the_sdk_captures_in_the_version_it_asks_for(sdk: stripe.StripeClient) -> None:
    for version, rest in (("2024-06-20", [4000]), ("2025-03-31.basil", []), (None, [])):
        intent = await authorize(sdk)
        options: stripe.RequestOptions = {} if version is None else {"stripe_version": version}
        await sdk.v1.payment_intents.capture_async(intent, {"amount_to_capture": 6000}, options)
        seen = await sdk.v1.refunds.list_async({"payment_intent": intent, "expand": ["data.balance_transaction"]})
        assert [refund.amount for refund in seen.data] == rest
        for refund in seen.data:
            assert isinstance(refund.balance_transaction, stripe.BalanceTransaction)
            assert refund.balance_transaction.reporting_category == "partial_capture_reversal"


async def test_the_sdk_captures_in_parts_cancels_increments_and_searches(sdk: stripe.StripeClient) -> None:
    intent = await authorize(sdk)
    first = await sdk.v1.payment_intents.capture_async(intent, {"amount_to_capture": 3000, "final_capture": False})
    assert (first.status, first.amount_received, first.amount_capturable) == ("requires_capture", 3000, 7000)
    other = await authorize(sdk, "incremental_authorization")
    more = await sdk.v1.payment_intents.increment_authorization_async(other, {"amount": 12_000})
    assert more.amount_capturable == 12_000
    await sdk.v1.payment_intents.update_async(other, {"metadata": {"order": "7"}})
    result = await sdk.v1.payment_intents.search_async({"query": 'metadata["order"]:"7"'})
    assert [row.id async for row in result.auto_paging_iter()] == [other]
    canceled = await sdk.v1.payment_intents.cancel_async(other, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")


async def test_the_sdk_hears_what_a_restricted_key_lacks(
    sdk: stripe.StripeClient, ledger: Ledger, address: str
) -> None:
    secret = "rk_test_" + "restricted12345678"
    ledger.api_keys[secret] = build_key(["rak_charge_read"])
    limited = stripe.StripeClient(
        secret, base_addresses={"api": address}, http_client=stripe.HTTPXClient(timeout=5), stripe_account=None
    )
    assert (await limited.v1.refunds.list_async()).data == []
    with pytest.raises(stripe.PermissionError, match="Having the 'rak_dispute_read' permission"):
        await limited.v1.disputes.list_async()
    ledger.api_keys[secret] = build_key(status="expired")
    with pytest.raises(stripe.AuthenticationError) as caught:
        await limited.v1.refunds.list_async()
    assert caught.value.error is not None
    assert caught.value.error.code == "api_key_expired"
    with pytest.raises(stripe.PermissionError, match="acct_other"):
        await sdk.v1.refunds.list_async({}, {"stripe_account": "acct_other"})
    account = await sdk.v1.accounts.retrieve_current_async()
    assert account.id == ledger.account_id


async def test_the_sdk_reads_the_other_resources(sdk: stripe.StripeClient, ledger: Ledger) -> None:
    customer = await sdk.v1.customers.create_async({"email": "kim@shop.example"})
    assert (await sdk.v1.customers.retrieve_async(customer.id)).email == "kim@shop.example"
    intent = await pay(sdk, card="pm_sepa_debit")
    seen = await sdk.v1.payment_intents.retrieve_async(intent, {"expand": ["payment_method"]})
    assert seen.status == "processing"
    assert isinstance(seen.payment_method, stripe.PaymentMethod)
    assert seen.payment_method.type == "sepa_debit"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk.v1.refunds.create_async({"payment_intent": await pay(sdk, card="pm_oxxo")})
    assert caught.value.code == "charge_not_refundable"
    lines = await sdk.v1.balance_transactions.list_async({"type": "payment"})
    assert (await sdk.v1.balance_transactions.retrieve_async(lines.data[0].id)).amount == 5000
    endpoint = await sdk.v1.webhook_endpoints.create_async(
        {"url": "https://shop.example/hook", "enabled_events": ["*"], "api_version": "2024-06-20"}
    )
    assert [one.api_version for one in (await sdk.v1.webhook_endpoints.list_async()).data] == ["2024-06-20"]
    await sdk.v1.webhook_endpoints.delete_async(endpoint.id)
    assert ledger.endpoints == {}


async def test_a_webhook_to_another_machine_is_never_posted(sdk: stripe.StripeClient, ledger: Ledger) -> None:
    await sdk.v1.webhook_endpoints.create_async({"url": "http://169.254.169.254/", "enabled_events": ["*"]})
    await pay(sdk)
    while ledger.outbox:
        await asyncio.sleep(0.005)
    lost = await sdk.v1.events.list_async({"delivery_success": False})
    assert len(lost.data) == 3


async def test_the_date_is_the_simulators_and_no_body_is_too_deep(address: str, ledger: Ledger) -> None:
    ledger.settings.clock_skew_seconds = 86400.0
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=address, trust_env=False, headers=headers) as client:
        for path in ("/v1/account", "/_control/state"):
            dates = [value for name, value in (await client.get(path)).headers.multi_items() if name == "date"]
            (date,) = dates
            assert 86000 < parsedate_to_datetime(date).timestamp() - time.time() < 86500
        deep = "[" * 100_000
        for path, body in (("/_control/faults", deep), ("/v1/refunds", f"metadata{'[a]' * 30_000}=1")):
            assert (await client.post(path, content=body)).status_code == 400
        assert (await client.get("/_control/state", headers={"Host": "evil.example"})).status_code == 403


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
