"""The customer's portal without a script: the amount before it is sent, one return however often, and what is wrong."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from returns_service.domain.policy import DEFAULT, Restocking
from returns_service.store.tables import PortalSession
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk
from tests.pages.forms import forms_in
from tests.pages.portal import offer, path_of, picture, returns_of, send_back, tick
from tests.pages.world import HOSTILE

PICK = {"line": 1, "quantity": 1, "reason": "damaged", "resolution": "refund"}


async def test_a_customer_sends_items_back_and_watches_the_money_return(shop: ServedShop, desk: Desk) -> None:
    session = await offer(shop)
    path = path_of(session)
    page = await desk.get(path)
    assert page.status_code == 200
    assert "What would you like to send back?" in page.text
    assert "9 days" not in page.text
    answer = await tick(desk, path, page=page, pick=["0", "1"], q0="2", r0="too_small", r1="damaged")
    assert answer.status_code == 303
    page = await desk.get(path)
    assert "€91.16" in page.text, "6666 of the sweaters and 2450, shown before anything is sent"
    assert await returns_of(shop) == []
    answer = await tick(desk, path, "send", page=page, pick=["0", "1"], q0="2", r0="too_small", r1="damaged")
    assert answer.status_code == 303
    (made,) = await returns_of(shop)
    assert (made["state"], made["amount_estimated"]) == ("requested", 9116)
    assert [(line["sku"], line["quantity"], line["reason"]) for line in made["lines"]] == [
        ("CREW-L", 2, "too_small"), ("TOTE", 1, "damaged"),
    ]  # fmt: skip
    page = await desk.get(answer.headers["location"])
    assert "We look at your request" in page.text
    code = made["slip_code"]
    assert f"{code[:4]} {code[4:8]} {code[8:]}" in page.text
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    assert "We wait for your parcel" in (await desk.get(path)).text
    counts = [{"sku": "CREW-L", "quantity": 2, "condition": "new"}, {"sku": "TOTE", "quantity": 1, "condition": "new"}]
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": counts}), 201)
    assert "Your money is on its way" in (await desk.get(path)).text
    await shop.settle()
    page = await desk.get(path)
    assert "Your money is back" in page.text
    assert "€91.16" in page.text
    times = re.findall(r'<time datetime="([^"]+)"', page.text)
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    shop.advance(3 * 86_400)
    shop.dashboard.set_arn(refund["stripe_refund"], "74537604221431000000001")
    await shop.deliver()
    later = re.findall(r'<time datetime="([^"]+)"', (await desk.get(path)).text)
    assert later == times, "the money came when it came, whenever its bank tells the number"


async def test_a_customer_chooses_what_they_get_for_each_item(shop: ServedShop, desk: Desk) -> None:
    """The page says which part comes back and which is given otherwise, before it is sent and until all is settled."""
    path = path_of(await offer(shop))
    fields: dict[str, Any] = {"pick": ["0", "1"], "q0": "2", "r0": "too_small", "w0": "store_credit", "r1": "damaged"}
    await tick(desk, path, **fields)
    page = await desk.get(path)
    assert [forms_in(page)[path][name] for name in ("shown", "shown_outside")] == ["2450", "6666"]
    assert "As store credit" in page.text
    assert "Store credit comes from a person" in page.text
    assert (await tick(desk, path, "send", page=page, **fields)).status_code == 303
    (made,) = await returns_of(shop)
    assert (made["amount_estimated"], made["amount_estimated_outside"]) == (2450, 6666)
    assert [line["resolution"] for line in made["lines"]] == ["store_credit", "refund"]
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    assert "Then you get €24.50 back and €66.66 as store credit." in words_in(await desk.get(path))
    counts = [{"sku": "CREW-L", "quantity": 2, "condition": "new"}, {"sku": "TOTE", "quantity": 1, "condition": "new"}]
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": counts}), 201)
    assert "You also get €66.66 as store credit." in words_in(await desk.get(path))
    await shop.settle()
    credit = {"method": "store_credit", "reference": "credit 17"}
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", credit), 200)
    shown = words_in(await desk.get(path))
    assert "All is settled" in shown
    assert "We have paid back €24.50." in shown
    assert "You have got €66.66 as store credit." in shown


def words_in(page: Any) -> str:
    """Return a page's text without its tags."""
    return re.sub(r"<[^>]+>", "", page.text)


async def test_an_exchange_is_no_refund(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    assert (await send_back(desk, path, pick=["1"], r1="damaged", w1="exchange")).status_code == 303
    (made,) = await returns_of(shop)
    assert (made["resolution"], made["amount_estimated"]) == ("exchange", 0)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    shown = words_in(await desk.get(path))
    assert "Then you get an exchange worth €24.50." in shown
    assert "€0.00" not in shown


async def test_only_what_the_shop_gives_can_be_chosen(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop, "NW-1", resolutions=["store_credit", "refund", "refund"]))
    page = await desk.get(path)
    assert re.findall(r'<option value="(refund|store_credit|exchange)"', page.text)[:3] == [
        "refund", "store_credit", "refund",
    ]  # fmt: skip
    await tick(desk, path, page=page, pick=["1"], r1="damaged", w1="exchange")
    assert forms_in(await desk.get(path))[path]["shown"] == "2450", "what is not offered is not taken"
    only = path_of(await offer(shop, "NW-2", resolutions=["exchange"]))
    assert "What would you like for it?" not in (await desk.get(only)).text
    await tick(desk, only, pick=["1"], r1="damaged")
    assert forms_in(await desk.get(only))[only]["shown_outside"] == "2450"


async def test_what_was_chosen_since_is_shown_before_it_is_sent(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    fields: dict[str, Any] = {"pick": ["1"], "r1": "damaged"}
    await tick(desk, path, **fields)
    answer = await tick(desk, path, "send", **fields, w1="exchange")
    assert answer.status_code == 409, "the amount is the same, the way is another"
    assert "In an exchange" in answer.text
    assert await returns_of(shop) == []
    assert (await tick(desk, path, "send", page=answer, **fields, w1="exchange")).status_code == 303


async def test_the_amount_shown_is_the_returns_own_estimate(shop: ServedShop, desk: Desk) -> None:
    shop.context.policy = replace(
        DEFAULT, label_cost={"eur": 490}, restocking={"new": Restocking(basis_points=1000)}, shipping_refunded="always"
    )
    for number, units in enumerate(("1", "2", "3")):
        order = f"NW-{number}"
        path = path_of(await offer(shop, order, shipping_amount=700))
        fields: dict[str, Any] = {"pick": ["0", "2"], "q0": units, "q2": "1", "r0": "changed_mind", "r2": "damaged"}
        await tick(desk, path, **fields)
        page = await desk.get(path)
        shown = int(re.findall(r'name="shown" value="(\d+)"', page.text)[0])
        assert (await send_back(desk, path, **fields)).status_code == 303
        (made,) = await returns_of(shop, order)
        assert made["amount_estimated"] == shown


async def test_pressed_twice_in_two_tabs_it_is_one_return(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    fields: dict[str, Any] = {"pick": ["1"], "r1": "damaged"}
    await tick(desk, path, **fields)
    tabs = [await desk.get(path) for _ in range(3)]
    answers = await asyncio.gather(*(tick(desk, path, "send", page=tab, **fields) for tab in (*tabs, tabs[0])))
    assert {answer.status_code for answer in answers} == {303}
    assert len(await returns_of(shop)) == 1
    assert (await tick(desk, path, "send", page=tabs[0], **fields)).status_code == 303
    assert len(await returns_of(shop)) == 1


async def test_another_amount_than_the_one_shown_is_not_sent(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    await tick(desk, path, pick=["0"], q0="1", r0="too_small")
    page = await desk.get(path)
    answer = await tick(desk, path, "send", page=page, pick=["0"], q0="3", r0="too_small")
    assert answer.status_code == 409
    assert "The amount is <bdi" in answer.text
    assert "€100.00" in answer.text
    assert await returns_of(shop) == []
    shop.context.policy = replace(DEFAULT, label_cost={"eur": 100})
    page = await desk.get(path)
    shop.context.policy = replace(DEFAULT, label_cost={"eur": 490})
    answer = await tick(desk, path, "send", page=page, pick=["0"], q0="3", r0="too_small")
    assert (answer.status_code, await returns_of(shop)) == (409, [])
    assert (await tick(desk, path, "send", page=answer, pick=["0"], q0="3", r0="too_small")).status_code == 303


async def test_shipping_that_another_return_was_paid_is_not_promised_again(shop: ServedShop, desk: Desk) -> None:
    shop.policy = shop.context.policy = replace(DEFAULT, shipping_refunded="always")
    payment = shop.pay(30_000, currency="eur")
    first, second = [path_of(await offer(shop, payment=payment, shipping_amount=700)) for _ in range(2)]
    await send_back(desk, first, pick=["0"], q0="3", r0="too_small")
    (made,) = await returns_of(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    count = {"sku": "CREW-L", "quantity": 3, "condition": "new"}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": [count]}), 201)
    await shop.settle()
    before = await desk.get(second)
    await tick(desk, second, pick=["1"], r1="damaged", page=before)
    page = await desk.get(second)
    assert (forms_in(page)[second]["shown"], "€24.50" in page.text, "€31.50" in page.text) == ("2450", True, False)
    assert (await tick(desk, second, "send", page=page, pick=["1"], r1="damaged")).status_code == 303
    assert (await returns_of(shop))[0]["amount_estimated"] == 2450


@pytest.mark.parametrize("meanwhile", ["nothing", "approved_alone", "disputed", "refunded", "promised_to_another"])
async def test_at_once_is_promised_only_where_it_happens(shop: ServedShop, desk: Desk, meanwhile: str) -> None:
    """What one person may decide is summed up for the payment; a dispute and an empty payment bar it as well."""
    one = {"eur": 5000} if meanwhile == "approved_alone" else {}
    shop.policy = shop.context.policy = replace(DEFAULT, auto_approve_below={"eur": 5000}, second_person_above=one)
    payment = shop.pay(6000, currency="eur")
    lines = [{"sku": "TOTE", "title": "Canvas tote", "quantity": 2, "total_amount": 6000}]
    path = path_of(await offer(shop, payment=payment, lines=lines))
    promise = "Approved at once"
    fields: dict[str, Any] = {"pick": ["0"], "q0": "1", "r0": "damaged"}
    if meanwhile == "disputed":
        shop.dashboard.open_dispute(shop.ledger.charges_of[payment][0])
        await shop.deliver()
    elif meanwhile == "refunded":
        expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 4000}), 202)
    elif meanwhile != "nothing":
        body = {"order_id": "NW-2", "payment_intent": payment, "currency": "eur"}
        made = expect(await shop.post("/v1/returns", {**body, "lines": [{**lines[0], "total_amount": 4000}]}), 201)
        expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    await tick(desk, path, **fields)
    page = await desk.get(path)
    assert (promise in page.text) == (meanwhile == "nothing")
    assert ("A person looks at your request first" in page.text) == (meanwhile != "nothing")
    assert (await tick(desk, path, "send", page=page, **fields)).status_code == 303
    assert (await returns_of(shop))[0]["state"] == ("approved" if meanwhile == "nothing" else "requested")


@pytest.mark.parametrize(
    "method, says",
    [
        ("waived", "As agreed with you, €24.50 is not paid back."),
        ("cash", "You have got €24.50 in cash."),
        ("dispute", "You have got €24.50 back from your bank."),
    ],
)
async def test_what_was_waived_or_given_in_hand_is_not_told_as_paid_by_the_bank(
    shop: ServedShop, desk: Desk, method: str, says: str
) -> None:
    shop.policy = shop.context.policy = replace(DEFAULT, refund_on="manual")
    path = path_of(await offer(shop))
    await send_back(desk, path, pick=["1"], r1="damaged")
    (made,) = await returns_of(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    count = {"sku": "TOTE", "quantity": 1, "condition": "new"}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": [count]}), 201)
    body = {"method": method, "reference": "mail of 2 May"}
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", body), 200)
    shown = words_in(await desk.get(path))
    assert says in shown
    assert "paid back €" not in shown


async def test_what_is_missing_is_said_at_its_item_and_the_rest_is_kept(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    page = await desk.get(path)
    answer = await tick(desk, path, "send", page=page)
    assert answer.status_code == 422
    assert "Tick at least one item." in answer.text
    answer = await tick(desk, path, "send", page=answer, pick=["0", "1"], q0="2", r1="damaged")
    assert answer.status_code == 422
    assert "Choose a reason." in answer.text
    fields = forms_in(answer)[path]
    assert (fields["quantity:0"], fields["reason:1"]) == ("2", "damaged")
    assert await returns_of(shop) == []


@pytest.mark.parametrize(
    "sent",
    [{"pick": ["3"], "r3": "damaged"}, {"pick": ["99", "-1", "x", "²"]}, {"pick": ["1"], "q1": "99", "r1": "damaged"}],
)
async def test_a_form_made_up_gets_no_more_than_is_offered(shop: ServedShop, desk: Desk, sent: dict[str, str]) -> None:
    shop.context.policy = replace(DEFAULT, excluded_skus=("GIFT-CARD*",))
    path = path_of(await offer(shop))
    assert "This can’t be sent back." in (await desk.get(path)).text
    page = await desk.get(path)
    await tick(desk, path, page=page, **sent)
    async with shop.db.reading() as tx:
        (row,) = (await tx.exec(select(PortalSession))).all()
    assert row.picks == ([PICK] if "q1" in sent else [])


async def test_units_on_another_return_cant_be_sent_again(shop: ServedShop, desk: Desk) -> None:
    payment = shop.pay(30_000, currency="eur")
    first, second = [path_of(await offer(shop, payment=payment)) for _ in range(2)]
    await tick(desk, second, pick=["0"], q0="3", r0="too_small")
    page = await desk.get(second)
    assert (await send_back(desk, first, pick=["0"], q0="2", r0="too_small")).status_code == 303
    answer = await tick(desk, second, "send", page=page, pick=["0"], q0="3", r0="too_small")
    assert answer.status_code in (409, 422)
    assert "1 not yet sent back" in re.sub(r"</?bdi>", "", (await desk.get(second)).text)
    assert len(await returns_of(shop)) == 1
    assert (await send_back(desk, second, pick=["0"], q0="1", r0="too_small")).status_code == 303
    third = path_of(await offer(shop, payment=payment))
    assert "All of this is on a return already." in (await desk.get(third)).text


async def test_a_link_goes_by_the_number_ordered_on_record(shop: ServedShop, desk: Desk) -> None:
    """B6: an earlier return told three units, and took one; the link offers as many as it likes."""
    payment = shop.pay(30_000, currency="eur")
    line = {"sku": "CREW-L", "order_line": "1"}
    body = {"order_id": "NW-48213", "payment_intent": payment, "currency": "eur"}
    one = {**line, "quantity": 1, "total_amount": 1000, "quantity_ordered": 3}
    expect(await shop.post("/v1/returns", {**body, "lines": [one]}), 201)
    wrong = {**line, "quantity": 2, "total_amount": 2000, "quantity_ordered": 5}
    expect(await shop.post("/v1/portal_sessions", {**body, "lines": [wrong]}), 422, "quantity_ordered_differs")
    few, many = [
        path_of(await offer(shop, payment=payment, lines=[{**line, "quantity": units, "total_amount": 1000 * units}]))
        for units in (2, 3)
    ]
    assert "2 not yet sent back" in words_in(await desk.get(many))
    for path in (few, many):
        await tick(desk, path, pick=["0"], q0="3", r0="too_small")
        assert forms_in(await desk.get(path))[path]["shown"] == "2000"
    assert (await send_back(desk, many, pick=["0"], q0="2", r0="too_small")).status_code == 303
    assert "All of this is on a return already." in words_in(await desk.get(few))


async def test_a_customer_keeps_it_and_asks_again(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    answer = await send_back(desk, path)
    page = await desk.get(answer.headers["location"])
    answer = await desk.post(f"{path}/cancel", forms_in(page)[f"{path}/cancel"])
    assert answer.status_code == 303
    assert "You keep everything. No money moves." in (await desk.get(answer.headers["location"])).text
    (made,) = await returns_of(shop)
    assert made["state"] == "canceled"
    assert (await send_back(desk, path)).status_code == 303
    assert [one["state"] for one in await returns_of(shop)] == ["requested", "canceled"]


async def test_a_parcel_at_the_dock_cant_be_kept_by_the_page(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    await send_back(desk, path)
    page = await desk.get(path)
    (made,) = await returns_of(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    count = {"sku": "TOTE", "quantity": 1, "condition": "new"}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": [count]}), 201)
    answer = await desk.post(f"{path}/cancel", forms_in(page)[f"{path}/cancel"])
    assert answer.status_code == 409
    assert "can’t be taken back here" in answer.text


async def test_a_declined_request_tells_the_shops_own_sentence(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    await send_back(desk, path)
    (made,) = await returns_of(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "Worn <b>outside</b>."}), 200)
    page = await desk.get(path)
    assert "We can’t take this back" in page.text
    assert "Worn &lt;b&gt;outside&lt;/b&gt;." in page.text


async def test_the_customer_is_who_did_it(shop: ServedShop, desk: Desk) -> None:
    session = await offer(shop)
    await send_back(desk, path_of(session))
    (made,) = await returns_of(shop)
    events = expect(await shop.get(f"/v1/returns/{made['id']}/events"), 200)["data"]
    assert {event["actor"] for event in events} == {session["id"]}


async def test_hostile_text_is_text(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop, HOSTILE[:150], customer_name=HOSTILE[:150]))
    before = await desk.get(path)
    await send_back(desk, path, pick=["2"], q2="1", r2="damaged")
    for page in (before, await desk.get(path)):
        assert "<img src=x" not in page.text
        assert "&lt;img src=x" in page.text
        assert "onerror=alert(1)&gt;" in page.text


async def test_stripe_away_says_that_nothing_is_lost(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    fields: dict[str, Any] = {"pick": ["1"], "r1": "damaged"}
    await tick(desk, path, **fields)
    page = await desk.get(path)
    shop.faults.arm("drop_before", count=20)
    answer = await tick(desk, path, "send", page=page, **fields)
    assert answer.status_code == 503
    assert "What you ticked is kept" in answer.text
    assert await returns_of(shop) == []


async def test_the_shops_look_is_its_own(shop: ServedShop, desk: Desk, tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(picture("PNG"))
    changed = {"shop_name": "Nord<wind>", "shop_colour": "#ffee00", "shop_logo": logo, "shop_email": "a@shop.test",
               "shop_address": ("Nordwind", "Bremen")}  # fmt: skip
    shop.context.settings = shop.context.settings.model_copy(update=changed)
    path = path_of(await offer(shop))
    page = await desk.get(path)
    assert "Nord&lt;wind&gt;" in page.text
    assert 'href="mailto:a@shop.test"' in page.text
    (address,) = re.findall(r'href="(/portal/look\.css\?\w+)"', page.text)
    sheet = await desk.client.get(address)
    assert (sheet.status_code, sheet.headers["content-type"].partition(";")[0]) == (200, "text/css")
    assert "#ffee00" not in sheet.text.partition(",")[0], "yellow on white can't be read"
    shown = await desk.client.get("/portal/logo")
    assert shown.headers["content-type"] == "image/png"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    await send_back(desk, path)
    assert "Bremen" in (await desk.get(path)).text
