"""The gateway and the Stripe simulator, over real HTTP: two independent readings of Stripe's documents agree."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, Refused, Unknown
from returns_service.stripe_gateway import StripeGateway, read_webhook
from returns_service.stripe_simulator import Ledger, running, signature_of

KEY = "sk_" + "test_" + "x" * 24
SECRET = "whsec_" + "a" * 24
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def ledger() -> Ledger:
    return Ledger(time.time, Random(7))


@pytest.fixture
async def address(ledger: Ledger) -> AsyncIterator[str]:
    async with running(ledger) as address:
        yield address


@pytest.fixture
async def gateway(address: str) -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(KEY, api_base=address)
    yield gateway
    await gateway.close()


@pytest.fixture
async def paid(address: str) -> str:
    """The id of a PaymentIntent over 50 euros, paid."""
    form = {"amount": "5000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{address}/v1/payment_intents", data=form, headers={"Authorization": f"Bearer {KEY}"}
        )
    return str(answer.raise_for_status().json()["id"])


def asked(paid: str, **changes: Any) -> dict[str, Any]:
    return {"payment_intent": paid, "amount": 1250, "metadata": {"refund_id": "rfd_1"}} | changes


async def test_a_refund_is_made_once_and_seen_everywhere(gateway: StripeGateway, paid: str) -> None:
    first = await gateway.create_refund(asked(paid), key="rfd_1:1", not_after=None)
    again = await gateway.create_refund(asked(paid), key="rfd_1:1", not_after=None)
    assert isinstance(first, RefundSnapshot)
    assert isinstance(again, RefundSnapshot)
    assert (again.id, first.replayed, again.replayed) == (first.id, False, True)
    assert await gateway.retrieve_refund(first.id) == first
    payment = await gateway.read_payment(payment_intent=paid)
    assert isinstance(payment, PaymentSnapshot)
    assert (payment.captured, payment.refunds, payment.method) == (5000, (first,), "Visa ending 4242")
    assert await gateway.read_payment(charge=payment.charge) == payment
    assert [seen async for seen in gateway.refunds_since(LONG_AGO)] == [first]
    news = [news async for news in gateway.events_since(LONG_AGO, ["refund.created"])]
    assert [one.object for one in news] == [first]


async def test_its_refusals_are_understood(gateway: StripeGateway, paid: str) -> None:
    await gateway.create_refund(asked(paid), key="rfd_1:1", not_after=None)
    other = await gateway.create_refund(asked(paid, amount=1), key="rfd_1:1", not_after=None)
    assert isinstance(other, Unknown)
    assert other.code == "idempotency_error"
    over = await gateway.create_refund(asked(paid, amount=5000), key="rfd_2:1", not_after=None)
    assert isinstance(over, Refused)
    assert (over.code, over.reread) == ("over_refund", True)
    await gateway.create_refund(asked(paid, amount=3750), key="rfd_3:1", not_after=None)
    done = await gateway.create_refund(asked(paid, amount=1), key="rfd_4:1", not_after=None)
    assert isinstance(done, Refused)
    assert done.code == "charge_already_refunded"
    assert isinstance(await gateway.retrieve_refund("re_nobody"), Missing)
    assert isinstance(await gateway.read_payment(payment_intent="pi_nobody"), Missing)
    assert (await gateway.check()).silence is None


async def test_its_webhooks_are_genuine(ledger: Ledger, gateway: StripeGateway, paid: str) -> None:
    ledger.add_endpoint("http://127.0.0.1:9/webhooks/stripe", SECRET)
    seen = await gateway.create_refund(asked(paid), key="rfd_1:1", not_after=None)
    bodies = [ledger.body_of(mail) for mail in ledger.due_webhooks()]
    news = [read_webhook(body, signature_of(body, SECRET, int(time.time())), [SECRET]) for body in bodies]
    assert seen in [one.object for one in news]
    assert not [one.unreadable for one in news if one.unreadable]
