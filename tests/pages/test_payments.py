"""A payment's page: what is left, its refunds, and a refund that belongs to no return, made once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, sign_in_as
from tests.pages.forms import follow, forms_in, send
from tests.pages.world import approved

PAGE = "/refunds/payments?payment="


@pytest.fixture
async def finance(shop: ServedShop, desk: Desk) -> Desk:
    """Finance, signed in."""
    return await sign_in_as(shop, desk, "finance")


async def test_a_part_of_a_payment_never_seen_is_refunded_once(shop: ServedShop, finance: Desk) -> None:
    payment = shop.pay(10_000, currency="eur")
    page = await finance.get(f"{PAGE}{payment}")
    address = f"/refunds/payments/{payment}/refund"
    assert '100.00 <span class="cur">EUR' in page.text
    sent = {"amount": "22.35", "note": "The gift wrap was forgotten."}
    first, again = await send(finance, page, address, **sent), await send(finance, page, address, **sent)
    assert first.headers["location"] == again.headers["location"]
    told = await follow(finance, first)
    assert "22.35 EUR decided, goes to Stripe" in told.text
    assert "“<bdi>The gift wrap was forgotten.</bdi>”" in told.text
    await shop.settle()
    (refund,) = expect(await shop.get(f"/v1/refunds?payment_intent={payment}"), 200)["data"]
    assert (refund["amount"], refund["status"], refund["source"]) == (2235, "succeeded", "standalone")
    left = await finance.get(f"{PAGE}{payment}")
    assert '77.65 <span class="cur">EUR' in left.text


async def test_an_amount_is_never_guessed(shop: ServedShop, finance: Desk) -> None:
    payment = shop.pay(10_000, currency="eur")
    page = await finance.get(f"{PAGE}{payment}")
    address = f"/refunds/payments/{payment}/refund"
    assert forms_in(page)[address]["amount"] == ""
    assert "In EUR. At most what is left." in page.text
    for amount, note, says in (
        ("", "Goodwill.", "Enter the amount."), ("5.00", "", "Say what it is for, in a sentence."),
        ("1e3", "Goodwill.", "Write the amount like"), ("100.01", "Goodwill.", "More than is left to refund"),
    ):  # fmt: skip
        refused = await send(finance, page, address, amount=amount, note=note)
        assert "In EUR. At most what is left." in refused.text
        assert (refused.status_code, says in refused.text) == (422, True), refused.text
        assert forms_in(refused)[address]["note"] == note
    assert expect(await shop.get(f"/v1/refunds?payment_intent={payment}"), 200)["data"] == []


@pytest.mark.parametrize("named", ["pi_3Nothing000000000000000", "NW-48171", "ch_3Nothing000000000000000", "pay_gone"])
async def test_a_payment_that_is_none_is_said_so_at_the_field(shop: ServedShop, finance: Desk, named: str) -> None:
    page = await finance.get(f"{PAGE}{named}")
    assert page.status_code == 404
    assert 'aria-invalid="true"' in page.text
    assert f'value="{named}"' in page.text


async def test_a_form_at_an_address_of_nothing_is_answered_in_words_for_people(shop: ServedShop, finance: Desk) -> None:
    payment = shop.pay()
    fields = forms_in(await finance.get(f"{PAGE}{payment}"))[f"/refunds/payments/{payment}/refund"]
    answer = await finance.post("/refunds/payments/NW-48171/refund", {**fields, "amount": "1.00", "note": "Goodwill."})
    assert (answer.status_code, "open it from its list" in answer.text) == (404, True), answer.text
    assert "case-sensitive" not in answer.text, "advice for programs"


async def test_a_refund_made_outside_has_to_be_answered_first(shop: ServedShop, finance: Desk) -> None:
    payment = shop.pay(10_000, currency="eur")
    await approved(shop, "NW-1", 5000, payment=payment)
    shop.dashboard.refund(payment, 4000)
    await shop.deliver()
    page = await finance.get(f"{PAGE}{payment}")
    address = f"/refunds/payments/{payment}/refund"
    assert "it may be this one" in page.text
    assert "Made in Stripe’s Dashboard" in page.text
    typed = {"amount": "10.00", "note": "Goodwill."}
    refused = await send(finance, page, address, **typed)
    assert refused.status_code == 409
    done = await send(finance, refused, address, override_reason="The customer was told so.")
    assert "10.00 EUR decided" in (await follow(finance, done)).text


async def test_what_is_over_the_limit_of_one_person_waits_here_too(shop: ServedShop, finance: Desk) -> None:
    shop.policy = shop.context.policy = replace(shop.context.policy, second_person_above={"eur": 1000})
    payment = shop.pay(10_000, currency="eur")
    page = await finance.get(f"{PAGE}{payment}")
    done = await send(finance, page, f"/refunds/payments/{payment}/refund", amount="50", note="Goodwill.")
    told = await follow(finance, done)
    assert "50.00 EUR decided; a second person has to agree" in told.text
    (cancel,) = [address for address in forms_in(told) if address.endswith("/cancel")]
    assert (await send(finance, told, cancel)).status_code == 303
    assert '100.00 <span class="cur">EUR' in (await finance.get(f"{PAGE}{payment}")).text


async def test_nothing_is_offered_where_nothing_can_be_refunded(shop: ServedShop, finance: Desk) -> None:
    disputed = await approved(shop, "NW-1", 5000, card="pm_card_createDispute")
    await shop.settle()
    page = await finance.get(f"{PAGE}{disputed['payment_intent']}")
    assert "disputes this payment" in page.text
    assert not [address for address in forms_in(page) if address.endswith("/refund")]
