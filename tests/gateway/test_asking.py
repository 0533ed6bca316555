"""What goes over the wire, and what comes back when Stripe says yes."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_words import Missing, PaymentSeen, RefundSeen, TryLater, Unknown
from returns_service.stripe_gateway import StripeGateway, StripeSilent, livemode_of
from tests.gateway.shapes import (
    CREATED,
    KEY,
    PARAMETERS,
    Line,
    charge,
    dispute,
    error,
    event,
    intent,
    listing,
    ok,
    refund,
    routes,
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
    assert await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None) == RefundSeen(
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
    assert isinstance(seen, RefundSeen)
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
    assert isinstance(seen, RefundSeen)
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
    assert isinstance(seen, RefundSeen)
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
    assert isinstance(seen, RefundSeen)
    assert seen.status == "pending"


async def payment(**answers: Any) -> Any:
    found = {"payment_intents__pi_1": intent(), "refunds": listing(refund())} | answers
    return await Line(routes(**found)).gateway.read_payment(payment_intent="pi_1")


async def test_a_payment_is_its_intent_its_charge_and_all_its_refunds() -> None:
    def pages(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/payment_intents/pi_1":
            assert request.url.params["expand[0]"] == "latest_charge"
            return ok(intent())
        assert (request.url.params["payment_intent"], request.url.params["limit"]) == ("pi_1", "100")
        after = request.url.params.get("starting_after")
        number = int(after.removeprefix("re_")) + 1 if after else 1
        return ok(listing(refund(id=f"re_{number}"), more=number < 3))

    line = Line(pages)
    seen = await line.gateway.read_payment(payment_intent="pi_1")
    assert isinstance(seen, PaymentSeen)
    assert [one.id for one in seen.refunds] == ["re_1", "re_2", "re_3"]
    assert (seen.payment_intent, seen.charge, seen.currency, seen.status) == ("pi_1", "ch_1", "eur", "succeeded")
    assert (seen.captured, seen.amount_refunded) == (5000, 1250)
    assert (seen.livemode, seen.disputed, seen.connect) == (False, False, False)
    assert seen.method == "Visa ending 4242"


async def test_a_charge_with_an_intent_is_that_intents_payment() -> None:
    answers = routes(charges__ch_1=charge(), payment_intents__pi_1=intent(), refunds=listing())
    line = Line(answers)
    seen = await line.gateway.read_payment(charge="ch_1")
    assert isinstance(seen, PaymentSeen)
    assert (seen.payment_intent, seen.charge) == ("pi_1", "ch_1")
    assert dict(line.requests[-1].url.params)["payment_intent"] == "pi_1"


async def test_a_bare_charge_is_a_payment_of_its_own() -> None:
    line = Line(routes(charges__ch_1=charge(payment_intent=None), refunds=listing(refund(payment_intent=None))))
    seen = await line.gateway.read_payment(charge="ch_1")
    assert isinstance(seen, PaymentSeen)
    assert (seen.payment_intent, seen.charge, seen.captured) == (None, "ch_1", 5000)
    assert dict(line.requests[-1].url.params)["charge"] == "ch_1"


async def test_a_charge_that_wasnt_expanded_is_fetched() -> None:
    seen = await payment(payment_intents__pi_1=intent(latest_charge="ch_1"), charges__ch_1=charge())
    assert isinstance(seen, PaymentSeen)
    assert seen.captured == 5000


@pytest.mark.parametrize(
    "found",
    [
        intent(status="requires_payment_method", latest_charge=None),
        intent(status="requires_payment_method", latest_charge=charge(status="failed")),
        intent(status="requires_capture", latest_charge=charge(amount_captured=0)),
    ],
)
async def test_what_wasnt_captured_counts_nothing(found: dict[str, Any]) -> None:
    seen = await payment(payment_intents__pi_1=found)
    assert isinstance(seen, PaymentSeen)
    assert seen.captured == 0
    assert seen.status == found["status"]


@pytest.mark.parametrize(
    "change,barred",
    [
        ({}, True),
        ({"status": "lost"}, True),
        ({"status": "under_review"}, True),
        ({"status": "won"}, False),
        ({"status": "prevented", "is_charge_refundable": True}, False),
        ({"status": "warning_needs_response", "is_charge_refundable": True}, False),
        ({"status": "warning_closed"}, False),
    ],
)
async def test_only_a_formal_dispute_that_isnt_won_bars_refunds(change: dict[str, Any], barred: bool) -> None:
    found = intent(latest_charge=charge(disputed=True))
    seen = await payment(payment_intents__pi_1=found, disputes=listing(dispute(**change)))
    assert isinstance(seen, PaymentSeen)
    assert seen.disputed is barred


@pytest.mark.parametrize(
    "found",
    [
        intent(transfer_data={"destination": "acct_2"}),
        intent(application_fee_amount=5),
        intent(on_behalf_of="acct_2"),
        intent(latest_charge=charge(transfer="tr_1")),
        intent(latest_charge=charge(application_fee="fee_1")),
    ],
)
async def test_money_of_others_is_told(found: dict[str, Any]) -> None:
    seen = await payment(payment_intents__pi_1=found)
    assert isinstance(seen, PaymentSeen)
    assert seen.connect


@pytest.mark.parametrize(
    "details,method",
    [
        ({"type": "card", "card": {"brand": "amex", "last4": "8431"}}, "American Express ending 8431"),
        ({"type": "sepa_debit", "sepa_debit": {"last4": "3000"}}, "Sepa debit ending 3000"),
        ({"type": "klarna", "klarna": {}}, "Klarna"),
        ({"type": "card", "card": None}, "Card"),
        ({}, None),
        (None, None),
    ],
)
async def test_a_method_is_shown_for_people(details: Any, method: str | None) -> None:
    seen = await payment(payment_intents__pi_1=intent(latest_charge=charge(payment_method_details=details)))
    assert isinstance(seen, PaymentSeen)
    assert seen.method == method


@pytest.mark.parametrize(
    "answers",
    [
        {"payment_intents__pi_1": intent(id="pi_2")},
        {"payment_intents__pi_1": charge()},
        {"payment_intents__pi_1": intent(livemode=None)},
        {"payment_intents__pi_1": intent(latest_charge=charge(amount_captured=None))},
        {"payment_intents__pi_1": intent(latest_charge=charge(disputed=True)), "disputes": listing()},
        {"refunds": listing(refund(), {"id": "re_2"})},
        {"refunds": listing(refund(), more=True)},  # the cursor doesn't move: it would go on for ever
        {"refunds": listing(more=True)},
        {"refunds": listing("re_1")},
        {"refunds": {"object": "list"}},
        {"refunds": refund()},
        {"refunds": error(500)},
    ],
)
async def test_half_a_payment_is_never_believed(answers: dict[str, Any]) -> None:
    assert isinstance(await payment(**answers), Unknown)


async def test_an_unknown_payment_is_missing() -> None:
    line = Line(routes())
    assert isinstance(await line.gateway.read_payment(payment_intent="pi_1"), Missing)
    assert isinstance(await line.gateway.read_payment(charge="ch_1"), Missing)
    with pytest.raises(ValueError, match="not both"):
        await line.gateway.read_payment()


async def test_refunds_since_come_newest_first_and_odd_ones_are_told_at_the_end() -> None:
    line = Line(ok(listing(refund(id="re_3"), refund(id="re_2", amount=None), refund(id="re_1"))))
    seen: list[str] = []

    async def read() -> None:
        async for one in line.gateway.refunds_since(SINCE):
            seen.append(one.id)  # noqa: PERF401 - what came before the end is the point

    with pytest.raises(StripeSilent, match="re_2") as silence:
        await read()
    assert seen == ["re_3", "re_1"]
    assert isinstance(silence.value.answer, Unknown)
    assert dict(line.requests[0].url.params) == {"created[gte]": str(CREATED), "limit": "100"}


async def test_lists_that_fail_raise_what_stripe_said() -> None:
    with pytest.raises(StripeSilent) as silence:
        [one async for one in Line(error(429, code="rate_limit")).gateway.refunds_since(SINCE)]
    assert isinstance(silence.value.answer, TryLater)
    with pytest.raises(StripeSilent):
        [one async for one in Line(ok(listing({}))).gateway.events_since(SINCE, ["refund.failed"])]


async def test_events_since_are_news_like_webhooks() -> None:
    line = Line(ok(listing(event("refund.failed", refund(status="failed")), event("refund.updated", "odd"))))
    types = ["refund.failed", "refund.updated"]
    first, second = [news async for news in line.gateway.events_since(SINCE, types, only_undelivered=True)]
    assert isinstance(first.object, RefundSeen)
    assert first.object.status == "failed"
    assert (second.object, second.unreadable) == (None, "no refund where one was expected")
    assert dict(line.requests[0].url.params) == {
        "created[gte]": str(CREATED),
        "types[0]": "refund.failed",
        "types[1]": "refund.updated",
        "delivery_success": "false",
        "limit": "100",
    }
    with pytest.raises(ValueError, match="1 to 20"):
        [news async for news in line.gateway.events_since(SINCE, [])]


async def test_a_doctor_sees_account_mode_and_endpoints() -> None:
    endpoint = {
        "id": "we_1",
        "object": "webhook_endpoint",
        "url": "https://returns.example.com/stripe",
        "status": "enabled",
        "livemode": False,
        "enabled_events": ["*"],
        "api_version": None,
    }
    account = {"id": "acct_1", "object": "account"}
    checked = await Line(routes(account=account, webhook_endpoints=listing(endpoint))).gateway.check()
    assert (checked.account, checked.livemode, checked.problem) == ("acct_1", False, None)
    assert [(one.url, one.enabled, one.events) for one in checked.endpoints] == [
        ("https://returns.example.com/stripe", True, ("*",))
    ]
    checked = await Line(error(401, message="Invalid API Key provided")).gateway.check()
    assert checked.problem == "authentication: Invalid API Key provided"


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
    gateway = StripeGateway(KEY, api_base=base)
    assert isinstance(await gateway.retrieve_refund("re_1"), TryLater)
    await gateway.close()
    assert asked == ["proxy" if proxied else "direct"]


async def test_bodies_and_keys_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line = Line(ok(refund(metadata={"refund_id": "canary"})))
    await line.gateway.retrieve_refund("re_1")
    assert "canary" not in caplog.text
    assert KEY not in caplog.text
