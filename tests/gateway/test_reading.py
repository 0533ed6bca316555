"""Payments, lists and the doctor's view: all of it is read, or none of it is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, TryLater, Unknown
from returns_service.stripe_gateway import StripeSilent
from tests.gateway.shapes import (
    CREATED,
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


async def payment(**answers: Any) -> Any:
    found = {"payment_intents__pi_1": intent(), "refunds": listing(refund())} | answers
    return await Line(routes(**found)).gateway.read_payment(payment_intent="pi_1")


async def test_a_payment_is_its_intent_its_charge_and_all_its_refunds() -> None:
    def pages(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/payment_intents/pi_1":
            assert request.url.params["expand[0]"] == "latest_charge.refunds"
            return ok(intent())
        assert (request.url.params["payment_intent"], request.url.params["limit"]) == ("pi_1", "100")
        after = request.url.params.get("starting_after")
        number = int(after.removeprefix("re_")) + 1 if after else 1
        return ok(listing(refund(id=f"re_{number}"), more=number < 3))

    line = Line(pages)
    seen = await line.gateway.read_payment(payment_intent="pi_1")
    assert isinstance(seen, PaymentSnapshot)
    assert [one.id for one in seen.refunds] == ["re_1", "re_2", "re_3"]
    assert (seen.payment_intent, seen.charge, seen.currency, seen.status) == ("pi_1", "ch_1", "eur", "succeeded")
    assert (seen.captured, seen.amount_refunded) == (5000, 1250)
    assert (seen.livemode, seen.disputed, seen.connect) == (False, False, False)
    assert seen.method == "Visa ending 4242"


@pytest.mark.parametrize("more,requests", [(False, 1), (True, 2)])
async def test_a_payment_with_all_its_refunds_is_one_call(more: bool, requests: int) -> None:
    inside = listing(refund(id="re_2"), more=more)
    whole = {"payment_intents__pi_1": intent(latest_charge=charge(refunds=inside))}
    line = Line(routes(**whole, refunds=listing(refund(id="re_2"), refund())))
    seen = await line.gateway.read_payment(payment_intent="pi_1")
    assert isinstance(seen, PaymentSnapshot)
    assert [one.id for one in seen.refunds] == (["re_2", "re_1"] if more else ["re_2"])
    assert len(line.requests) == requests


async def test_a_refund_of_nothing_is_none() -> None:
    seen = await payment(refunds=listing(refund(id="re_2", amount=0), refund()))
    assert isinstance(seen, PaymentSnapshot)
    assert [one.id for one in seen.refunds] == ["re_1"]


async def test_a_charge_with_an_intent_is_that_intents_payment() -> None:
    answers = routes(charges__ch_1=charge(), payment_intents__pi_1=intent(), refunds=listing())
    line = Line(answers)
    seen = await line.gateway.read_payment(charge="ch_1")
    assert isinstance(seen, PaymentSnapshot)
    assert (seen.payment_intent, seen.charge) == ("pi_1", "ch_1")
    assert dict(line.requests[-1].url.params)["payment_intent"] == "pi_1"


async def test_a_bare_charge_is_a_payment_of_its_own() -> None:
    line = Line(routes(charges__ch_1=charge(payment_intent=None), refunds=listing(refund(payment_intent=None))))
    seen = await line.gateway.read_payment(charge="ch_1")
    assert isinstance(seen, PaymentSnapshot)
    assert (seen.payment_intent, seen.charge, seen.captured) == (None, "ch_1", 5000)
    assert dict(line.requests[-1].url.params)["charge"] == "ch_1"


async def test_a_charge_that_wasnt_expanded_is_fetched() -> None:
    seen = await payment(payment_intents__pi_1=intent(latest_charge="ch_1"), charges__ch_1=charge())
    assert isinstance(seen, PaymentSnapshot)
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
    assert isinstance(seen, PaymentSnapshot)
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
    assert isinstance(seen, PaymentSnapshot)
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
    assert isinstance(seen, PaymentSnapshot)
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
    assert isinstance(seen, PaymentSnapshot)
    assert seen.method == method


@pytest.mark.parametrize(
    "answers",
    [
        {"payment_intents__pi_1": intent(id="pi_2")},
        {"payment_intents__pi_1": charge()},
        {"payment_intents__pi_1": intent(livemode=None)},
        {"payment_intents__pi_1": intent(latest_charge=charge(amount_captured="5000"))},
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
    assert isinstance(first.object, RefundSnapshot)
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
    assert (checked.account, checked.livemode, checked.silence) == ("acct_1", False, None)
    assert [(one.url, one.enabled, one.events) for one in checked.endpoints or ()] == [
        ("https://returns.example.com/stripe", True, ("*",))
    ]
    checked = await Line(error(401, message="Invalid API Key provided")).gateway.check()
    assert isinstance(checked.silence, TryLater)
    assert (checked.silence.key_refused, checked.silence.message) == (True, "Invalid API Key provided")


async def test_charges_are_read_by_their_time_and_an_odd_one_is_left_out() -> None:
    odd, failed = charge(id="ch_2", currency=None), charge(id="ch_3", status="failed")
    line = Line(routes(charges=listing(charge(), odd, failed)))
    before = SINCE + timedelta(days=1)
    seen = [one async for one in line.gateway.charges_between(SINCE, before)]
    assert [(one.currency, one.captured, one.created) for one in seen] == [("eur", 5000, SINCE), ("eur", 0, SINCE)]
    asked = dict(line.requests[0].url.params)
    assert (asked["created[gte]"], asked["created[lt]"]) == (str(CREATED), str(CREATED + 86_400))


async def test_a_list_of_charges_that_stripe_refuses_is_not_taken_for_none() -> None:
    line = Line(error(403))
    with pytest.raises(StripeSilent):
        [one async for one in line.gateway.charges_between(SINCE, SINCE + timedelta(days=1))]
