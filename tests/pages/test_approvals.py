"""Approvals by forms: one by one, with a reason, by a second person, several at once; each decision is made once."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from returns_service.store.tables import Event, Refund
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, open_desk, sign_in_as
from tests.pages.forms import follow, forms_in, send
from tests.pages.world import approved, ask


@pytest.fixture
async def approver(shop: ServedShop, desk: Desk) -> Desk:
    """A browser without scripts, an approver signed in."""
    return await sign_in_as(shop, desk, "approver", "Ana Novak")


async def state_of(shop: ServedShop, made: dict[str, Any]) -> str:
    return str((await shop.read_return(made["id"]))["state"])


async def events_of(shop: ServedShop, made: dict[str, Any]) -> list[Event]:
    async with shop.db.reading() as tx:
        chosen = select(Event).where(col(Event.return_id) == made["id"]).order_by(col(Event.sequence))
        return list((await tx.exec(chosen)).all())


async def test_what_the_dock_put_aside_stands_beside_what_waits(shop: ServedShop, approver: Desk) -> None:
    made = await approved(shop, "NW-8")
    body = {"undeclared": [{"sku": "<b>HAT", "quantity": 2, "note": "In the same box."}]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    page = await approver.get("/approvals?view=aside")
    assert re.search(r'view=aside" aria-current="page">Put aside at the dock <span class="n"[^>]*>1<', page.text)
    assert "2 × <bdi>&lt;b&gt;HAT</bdi>" in page.text
    assert "warehouse and admin" in page.text
    item = receipt["undeclared"][0]["id"]
    expect(await shop.post(f"/v1/returns/{made['id']}/undeclared/{item}/resolve", {"decision": "scrap"}), 200)
    assert "HAT" not in (await approver.get("/approvals?view=aside")).text


async def test_the_customers_other_returns_are_one_click_away(shop: ServedShop, approver: Desk) -> None:
    for order in ("NW-1", "NW-2"):
        await ask(shop, order, customer_email="birgit+1@shop.test")
    page = await approver.get("/approvals")
    (path, *_) = re.findall(r'<a class="link" href="(/returns\?[^"]+)">1 other return</a>', page.text)
    found = (await approver.get(path)).text
    assert ("NW-1" in found, "NW-2" in found) == (True, True)


async def outside(shop: ServedShop, order: str = "NW-2") -> dict[str, Any]:
    """Return a request whose window is over."""
    return await ask(shop, order, purchased_at=(shop.time - timedelta(days=41)).isoformat())


async def test_a_request_is_approved_under_the_persons_name_and_a_double_click_is_one_act(
    shop: ServedShop, approver: Desk
) -> None:
    made = await ask(shop, "NW-1", 5900)
    page = await approver.get("/approvals")
    assert "59.00" in page.text
    assert "Day 4 of 30" in page.text
    address = f"/returns/{made['id']}/approve"
    first = await send(approver, page, address)
    again = await send(approver, page, address)
    assert first.headers["location"] == again.headers["location"]
    told = await follow(approver, first)
    assert "Approved: 59.00 EUR" in told.text
    assert "Nothing waits." in told.text
    made = await shop.read_return(made["id"])
    assert (made["state"], len(made["approvals"])) == ("approved", 1)
    async with shop.db.reading() as tx:
        events = (await tx.exec(select(Event).where(col(Event.actor) == made["approvals"][0]["by"]))).all()
    assert len(events) == 1
    assert events[0].actor.startswith("usr_")


async def test_what_changed_since_it_was_looked_at_is_not_approved(shop: ServedShop, approver: Desk) -> None:
    """Nobody approves an amount that they didn't see: neither alone, nor with others, nor against the policy."""
    first, second, late = await ask(shop, "NW-1", 5900), await ask(shop, "NW-2", 700), await outside(shop)
    page = await approver.get("/approvals")
    chosen = await approver.get(f"/approvals/chosen?return={first['id']}&return={second['id']}&do=approve")
    lines = [{"sku": "SHIRT", "quantity": 1, "total_amount": 1200}]
    for made in (first, late):
        expect(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines}), 200)
    for made, fields in ((first, {}), (late, {"override_reason": "Late parcel."})):
        refused = await send(approver, page, f"/returns/{made['id']}/approve", **fields)
        assert (refused.status_code, await state_of(shop, made)) == (412, "requested")
    both = {**forms_in(chosen)["/approvals/chosen"], "return": [first["id"], second["id"]], "do": "approve"}
    answer = await approver.post("/approvals/chosen", both)
    assert (answer.status_code, "1 of 2 approved" in answer.text) == (409, True)
    assert [await state_of(shop, made) for made in (first, second)] == ["requested", "approved"]
    page = await approver.get("/approvals")
    assert "12.00" in page.text
    assert (await send(approver, page, f"/returns/{first['id']}/approve")).status_code == 303
    assert await state_of(shop, first) == "approved"


async def test_against_the_policy_a_reason_is_asked_for_and_kept(shop: ServedShop, approver: Desk) -> None:
    made = await outside(shop)
    page = await approver.get("/approvals?view=outside")
    assert "Bought 41 days before the request" in page.text
    address = f"/returns/{made['id']}/approve"
    refused = await send(approver, page, address)
    assert refused.status_code == 422
    assert "What you typed is kept" in refused.text
    assert await state_of(shop, made) == "requested"
    assert (await send(approver, refused, address, override_reason="Late parcel.")).status_code == 303
    made = await shop.read_return(made["id"])
    assert (made["state"], made["approvals"][0]["override_reason"]) == ("approved", "Late parcel.")


async def test_a_decline_asks_for_the_customers_sentence(shop: ServedShop, approver: Desk) -> None:
    made = await ask(shop, "NW-1")
    page, address = await approver.get("/approvals"), f"/returns/{made['id']}/decline"
    refused = await send(approver, page, address, reason="  ")
    assert refused.status_code == 422
    assert "a sentence the customer can act on" in refused.text
    told = await follow(approver, await send(approver, refused, address, reason="<b>Worn</b>"))
    assert "Declined" in told.text
    assert await state_of(shop, made) == "declined"
    assert (await events_of(shop, made))[-1].data["reason"] == "<b>Worn</b>"


async def test_two_people_have_to_agree(shop: ServedShop, approver: Desk) -> None:
    shop.policy = shop.context.policy = replace(shop.context.policy, second_person_above={"eur": 1})
    made = await ask(shop, "NW-1")
    address = f"/returns/{made['id']}/approve"
    page = await approver.get("/approvals")
    told = await follow(approver, await send(approver, page, address))
    assert "a second person has to agree" in told.text
    assert "You approved it already" in told.text
    assert address not in forms_in(told)
    once = {"once": "another-one-1", "next": "/approvals"}
    refused = await approver.post(address, once)
    assert refused.status_code == 409
    assert "second person" in refused.text
    async with open_desk(shop, "192.0.2.2") as other:
        await add_person(shop, "admin")
        await other.sign_in("admin@shop.test")
        page = await other.get("/approvals?view=second")
        assert "Ana Novak</bdi> approved it." in page.text
        assert (await send(other, page, address)).status_code == 303
    assert await state_of(shop, made) == "approved"


async def test_b3_a_refund_above_the_limit_is_approved_by_another_person(shop: ServedShop, approver: Desk) -> None:
    """B3: it stands where approvers work, and on the desk; who decided it is told why they can't approve it."""
    shop.policy = shop.context.policy = replace(shop.context.policy, second_person_above={"eur": 1000})
    payment = shop.pay(10_000, currency="eur")
    asked = {"payment_intent": payment, "amount": 5000, "note": "<b>Tea</b>", "override_reason": "Goodwill."}
    refund = expect(await shop.post("/v1/refunds", asked), 202)
    address = f"/refunds/{refund['id']}/approve"
    shown = (await approver.get("/approvals")).text
    assert "1 refund waits" in shown
    assert ">Of no return<small" in shown  # an approver has no page of the payment
    async with open_desk(shop, "192.0.2.2") as other:
        person = await add_person(shop, "admin")
        await other.sign_in("admin@shop.test")
        case = f"/refunds?case=second_person:{refund['id']}"
        page_of_payment = f"/refunds/payments?payment={payment}"
        assert f'href="{page_of_payment}">Of no return</a>' in (await other.get("/approvals")).text
        opened = await other.get(case)
        assert "50.00 EUR waits for a second person and has not moved." in opened.text
        assert address in forms_in(opened)
        async with shop.db.transaction() as tx:
            (await tx.get_one(Refund, refund["id"])).created_by = person.id
        for path in ("/approvals", case):
            own = await other.get(path)
            assert "You decided it: another person has to approve it." in own.text
            assert address not in forms_in(own)
    page = await approver.get("/approvals")
    assert "“<bdi>&lt;b&gt;Tea&lt;/b&gt;</bdi>”" in page.text
    told = await follow(approver, await send(approver, page, address, note="Agreed."))
    assert "50.00 EUR approved by a second person, goes to Stripe" in told.text
    assert "All decided" in told.text
    assert expect(await shop.get(f"/v1/refunds/{refund['id']}"), 200)["waiting_code"] is None


async def test_b3_whoever_makes_a_key_is_no_second_person_by_it(shop: ServedShop, desk: Desk) -> None:
    shop.context.policy = shop.policy = replace(shop.context.policy, second_person_above={"eur": 1000})
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    page = await desk.get("/settings")
    made = await send(desk, page, "/settings/keys", name="mine", scope=["refunds:write", "returns:approve"])
    found = re.search(r'id="secret">([^<]+)<', made.text)
    assert found is not None
    body = {"payment_intent": shop.pay(10_000, currency="eur"), "amount": 5000}
    refund = expect(await shop.post("/v1/refunds", body, Authorization=f"Bearer {found[1]}"), 202)
    assert refund["waiting_code"] == "second_person"
    await desk.get("/approvals")
    refused = await desk.post(f"/refunds/{refund['id']}/approve", {"once": "0123456789abcdef"})
    assert (refused.status_code, "second person" in refused.text.lower()) == (409, True)


async def test_several_are_decided_after_a_look_at_the_list(shop: ServedShop, approver: Desk) -> None:
    euros = [await ask(shop, f"NW-{number}", 5000) for number in range(2)]
    dollars = await ask(shop, "NW-9", 900, currency="usd")
    late = await outside(shop)
    chosen = "&".join(f"return={made['id']}" for made in (*euros, dollars, late))
    page = await approver.get(f"/approvals/chosen?{chosen}&do=approve")
    assert "Approve 3 returns for 100.00 EUR and 9.00 USD?" in page.text.replace("<bdi>", "").replace("</bdi>", "")
    assert "1 chosen return is not in this list" in page.text
    fields = forms_in(page)["/approvals/chosen"]
    ids = [made["id"] for made in (*euros, dollars)]
    sent = {**fields, "return": ids, "do": "approve"}
    first, again = await approver.post("/approvals/chosen", sent), await approver.post("/approvals/chosen", sent)
    assert first.headers["location"] == again.headers["location"]
    told = await follow(approver, first)
    assert told.text.count("<bdi>Approved: 50.00 EUR") == 2
    assert [await state_of(shop, made) for made in (*euros, dollars, late)] == ["approved"] * 3 + ["requested"]
    assert [len(await events_of(shop, made)) for made in euros] == [2, 2]


async def test_an_approval_that_moves_money_asks_first(shop: ServedShop, approver: Desk) -> None:
    """Where the policy refunds at approval, one tap would send money: amount and target are asked about."""
    shop.policy = shop.context.policy = replace(shop.context.policy, refund_on="approval")
    made = await ask(shop, "NW-1", 5000)
    page = await approver.get("/approvals")
    assert "50.00 EUR goes to Visa ending 4242 at once." in page.text
    assert re.search(r'<dialog id="approve-\w+"', page.text)
    chosen = await approver.get(f"/approvals/chosen?return={made['id']}&do=approve")
    assert "The money goes out at once." in chosen.text
    await send(approver, page, f"/returns/{made['id']}/approve")
    assert await state_of(shop, made) == "refunding"


async def test_several_each_have_their_own_result(shop: ServedShop, approver: Desk) -> None:
    first, second = await ask(shop, "NW-1"), await ask(shop, "NW-2")
    page = await approver.get(f"/approvals/chosen?return={first['id']}&return={second['id']}&do=decline")
    fields = {**forms_in(page)["/approvals/chosen"], "return": [first["id"], second["id"]], "do": "decline"}
    asked = await approver.post("/approvals/chosen", {**fields, "reason": ""})
    assert asked.status_code == 422
    expect(await shop.post(f"/v1/returns/{second['id']}/approve", {}), 200)
    answer = await approver.post("/approvals/chosen", {**fields, "reason": "Window closed."})
    assert answer.status_code == 409
    assert "1 of 2 declined" in answer.text
    assert [await state_of(shop, made) for made in (first, second)] == ["declined", "approved"]


async def change_lines(shop: ServedShop, made: dict[str, Any], amount: int) -> None:
    """Let the shop ask for another amount while the request waits."""
    lines = [{"sku": "SHIRT", "quantity": 1, "total_amount": amount}]
    expect(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines}), 200)


@pytest.mark.parametrize("where", ["/approvals", "/returns/{id}"])
async def test_another_amount_than_was_seen_is_not_approved(shop: ServedShop, approver: Desk, where: str) -> None:
    made = await ask(shop, "NW-1", 900, payment=shop.pay(10_000, currency="eur"))
    page, address = await approver.get(where.format(**made)), f"/returns/{made['id']}/approve"
    await change_lines(shop, made, 5000)
    refused = await send(approver, page, address)
    assert refused.status_code == 412
    assert "Approve NW-1 for 50.00 EUR?" in refused.text
    assert await state_of(shop, made) == "requested"
    assert (await send(approver, refused, address)).status_code == 303
    assert (await shop.read_return(made["id"]))["amount_estimated"] == 5000
    assert await state_of(shop, made) == "approved"


async def test_the_version_stands_in_the_row_whose_amount_it_is(shop: ServedShop, approver: Desk) -> None:
    """A page that is looked at renews its forms before its rows: a row must not approve what it doesn't show."""
    made = await ask(shop, "NW-1", 900)
    text = (await approver.get("/approvals")).text
    (row,) = [part for part in text.split("<tr") if made["id"] in part]
    assert re.search(r'name="if_match" value="&#34;1&#34;" form="approve-\w+"', row)


async def test_of_several_one_that_changed_is_left(shop: ServedShop, approver: Desk) -> None:
    first, second = await ask(shop, "NW-1", 900), await ask(shop, "NW-2", 900, payment=shop.pay(9000, currency="eur"))
    page = await approver.get(f"/approvals/chosen?return={first['id']}&return={second['id']}&do=approve")
    await change_lines(shop, second, 5000)
    fields = {**forms_in(page)["/approvals/chosen"], "return": [first["id"], second["id"]], "do": "approve"}
    answer = await approver.post("/approvals/chosen", fields)
    assert answer.status_code == 409
    assert "It changed after the list was shown" in answer.text
    assert [await state_of(shop, made) for made in (first, second)] == ["approved", "requested"]


async def test_what_bars_an_approval_stands_in_its_place(shop: ServedShop, approver: Desk) -> None:
    payment = shop.pay(10_000, currency="eur")
    taken = await ask(shop, "NW-1", 9000, payment=payment)
    expect(await shop.post(f"/v1/returns/{taken['id']}/approve", {}), 200)
    made = await ask(shop, "NW-2", 9000, payment=payment)
    page = await approver.get("/approvals")
    assert f"/returns/{made['id']}/approve" not in forms_in(page)
    assert f"/returns/{made['id']}/decline" in forms_in(page)
    assert "too little left" in page.text


async def test_a_form_without_its_token_does_nothing(shop: ServedShop, approver: Desk) -> None:
    made = await ask(shop, "NW-1")
    await approver.get("/approvals")
    answer = await approver.post(f"/returns/{made['id']}/approve", {"next": "//evil.test"})
    assert answer.status_code == 422
    answer = await approver.post(f"/returns/{made['id']}/approve", {"once": "12345678", "next": "//evil.test/x"})
    assert answer.headers["location"].startswith("/?did=evt_")
