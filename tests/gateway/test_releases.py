"""A1, A2: what a partial capture gave back is no refund, whatever the version of the capture and the key's rights."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_objects import ChargeSnapshot, PaymentSnapshot, TryLater
from returns_service.stripe_gateway import StripeGateway
from returns_service.stripe_gateway.parse import event_data_of
from returns_service.stripe_gateway.releases import releases_in
from returns_service.stripe_simulator import PERMISSIONS, Dashboard, Ledger, Request, answer, build_key
from tests.gateway.shapes import charge, event, refund

KEY = "sk_" + "test_" + "x" * 24
LEGACY, BASIL = "2025-02-24.acacia", "2025-03-31.basil"


class Line(httpx.AsyncBaseTransport):
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(request.method, request.url.path, request.url.query.decode(), headers, await request.aread())
        said = answer(self.ledger, asked)
        return httpx.Response(said.status, headers=dict(said.headers), content=said.body, request=request)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(time.time, Random(7))


def authorized(ledger: Ledger, **more: str) -> str:
    """Return a PaymentIntent over 10000 that waits for its capture."""
    form = {"amount": "10000", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
    body = str(httpx.QueryParams(form | {"capture_method": "manual"} | more)).encode()
    headers = {"authorization": f"Bearer {KEY}"}
    return str(answer(ledger, Request("POST", "/v1/payment_intents", "", headers, body)).json()["id"])


async def read(ledger: Ledger, payment: str) -> PaymentSnapshot:
    gateway = StripeGateway(KEY, api_base="http://stripe.test", transport=Line(ledger), jitter=lambda: 0.0)
    refusals: list[str] = []

    async def watch(subject: str, refusal: TryLater | None) -> None:
        refusals.extend([subject] if refusal else [])

    gateway.watch(watch)
    seen = await gateway.read_payment(payment_intent=payment)
    await gateway.close()
    assert isinstance(seen, PaymentSnapshot)
    assert not refusals  # the release is told by its form then: nothing for a person to do
    return seen


@pytest.mark.parametrize("may_read_balance", [True, False])
@pytest.mark.parametrize("version,released", [(LEGACY, 4000), (BASIL, 0)])
async def test_a_release_is_no_refund_in_both_worlds(
    ledger: Ledger, version: str, released: int, may_read_balance: bool
) -> None:
    """A1: by its balance transaction, or by its form where a 403 hides that."""
    payment = authorized(ledger)
    Dashboard(ledger).capture(payment, 6000, api_version=version)
    Dashboard(ledger).refund(payment, 1000)
    if not may_read_balance:
        ledger.api_keys[KEY] = build_key([p for p in PERMISSIONS if "balance" not in p])
    seen = await read(ledger, payment)
    assert (seen.captured, seen.released, seen.authorized) == (6000, released, 10_000)
    assert (seen.amount_refunded, [one.amount for one in seen.refunds]) == (1000, [1000])


async def test_a_refund_over_the_difference_is_one_where_the_balance_says_so(ledger: Ledger) -> None:
    """A1: from basil on there is no release, and a Dashboard refund may have its amount by chance."""
    payment = authorized(ledger)
    Dashboard(ledger).capture(payment, 6000, api_version=BASIL)
    Dashboard(ledger).refund(payment, 4000)
    seen = await read(ledger, payment)
    assert (seen.released, [one.amount for one in seen.refunds]) == (0, [4000])


async def test_more_was_released_than_captured(ledger: Ledger) -> None:
    """A1: 4000 of 10000 captured, and all 4000 are left."""
    payment = authorized(ledger)
    Dashboard(ledger).capture(payment, 4000, api_version=LEGACY)
    seen = await read(ledger, payment)
    assert (seen.captured, seen.released, seen.amount_refunded, seen.refunds) == (4000, 6000, 0, ())


async def test_a_canceled_authorization_of_that_time_captured_nothing(ledger: Ledger) -> None:
    """A2: `amount_captured` is null there."""
    payment = authorized(ledger)
    Dashboard(ledger).cancel_payment(payment, api_version=LEGACY)
    seen = await read(ledger, payment)
    assert (seen.status, seen.captured, seen.amount_refunded, seen.refunds) == ("canceled", 0, 0, ())


async def test_what_is_captured_so_far_is_captured(ledger: Ledger) -> None:
    """A3: nothing is released while more may be captured, though refund and difference have one amount."""
    more = {"payment_method_options[card][request_multicapture]": "if_available"}
    payment = authorized(ledger, **more)
    Dashboard(ledger).capture(payment, 5000, final=False)
    Dashboard(ledger).refund(payment, 5000)
    ledger.api_keys[KEY] = build_key([p for p in PERMISSIONS if "balance" not in p])
    seen = await read(ledger, payment)
    assert (seen.status, seen.captured, seen.released, len(seen.refunds)) == ("requires_capture", 5000, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 3999},
        {"status": "failed"},
        {"metadata": {"refund_id": "rfd_1"}},
        {"balance_transaction": {"id": "txn_1", "reporting_category": "refund"}},
    ],
)
def test_without_a_balance_transaction_all_of_its_form_has_to_fit(change: dict[str, Any]) -> None:
    """A1: the oldest refund of the charge, over the difference, succeeded, not ours. Never its reason."""
    partial = charge(amount=10_000, amount_captured=6000)
    release = refund(id="re_old", amount=4000, metadata={}, balance_transaction="txn_1", reason=None)
    later = refund(id="re_new", amount=4000, metadata={})
    assert releases_in(partial, [later, release]) == {"re_old"}
    assert releases_in(partial, [later, release | change]) == frozenset()


def test_a_charge_that_captured_null_is_read() -> None:
    """A2: also from an event."""
    news = event_data_of(event("charge.refunded", charge(amount_captured=None)), "{}")
    assert isinstance(news.object, ChargeSnapshot)
    assert (news.object.captured, news.unreadable) == (0, None)
