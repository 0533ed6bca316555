"""The list of returns and one return: what is shown is what is exported; each act is done once, by whom it is for."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlmodel import select

from returns_service.commands.saved_views import MOST_VIEWS
from returns_service.domain.return_machine import PUBLIC
from returns_service.domain.vocabulary import Role
from returns_service.store.tables import Refund
from returns_service.web.pages.return_acts import barred_on
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, open_desk
from tests.pages.forms import follow, forms_in, send
from tests.pages.world import HOSTILE, approved, ask, parcel, play_day

if TYPE_CHECKING:
    pass

SHOWN = re.compile(r'class="go" href="/returns/(ret_\w{26})"')


async def open_as(shop: ServedShop, desk: Desk, role: Role, path: str = "/returns") -> httpx.Response:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    return await desk.get(path)


def exported(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


async def refused_once(shop: ServedShop, order: str = "NW-9") -> dict[str, Any]:
    """Return a return whose refund came back from the bank."""
    made = await approved(shop, order, 14_800, card="pm_card_refundFail")
    await shop.receive_parcel(made["id"])
    await shop.settle()
    return await shop.read_return(made["id"])


async def test_each_view_holds_what_it_says_and_exports_exactly_that(shop: ServedShop, desk: Desk) -> None:
    await play_day(shop)
    page = await open_as(shop, desk, "warehouse")
    views = re.findall(r'<a href="(/returns[^"]*)"[^>]*>[^<]+<span class="n"[^>]*>([\d,]+)</span>', page.text)
    assert len(views) == 7
    for path, number in ((path.replace("&amp;", "&"), number) for path, number in views):
        shown = SHOWN.findall((await desk.get(path)).text)
        assert len(shown) == int(number), path
        rows = exported(await desk.get(path.replace("/returns", "/returns.csv")))
        assert [row["return"] for row in rows] == shown, path


async def test_the_list_says_what_a_return_waits_for(shop: ServedShop, desk: Desk) -> None:
    """Money that waits for a second person, or is owed by other means than Stripe, is on nobody's way."""
    shop.policy = shop.context.policy = replace(shop.context.policy, second_person_above={"eur": 20_000})
    await approved(shop, "NW-1", 10_000, quantity=2)
    goodwill = {"adjustments": [{"kind": "goodwill", "amount": 4000, "description": "Late."}], "override_reason": "So."}
    over = await approved(shop, "NW-2", 20_000, payment=shop.pay(30_000, currency="eur"))
    expect(await shop.post(f"/v1/returns/{over['id']}/refund", goodwill), 202)
    swapped = await approved(shop, "NW-3", 5000, resolution="exchange")
    await shop.receive_parcel(swapped["id"])
    unsent = await approved(shop, "NW-4", 6000)
    await shop.receive_parcel(unsent["id"])
    rows = {row["order"]: row["note"] for row in exported(await open_as(shop, desk, "finance", "/returns.csv"))}
    assert rows == {
        "NW-1": "2 units still to come", "NW-2": "40.00 EUR waits for a second person",
        "NW-3": "50.00 EUR owed as an exchange", "NW-4": "60.00 EUR not sent yet",
    }  # fmt: skip
    page = await desk.get("/returns")
    assert page.text.count("40.00 EUR waits for a second person") == 1
    beside = await desk.get(f"/returns/{over['id']}")
    assert re.search(r"For a second person</dt><dd><bdi class=\"money\">40.00 ", beside.text), beside.text
    beside = await desk.get(f"/returns/{unsent['id']}")
    assert re.search(r"Has not left yet</dt><dd><bdi class=\"money\">60.00 ", beside.text), beside.text
    assert re.search(r"On its way</dt><dd><bdi class=\"money\">0.00 ", beside.text), beside.text
    assert " on its way</small>" not in beside.text


async def test_a_return_says_when_its_customer_sees_the_money(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1", 10_000, customer_email="birgit@shop.test", customer_name="Birgit <b>")
    await shop.receive_parcel(made["id"])
    await shop.settle()
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    assert "The bank’s reference, by which the customer’s bank finds it, comes" in page.text
    assert 'href="/returns?q=birgit%40shop.test">All their returns' in page.text
    async with shop.db.transaction() as tx:
        refund = (await tx.exec(select(Refund).where(Refund.return_id == made["id"]))).one()
        refund.arrival = {"reference": "74537604323000128845120", "kind": "refund", "expected": "5-10 business days"}
    told = (await desk.get(f"/returns/{made['id']}")).text
    assert re.search(r"Bank’s reference <span[^>]*>74537604323000128845120</span>", told)
    assert "comes within 7 business days" not in told


async def test_what_waits_for_the_balance_is_on_nobodys_way(shop: ServedShop, desk: Desk) -> None:
    shop.ledger.settings.balance = "short_waits"
    made = await approved(shop, "NW-1", 10_000)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    assert "100.00 EUR has not left: the Stripe balance is too low" in page.text
    assert "Stripe sends it once there is enough." in page.text
    assert "When the customer sees it" not in page.text
    assert "100.00 EUR waits for the Stripe balance" in (await desk.get("/returns")).text
    case = await desk.get("/refunds?kind=refund_pending")
    assert 'data-money="not-moved"' in case.text
    assert "100.00 EUR has not left: the Stripe balance is too low." in case.text


async def test_a_saved_view_is_its_persons_own_counted_replaced_and_deleted(shop: ServedShop, desk: Desk) -> None:
    await play_day(shop)
    page = await open_as(shop, desk, "finance", "/returns?view=failed&currency=eur")
    for name in ("Ours", "<b>Ours</b>"):
        assert (await send(desk, page, "/returns/views", name=name)).status_code == 303
    told = await follow(desk, await send(desk, page, "/returns/views", name="Ours"))
    assert told.url.query == b"view=failed&currency=eur"
    of_view = re.compile(r'<a href="([^"]+)"[^>]*><bdi>([^<]+)</bdi> <span class="n"[^>]*>([^<]+)</span>')
    shown = {name: (path, number) for path, name, number in of_view.findall(told.text)}
    path = "/returns?view=failed&amp;currency=eur"
    assert shown == {"Ours": (path, "1"), "&lt;b&gt;Ours&lt;/b&gt;": (path, "1")}
    assert (await desk.post("/returns/views", {"name": " ", "view": "failed"})).status_code == 422
    async with open_desk(shop, "192.0.2.2") as other:
        await add_person(shop, "approver")
        await other.sign_in("approver@shop.test")
        assert of_view.findall((await other.get("/returns")).text) == []
        (address,) = [address for address in forms_in(told) if address.endswith("/delete")]
        assert (await other.post(address, {})).status_code == 303, "it is not theirs: nothing changes"
    told = await follow(desk, await send(desk, told, address))
    assert len(of_view.findall(told.text)) == 1


async def test_no_more_views_than_are_counted_at_once(shop: ServedShop, desk: Desk) -> None:
    page = await open_as(shop, desk, "finance", "/returns?view=failed")
    answers = [await send(desk, page, "/returns/views", name=f"View {n}") for n in range(MOST_VIEWS + 1)]
    assert [answer.status_code for answer in answers] == [303] * MOST_VIEWS + [422]
    assert "Delete one first." in answers[-1].text


async def test_filters_narrow_list_numbers_and_export_alike(shop: ServedShop, desk: Desk) -> None:
    await play_day(shop)
    await open_as(shop, desk, "finance")
    for query, number in (
        ("q=nw-4820", 2), ("q=birgit@shop", 2), ("currency=jpy", 2), ("view=failed&currency=eur", 1), ("q=no-such", 0),
        ("from=2026-11-24", 14), ("from=2027-01-01", 0), ("view=nonsense&currency=x&from=never&after=x", 14),
    ):  # fmt: skip
        page = await desk.get(f"/returns?{query}")
        shown = SHOWN.findall(page.text)
        assert len(shown) == number, query
        assert [row["return"] for row in exported(await desk.get(f"/returns.csv?{query}"))] == shown, query
    page = await desk.get("/returns?view=parcel-here&currency=eur&q=nw")
    assert 'href="/returns?view=parcel-here&amp;q=nw"' in page.text, "the currency can be taken off alone"


async def test_a_return_is_shown_whether_its_approval_said_something_or_not(shop: ServedShop, desk: Desk) -> None:
    await open_as(shop, desk, "approver")
    for said in ({}, {"note": "A regular."}, {"override_reason": "Agreed on the phone."}):
        made = await ask(shop, "NW-7")
        expect(await shop.post(f"/v1/returns/{made['id']}/approve", said), 200)
        page = await desk.get(f"/returns/{made['id']}")
        assert page.status_code == 200
        assert all(word in page.text for word in said.values())


async def test_pages_follow_each_other_without_a_gap(shop: ServedShop, desk: Desk) -> None:
    made = [(await ask(shop, f"NW-{number}"))["id"] for number in range(27)][::-1]
    page = await open_as(shop, desk, "approver")
    first = SHOWN.findall(page.text)
    older = re.search(r'href="(/returns\?after=[^"]+)">Older', page.text)
    assert older is not None
    page = await desk.get(older[1])
    assert first + SHOWN.findall(page.text) == made
    newer = re.search(r'href="(/returns\?before=[^"]+)">Newer', page.text)
    assert newer is not None
    assert SHOWN.findall((await desk.get(newer[1])).text) == first
    assert len(exported(await desk.get("/returns.csv"))) == 27


async def test_nothing_a_stranger_typed_is_run_by_a_browser_or_a_spreadsheet(shop: ServedShop, desk: Desk) -> None:
    formula = await ask(shop, "=cmd|' /C calc'!A0")
    hostile = await ask(shop, HOSTILE, reason=HOSTILE)
    page = await open_as(shop, desk, "approver")
    assert "<img" not in page.text
    assert "<img" not in (await desk.get(f"/returns/{hostile['id']}")).text
    rows = {row["return"]: row["order"] for row in exported(await desk.get("/returns.csv"))}
    assert rows[formula["id"]] == "'=cmd|' /C calc'!A0"
    assert rows[hostile["id"]] == HOSTILE


async def test_what_can_be_done_is_offered_to_whom_it_belongs_and_else_says_why(shop: ServedShop, desk: Desk) -> None:
    made = await refused_once(shop)
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    path = f"/returns/{made['id']}"
    offered = {address for address in forms_in(page) if address.startswith(path)}
    assert offered == {f"{path}/retry", f"{path}/settle_outside"}
    assert "148.00 EUR did not reach the customer" in page.text
    assert "For warehouse and admin." in page.text
    assert "Not possible while the return is failed." in page.text


@pytest.mark.parametrize("note", ["Within the window.", None])
async def test_an_approval_is_shown_with_its_note_or_without(shop: ServedShop, desk: Desk, note: str | None) -> None:
    made = await shop.create_return()
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"note": note}), 200)
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    assert page.status_code == 200
    assert "Approved by" in page.text
    assert note is None or note in page.text


async def test_a_failed_refund_is_retried_once_by_two_clicks(shop: ServedShop, desk: Desk) -> None:
    made = await refused_once(shop)
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    address = f"/returns/{made['id']}/retry"
    answers = [await send(desk, page, address) for _ in range(2)]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    told = await follow(desk, answers[0])
    assert "148.00 EUR" in told.text
    assert len((await shop.read_return(made["id"]))["refunds"]) == 2
    stale = await send(desk, page, address, once="another-click-1")
    assert stale.status_code == 409
    assert "No money moved, nothing was changed." in stale.text


async def test_settling_outside_asks_for_the_reference_and_keeps_what_was_typed(shop: ServedShop, desk: Desk) -> None:
    made = await refused_once(shop)
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    address = f"/returns/{made['id']}/settle_outside"
    refused = await send(desk, page, address, method="cash", amount="100.5", note="At the shop.")
    assert refused.status_code == 422
    assert "Enter the reference, for example SEPA-2026-11-0071." in refused.text
    assert forms_in(refused)[address]["note"] == "At the shop."
    wrong = await send(desk, refused, address, reference="B-7", amount="1,000.00")
    assert "Write the amount like 22.35" in wrong.text
    done = await send(desk, refused, address, reference="B-7", amount="148.00")
    told = await follow(desk, done)
    assert "148.00 EUR settled outside: cash" in told.text
    made = await shop.read_return(made["id"])
    assert (made["state"], made["amount_settled_outside"]) == ("refunded", 14_800)


@pytest.mark.parametrize("act", ["retry", "settle_outside"])
async def test_the_rest_of_a_failed_refund_is_given_up_with_a_reason_only(
    shop: ServedShop, desk: Desk, act: str
) -> None:
    made = await refused_once(shop)
    address = f"/returns/{made['id']}/{act}"
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    fields = {"amount": "100.00"} | ({"reference": "B-7"} if act == "settle_outside" else {})
    refused = await send(desk, page, address, **fields, waive="1")
    assert (refused.status_code, "Say why" in refused.text) == (422, True)
    assert forms_in(refused)[address]["waive"] == "1", "it stays ticked"
    done = await send(desk, refused, address, reason="She keeps the rest as a voucher.")
    assert done.status_code == 303, done.text
    made = await shop.read_return(made["id"])
    assert made["amount_waived"] == 4_800
    assert made["refunds"][0]["amount_open"] == 0


async def test_goodwill_beyond_what_is_due_needs_its_reason(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1", 10_000, quantity=2, payment=shop.pay(12_000, currency="eur"))
    await shop.receive_parcel(made["id"])
    await shop.settle()
    page = await open_as(shop, desk, "finance", f"/returns/{made['id']}")
    assert "Nothing received is unpaid." in page.text
    assert f"/returns/{made['id']}/refund" not in forms_in(page)


@pytest.mark.parametrize("act, state", [("cancel", "canceled"), ("close", "canceled")])
async def test_an_approver_ends_a_return_and_reopens_it(shop: ServedShop, desk: Desk, act: str, state: str) -> None:
    made = await approved(shop, "NW-1")
    page = await open_as(shop, desk, "approver", f"/returns/{made['id']}")
    path = f"/returns/{made['id']}"
    told = await follow(desk, await send(desk, page, f"{path}/{act}", reason="Kept."))
    assert (await shop.read_return(made["id"]))["state"] == state
    assert "Kept." in told.text
    assert (await send(desk, told, f"{path}/reopen", reason="By mistake.")).status_code == 303
    assert (await shop.read_return(made["id"]))["state"] in ("requested", "approved")


async def test_notes_stand_in_the_timeline_under_their_authors(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1")
    notes = f"/v1/returns/{made['id']}/notes"
    page = await open_as(shop, desk, "approver", f"/returns/{made['id']}")
    address = f"/returns/{made['id']}/note"
    expect(await shop.post(notes, {"text": "The shop's."}), 201)
    told = await follow(desk, await send(desk, page, address, text="<b>Mine</b>\r\nof two lines."))
    assert "&lt;b&gt;Mine&lt;/b&gt;\nof two lines." in told.text
    assert "The shop&#39;s." in told.text
    assert (await send(desk, page, address, text="<b>Mine</b>\r\nof two lines.")).status_code == 303, "a double click"
    written = expect(await shop.get(notes), 200)["data"]
    assert [(note["text"], note["author"][:4]) for note in written] == [
        ("<b>Mine</b>\nof two lines.", "usr_"), ("The shop's.", "key_"),
    ]  # fmt: skip
    refused = await send(desk, told, address, text=" ")
    assert refused.status_code == 422
    assert "Write what colleagues should know." in refused.text


async def test_the_dock_corrects_takes_back_and_decides_on_the_returns_page(shop: ServedShop, desk: Desk) -> None:
    made = await parcel(shop, "NW-1")
    line = made["lines"][0]["id"]
    counts = [{"line": line, "quantity": 2, "condition": "missing"}]
    body = {"lines": counts, "undeclared": [{"sku": "X", "quantity": 1}]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    page = await open_as(shop, desk, "warehouse", f"/returns/{made['id']}")
    path = f"/returns/{made['id']}/receipts/{receipt['id']}"
    corrected = await send(desk, page, f"{path}/correct", to="new", quantity="1", reason="Under the paper.")
    told = await follow(desk, corrected)
    assert "A receipt was corrected" in told.text
    undeclared = f"/returns/{made['id']}/undeclared/{receipt['undeclared'][0]['id']}/resolve"
    told = await follow(desk, await send(desk, told, undeclared, decision="scrap"))
    assert told.text.count("<strong><bdi>1 × X, nobody announced it: scrap</bdi></strong>") == 1, "in the history"
    assert "<span><bdi>1 × X, nobody announced it: scrap</bdi>" in told.text, "and as what just happened"
    of_line = (await shop.read_return(made["id"]))["lines"][0]
    assert (of_line["received_quantity"], of_line["accepted_quantity"]) == (2, 1)
    assert (await shop.read_return(made["id"]))["undeclared"][0]["decision"] == "scrap"
    page = await desk.get(f"/returns/{made['id']}")
    assert (await send(desk, page, f"{path}/take_back", reason="Another parcel.")).status_code == 303
    assert (await shop.read_return(made["id"]))["lines"][0]["received_quantity"] == 0


async def test_the_timeline_names_who_did_what(shop: ServedShop, desk: Desk) -> None:
    made = await refused_once(shop)
    page = await open_as(shop, desk, "approver", f"/returns/{made['id']}")
    for told in (
        "1 unit received",
        "148.00 EUR did not arrive",
        "Approved: 148.00 EUR",
        "A regular.",
        "test (API key)",
    ):
        assert told in page.text, told
    assert (await desk.get("/returns/ret_01h455vb4pex5vsknk084sn02q")).status_code == 404


async def test_a_return_the_customer_wants_store_credit_for_says_so_and_is_settled(
    shop: ServedShop, desk: Desk
) -> None:
    """B2: chosen on the page, counted, owed outside Stripe, settled on the page with its method."""
    made = await approved(shop, "NW-31", 9_000)
    where = f"/returns/{made['id']}"
    page = await open_as(shop, desk, "admin", where)
    told = await follow(desk, await send(desk, page, f"{where}/resolution", resolution="store_credit"))
    assert "The customer wants store credit" in told.text
    assert "“store_credit”" not in told.text
    await shop.receive_parcel(made["id"], quantity=made["lines"][0]["quantity"])
    await shop.settle()
    owed = await shop.read_return(made["id"])
    assert (owed["amount_refunded"], owed["amount_due_outside"]) == (0, 9_000)
    page = await desk.get(where)
    assert "store credit" in page.text
    done = await send(desk, page, f"{where}/settle_outside", reference="GIFT-77")
    assert done.status_code == 303, done.text
    settled = await shop.read_return(made["id"])
    assert (settled["state"], settled["amount_settled_outside"]) == ("refunded", 9_000)
    assert settled["refunds"][-1]["method"] == "store_credit"


def test_each_act_of_the_machine_has_its_words() -> None:
    """What the machine bars or offers is named on the page, whatever is added to it."""
    assert len(barred_on([], dict.fromkeys(PUBLIC, "Not now."), lambda scope: True)) == len(PUBLIC)
