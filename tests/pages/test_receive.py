"""Receiving by forms alone: every scan counts once, Done writes one receipt, all of it can be taken back."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from returns_service.commands import sessions
from returns_service.store.tables import (
    DockScan,
    Event,
    IdempotencyKey,
    Receipt,
    ReceiptLine,
    StaffUser,
    UndeclaredItem,
)
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, add_person, open_desk
from tests.pages.forms import forms_in
from tests.pages.world import parcel


@pytest.fixture
async def dock(shop: ServedShop, desk: Desk) -> Desk:
    """A browser without scripts, somebody of the warehouse signed in."""
    await add_person(shop, "warehouse", name="Mara")
    await desk.sign_in("warehouse@shop.test")
    await desk.get("/receive")
    return desk


async def scan(dock: Desk, return_id: str, code: str) -> str:
    """Scan a code by the page's form; return what the page says then."""
    page = await dock.get(f"/receive/{return_id}")
    scan_id = re.search(r'name="scan_id" value="(\w+)"', page.text)
    assert scan_id is not None
    answer = await dock.post(f"/receive/{return_id}/scan", {"q": code, "scan_id": scan_id[1]})
    assert answer.status_code == 303, answer.text
    return said(await dock.get(answer.headers["location"]))


def said(page: httpx.Response) -> str:
    """Return what the dock is told of the last scan."""
    match = re.search(
        r'class="said-now"[^>]*><b>([^<]*)</b>.*?<p class="goes"[^>]*>.*?<b>([^<]*)</b>', page.text, re.DOTALL
    )
    assert match is not None, page.text
    return f"{match[1]} > {match[2]}"


def line_ids(page: httpx.Response) -> list[str]:
    return re.findall(r'data-line="(rli_\w{26})" data-open', page.text)


async def done(dock: Desk, return_id: str, **fields: str) -> httpx.Response:
    page = await dock.get(f"/receive/{return_id}")
    once = re.search(r'name="done_id" value="(\w+)"', page.text)
    assert once is not None
    return await dock.post(f"/receive/{return_id}/counts", {"done": "1", "done_id": once[1], **fields})


async def rows(shop: ServedShop, kind: Any) -> list[Any]:
    async with shop.db.reading() as tx:
        return list((await tx.exec(select(kind).order_by(col(kind.id)))).all())


async def queue(dock: Desk, entry: dict[str, Any]) -> httpx.Response:
    """Send what the page's script sends."""
    headers = {"X-CSRF-Token": dock.token, "Accept": "application/json"}
    return await dock.client.post("/receive/queue", json=entry, headers=headers)


async def test_scans_count_and_done_writes_one_receipt_under_the_persons_name(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    assert await scan(dock, made["id"], "TOTE-NAT") == "Counted: 1 of 1 > Restock"
    assert await scan(dock, made["id"], "tote-nat\r") == "One too many: 1 expected > Put aside"
    assert await scan(dock, made["id"], "MUG-COBALT-11") == "Not on this return > Put aside"
    assert await scan(dock, made["id"], " CREW-MER-UND-L ") == "Counted: 1 of 3 > Restock"
    answer = await done(dock, made["id"])
    assert answer.status_code == 303
    (receipt,) = await rows(shop, Receipt)
    assert answer.headers["location"] == f"/receive?did={receipt.id}"
    assert {(row.sku, row.quantity, row.condition) for row in await rows(shop, ReceiptLine)} == {
        ("TOTE-NAT", 1, "new"), ("CREW-MER-UND-L", 1, "new"),
    }  # fmt: skip
    assert {(item.sku, item.quantity) for item in await rows(shop, UndeclaredItem)} == {
        ("TOTE-NAT", 1), ("MUG-COBALT-11", 1),
    }  # fmt: skip
    (user,) = [u for u in await rows(shop, StaffUser) if u.role == "warehouse"]
    assert receipt.received_by == user.id
    events = [event for event in await rows(shop, Event) if event.type == "receipt.created"]
    assert [(event.actor, event.request_id is not None) for event in events] == [(user.id, True)]
    page = await dock.get(answer.headers["location"])
    assert "2 units counted, 2 put aside" in page.text
    assert "0 of 4 units" in (await dock.get(f"/receive/{made['id']}")).text


async def test_a_form_sent_twice_counts_once(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await dock.get(f"/receive/{made['id']}")
    for _ in range(3):
        await dock.post(f"/receive/{made['id']}/scan", {"q": "TOTE-NAT", "scan_id": "a" * 32})
    assert len(await rows(shop, DockScan)) == 1
    for _ in range(3):
        await dock.post(f"/receive/{made['id']}/counts", {"done": "1", "done_id": "b" * 32})
    assert len(await rows(shop, Receipt)) == 1


async def test_the_condition_of_the_last_unit_says_where_it_goes(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await scan(dock, made["id"], "CREW-MER-UND-L")
    (row,) = await rows(shop, DockScan)
    goes = {}
    for condition in ("opened", "damaged", "wrong_item", "new"):
        fields = {"scan_id": row.id, "condition": condition}
        answer = await dock.post(f"/receive/{made['id']}/condition", fields)
        goes[condition] = said(await dock.get(answer.headers["location"])).partition(" > ")[2]
    assert goes == {"opened": "Restock", "damaged": "Scrap", "wrong_item": "Back to the customer", "new": "Restock"}
    bad = await dock.post(f"/receive/{made['id']}/condition", {"scan_id": row.id, "condition": "eaten"})
    assert bad.status_code == 422


async def test_undo_takes_back_the_last_scan_and_no_done_one(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await scan(dock, made["id"], "CREW-MER-UND-L")
    await scan(dock, made["id"], "TOTE-NAT")
    tote = next(row.id for row in await rows(shop, DockScan) if row.code == "TOTE-NAT")
    for _ in range(2):
        answer = await dock.post(f"/receive/{made['id']}/undo", {"scan_id": tote})
        assert said(await dock.get(answer.headers["location"])).startswith("Taken back")
    await done(dock, made["id"])
    assert [(row.sku, row.quantity) for row in await rows(shop, ReceiptLine)] == [("CREW-MER-UND-L", 1)]
    sweater = next(row.id for row in await rows(shop, DockScan) if row.code == "CREW-MER-UND-L")
    assert (await dock.post(f"/receive/{made['id']}/undo", {"scan_id": sweater})).status_code == 409


async def test_counts_by_hand_step_and_type(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    sweater, tote, _ = line_ids(page := await dock.get(f"/receive/{made['id']}"))
    path = f"/receive/{made['id']}/counts"
    assert page.status_code == 200
    await dock.post(path, {"step": f"{sweater}:opened 1"})
    await dock.post(path, {"step": f"{sweater}:opened 1"})
    await dock.post(path, {"step": f"{sweater}:opened -1"})
    await dock.post(path, {"step": f"{sweater}:damaged -1"})
    assert "1 of 6 units" in (await dock.get(f"/receive/{made['id']}")).text
    await dock.post(
        path, {f"{sweater}:new": "2", f"{sweater}:opened": "0", f"{sweater}:damaged": "1", f"{tote}:new": "1"}
    )
    assert "4 of 6 units" in (await dock.get(f"/receive/{made['id']}")).text
    for wrong in ("4", "-1", "x", "1.5", "99999", "²"):
        refused = await dock.post(path, {f"{sweater}:new": wrong, "done": "1"})
        assert refused.status_code == 422, wrong
        assert "What is counted is kept" in refused.text
    more = {f"{sweater}:opened": "1", f"{tote}:new": "2"}
    refused = await dock.post(path, {f"{sweater}:new": "0", **more, "done": "1"})
    assert "1 unit expected" in refused.text
    shown = forms_in(refused)[path]
    assert {name: shown[name] for name in more} == more, "what was typed stays"
    assert "4 of 6 units" in (await dock.get(f"/receive/{made['id']}")).text, "all or nothing of it is taken"
    assert await rows(shop, Receipt) == []
    await done(dock, made["id"])
    assert {(row.sku, row.quantity, row.condition, row.disposition) for row in await rows(shop, ReceiptLine)} == {
        ("CREW-MER-UND-L", 2, "new", "restock"), ("CREW-MER-UND-L", 1, "damaged", "scrap"),
        ("TOTE-NAT", 1, "new", "restock"),
    }  # fmt: skip


async def test_what_is_put_aside_keeps_its_note_and_can_be_removed(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await scan(dock, made["id"], "MUG")
    (mug,) = await rows(shop, DockScan)
    path = f"/receive/{made['id']}"
    await dock.post(f"{path}/aside", {"what": "Blue mug", "note": "no box", "scan_id": "c" * 16})
    await dock.post(f"{path}/aside", {"what": "Blue mug", "note": "no box", "scan_id": "c" * 16})
    refused = await dock.post(f"{path}/aside", {"what": " ", "note": "It hums.", "scan_id": "d" * 16})
    assert refused.status_code == 422
    assert forms_in(refused)[f"{path}/aside"]["note"] == "It hums."
    assert re.search(r'<dialog id="by-hand"[^>]* open data-shown>', refused.text)
    await dock.post(f"{path}/aside", {"what": "A shoe", "scan_id": "e" * 16})
    await dock.post(f"{path}/counts", {"remove": "e" * 16})
    await done(dock, made["id"], **{f"note:{mug.id}": "<b>Handle</b> chipped"})
    assert {(item.sku, item.quantity, item.note) for item in await rows(shop, UndeclaredItem)} == {
        ("MUG", 1, "<b>Handle</b> chipped"), ("Blue mug", 1, "no box"),
    }  # fmt: skip


async def test_done_with_nothing_counted_writes_nothing(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    answer = await done(dock, made["id"])
    assert (answer.status_code, "Count something" in answer.text) == (422, True)
    assert await rows(shop, Receipt) == []


async def test_a_parcel_of_a_request_keeps_its_counts_until_it_is_approved(shop: ServedShop, dock: Desk) -> None:
    made = await shop.create_return(payment=shop.pay())
    await scan(dock, made["id"], "SHIRT")
    if (await done(dock, made["id"])).status_code == 409:
        assert "1 of 3 units" in (await dock.get(f"/receive/{made['id']}")).text, "nothing counted is lost"
        await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."})
        assert (await done(dock, made["id"])).status_code == 303
    assert len(await rows(shop, Receipt)) == 1


async def test_two_people_cant_both_count_the_last_unit(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)

    async def count() -> str:
        entry = {"scan_id": uuid.uuid4().hex, "return": made["id"], "code": "TOTE-NAT"}
        return str((await queue(dock, entry)).json()["kind"])

    assert sorted(await asyncio.gather(*(count() for _ in range(5)))) == ["ok", "warn", "warn", "warn", "warn"]


async def test_ten_dones_at_once_are_one_receipt_of_all_scans(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    for _ in range(2):
        await scan(dock, made["id"], "CREW-MER-UND-L")
    entries = [{"scan_id": uuid.uuid4().hex, "return": made["id"], "done": 1} for _ in range(5)]
    answers = await asyncio.gather(*(queue(dock, entry) for entry in entries * 2))
    assert sorted(answer.status_code for answer in answers) == [200, 200] + [422] * 8
    assert len({answer.json()["done"] for answer in answers if answer.status_code == 200}) == 1
    assert [(row.sku, row.quantity) for row in await rows(shop, ReceiptLine)] == [("CREW-MER-UND-L", 2)]


async def test_a_done_that_is_sent_again_after_days_takes_no_new_scans(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await scan(dock, made["id"], "TOTE-NAT")
    once = {"scan_id": "f" * 32, "return": made["id"], "done": 1}
    first = (await queue(dock, once)).json()
    async with shop.db.transaction() as tx:
        for key in (await tx.exec(select(IdempotencyKey))).all():
            await tx.delete(key)
    await scan(dock, made["id"], "CREW-MER-UND-L")
    assert (await queue(dock, once)).json()["done"] == first["done"]
    assert "1 of 5 units" in (await dock.get(f"/receive/{made['id']}")).text


async def test_a_scan_counts_under_the_name_of_who_made_it(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    tomasz = await add_person(shop, "warehouse", "tomasz@shop.test")
    async with shop.db.transaction() as tx:
        token = await sessions.begin_session(tx, tomasz, "password")
        signed_in = await sessions.session_in_force(tx, token)
        assert signed_in is not None
        signature = sessions.scan_token(signed_in.session)
        await sessions.end_sessions(tx, tomasz.id)
    entries: list[dict[str, Any]] = [{"code": "TOTE-NAT"}, {"done": 1}]
    for number, entry in enumerate(entries):
        sent = {"scan_id": f"tomasz-{number}", "return": made["id"], "token": signature, **entry}
        assert (await queue(dock, sent)).status_code == 200
    (row,) = await rows(shop, DockScan)
    (receipt,) = await rows(shop, Receipt)
    assert {row.scanned_by, receipt.received_by} == {tomasz.id}


async def test_a_queue_is_answered_only_under_the_entrys_own_id(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    sweater = line_ids(await dock.get(f"/receive/{made['id']}"))[0]
    whole = {"return": made["id"], "scan_id": "g" * 16}
    refused = [
        ({**whole, "return": "ret_" + "0" * 26, "code": "X"}, 404),
        ({**whole, "undo": "never-counted"}, 404),
        ({**whole, "of": "never-counted", "condition": "new"}, 404),
        ({**whole, "line": sweater, "condition": "eaten", "step": 1}, 422),
        ({**whole, "line": "rli_none", "condition": "new", "step": 1}, 422),
        ({**whole, "line": sweater, "condition": "new", "step": True}, 422),
        ({**whole, "line": sweater, "condition": "new", "step": "1"}, 422),
        (whole, 422),
        ({**whole, "scan_id": "short", "code": "X"}, 422),
        ({"return": made["id"], "code": "X"}, 422),
        ({**whole, "code": "\u200b"}, 422),
    ]
    for entry, status in refused:
        answer = await queue(dock, entry)
        assert (answer.status_code, answer.json()["scan_id"]) == (status, entry.get("scan_id", "")), entry
        assert answer.json()["detail"]
    assert await rows(shop, DockScan) == []


async def test_a_scan_of_another_return_under_a_used_id_is_refused(shop: ServedShop, dock: Desk) -> None:
    first, second = await parcel(shop, "NW-1"), await parcel(shop, "NW-2")
    entry = {"scan_id": "h" * 16, "code": "TOTE-NAT"}
    assert (await queue(dock, {**entry, "return": first["id"]})).status_code == 200
    assert (await queue(dock, {**entry, "return": second["id"]})).status_code == 422


async def test_a_slip_or_an_order_opens_its_return(shop: ServedShop, dock: Desk) -> None:
    first, second = await parcel(shop, "NW-48213"), await parcel(shop, "NW-47990")
    for code in (first["id"], f"https://returns.test/returns/{first['id']}", "NW-48213", "nw-48213"):
        answer = await dock.post("/receive/open", {"q": code})
        assert answer.headers["location"] == f"/receive/{first['id']}", code
    found = await dock.post("/receive/open", {"q": "nw-4"})
    page = await dock.get(found.headers["location"])
    assert "2 returns match" in page.text
    nothing = await dock.get((await dock.post("/receive/open", {"q": "<b>nobody"})).headers["location"])
    assert "No return matches" in nothing.text
    assert "<b>nobody" not in nothing.text
    await dock.get(f"/receive/{first['id']}")
    other = await dock.post(f"/receive/{first['id']}/scan", {"q": "NW-47990", "scan_id": "i" * 16})
    assert other.headers["location"] == f"/receive/{second['id']}"
    assert (await queue(dock, {"scan_id": "j" * 16, "code": "NW-47990"})).json()["url"] == f"/receive/{second['id']}"


async def test_a_parcel_of_today_is_taken_back_until_it_is_paid(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop)
    await scan(dock, made["id"], "TOTE-NAT")
    await done(dock, made["id"])
    page = await dock.get("/receive")
    path = re.search(r'action="(/receive/\w+/receipts/\w+/reverse)"', page.text)
    assert path is not None
    assert (await dock.post(path[1])).status_code == 303
    assert "No parcel yet today" in (await dock.get("/receive")).text
    again = await dock.post(path[1])
    assert (again.status_code, again.headers["location"][:14]) == (303, "/receive?back=")
    await scan(dock, made["id"], "TOTE-NAT")
    await done(dock, made["id"])
    await shop.settle()
    page = await dock.get("/receive")
    assert "Paid: it stands" in page.text
    assert "reverse" not in page.text


async def test_strangers_text_is_shown_as_text(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop, '"><script>alert(1)</script>')
    await scan(dock, made["id"], "'\"><script>alert(2)</script>")
    for path in ("/receive", f"/receive/{made['id']}", "/receive?q=script"):
        page = await dock.get(path)
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


async def test_the_dock_is_for_those_who_receive(shop: ServedShop) -> None:
    made = await parcel(shop)
    await add_person(shop, "finance")
    async with open_desk(shop) as finance:
        await finance.sign_in("finance@shop.test")
        await finance.get("/")
        answer = await queue(finance, {"scan_id": "k" * 16, "return": made["id"], "code": "TOTE-NAT"})
        assert answer.status_code == 403
    assert await rows(shop, DockScan) == []


@pytest.mark.parametrize("kind", ["slip", "slip in a QR code", "tracking", "tracking by a scanner", "id"])
async def test_a_parcel_is_opened_by_whatever_is_on_it(shop: ServedShop, dock: Desk, kind: str) -> None:
    await parcel(shop, "NW-2")
    made = await parcel(shop, "NW-1", tracking_numbers=["1Z 999 AA1 01 2345 6784"], customer_name="Élodie Martin")
    code = {
        "slip": made["slip_code"], "slip in a QR code": f"{made['slip_code']}\r",
        "tracking": "1Z 999 AA1 01 2345 6784", "tracking by a scanner": "1z999aa10123456784\r",
        "id": made["id"].upper(),
    }[kind]  # fmt: skip
    answer = await dock.post("/receive/open", {"q": code})
    assert answer.headers["location"] == f"/receive/{made['id']}"


async def test_a_parcel_is_found_by_its_customers_name(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop, "NW-1", customer_name="Élodie Martin")
    answer = await dock.post("/receive/open", {"q": "mart élo"})
    assert answer.headers["location"] == f"/receive/{made['id']}"
    page = await dock.get("/receive?q=" + "+".join(f"w{n}" for n in range(40)))
    assert page.status_code == 200
