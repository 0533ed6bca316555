"""The refund desk by forms: every kind that the day left is shown with what is safe, and each act is done once."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import httpx
import pytest

from returns_service.domain.vocabulary import DESK_KINDS, Role
from returns_service.web.pages import refund_desk
from returns_service.web.pages.desk_words import KINDS
from tests.api.test_paid_otherwise import external_of, refund_in_doubt
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, open_desk
from tests.pages.forms import follow, forms_in, send
from tests.pages.world import HOSTILE, World, approved, play_day


async def open_as(shop: ServedShop, desk: Desk, role: Role, path: str = "/refunds") -> httpx.Response:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    return await desk.get(path)


@pytest.fixture
async def day(shop: ServedShop) -> World:
    """A shop in the middle of its day."""
    return await play_day(shop)


async def item_of(shop: ServedShop, kind: str) -> dict[str, Any]:
    found = expect(await shop.get(f"/v1/desk?kind={kind}"), 200)["data"]
    return dict(found[0])


def flash_html(page: httpx.Response) -> str:
    """Return the HTML of what the page says just happened."""
    return page.text.partition('class="flash"')[2].partition("</p>")[0].replace("</bdi>", "")


def flash_of(page: httpx.Response) -> str:
    """Return what the page says just happened."""
    match = re.search(r'class="flash"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    assert match is not None, page.text
    return re.sub("<[^>]+>", "", match[1])


def test_every_kind_is_spoken_of() -> None:
    assert set(KINDS) == set(DESK_KINDS)


async def test_everything_that_waits_is_listed_and_opens(shop: ServedShop, desk: Desk, day: World) -> None:
    page = await open_as(shop, desk, "finance")
    listed = expect(await shop.get("/v1/desk?limit=100"), 200)["data"]
    cases = re.findall(r'href="(/refunds\?case=[^"]+)" data-kind', page.text)
    assert len(cases) == len(listed) >= 7
    for path, item in zip(cases, listed, strict=True):
        opened = await desk.get(path)
        assert "data-open" in opened.text
        assert "<img" not in opened.text
        assert "/v1/" not in opened.text, "advice for people, not for programs"
        assert "`" not in opened.text
        for action in item["actions"]:
            if action not in ("close", "approve", "decline", "reopen"):
                assert any(address.endswith((f"/{action}",)) for address in forms_in(opened)), (item["kind"], action)
    rows = list(csv.DictReader(io.StringIO((await desk.get("/refunds.csv")).text)))
    assert [row["kind"] for row in rows] == [item["kind"] for item in listed]


async def test_a_kind_can_be_looked_at_alone_and_a_gone_case_says_so(shop: ServedShop, desk: Desk, day: World) -> None:
    page = await open_as(shop, desk, "finance", "/refunds?kind=refund_failed")
    assert len(re.findall(r'href="/refunds\?case=', page.text)) == 1
    assert "148.00 EUR did not reach the customer." in page.text
    gone = await desk.get("/refunds?case=refund_failed:rfd_gone")
    assert "not on the desk any more" in gone.text
    assert (await desk.get("/refunds?kind=nonsense&case=%00")).status_code == 200


async def test_what_waits_behind_the_list_is_counted_and_opens(
    shop: ServedShop, desk: Desk, day: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = expect(await shop.get("/v1/desk?limit=100"), 200)["data"]
    monkeypatch.setattr(refund_desk, "MOST_SHOWN", 2)
    page = await open_as(shop, desk, "finance")
    assert f"These are the 2 most urgent. {len(listed) - 2} more wait behind them" in page.text
    opened = await desk.get(f"/refunds?case={listed[-1]['id']}")
    assert "data-open" in opened.text
    assert "not on the desk any more" not in opened.text
    assert "most urgent" not in (await desk.get("/refunds?kind=refund_failed")).text


async def test_a_failed_refund_is_retried_once(shop: ServedShop, desk: Desk, day: World) -> None:
    item = await item_of(shop, "refund_failed")
    page = await open_as(shop, desk, "finance", "/refunds?kind=refund_failed")
    address = f"/refunds/{item['refund']}/retry"
    first, again = await send(desk, page, address), await send(desk, page, address)
    assert first.headers["location"] == again.headers["location"]
    assert "148.00 EUR" in flash_of(await follow(desk, first))
    assert len((await shop.read_return(day.failed["id"]))["refunds"]) == 2
    solved = await desk.get("/refunds/solved")
    assert "NW-47902" in solved.text


async def test_a_failed_refund_is_settled_outside(shop: ServedShop, desk: Desk, day: World) -> None:
    item = await item_of(shop, "refund_failed")
    page = await open_as(shop, desk, "finance", "/refunds?kind=refund_failed")
    address = f"/refunds/{item['refund']}/settle_outside"
    refused = await send(desk, page, address, method="bank_transfer")
    assert refused.status_code == 422
    assert (await send(desk, refused, address, reference="SEPA-1")).status_code == 303
    assert (await shop.read_return(day.failed["id"]))["state"] == "refunded"
    assert (await desk.get("/refunds?kind=refund_failed")).text.count("None of these waits") == 1


async def test_a_refund_made_outside_is_assigned_or_acknowledged(shop: ServedShop, desk: Desk, day: World) -> None:
    item = await item_of(shop, "external_refund")
    page = await open_as(shop, desk, "finance", "/refunds?kind=external_refund")
    assign, acknowledge = (f"/refunds/{item['refund']}/{act}" for act in ("assign", "acknowledge"))
    asked = await send(desk, page, acknowledge)
    assert "Say what it was for, in a sentence." in asked.text
    assert forms_in(page)[assign]["return"].startswith("ret_")
    done = await send(desk, page, assign)
    assert "assigned" in flash_of(await follow(desk, done))
    refund = expect(await shop.get(f"/v1/refunds/{item['refund']}"), 200)
    assert refund["return"] == forms_in(page)[assign]["return"]
    stale = await send(desk, page, acknowledge, reason="Goodwill.")
    assert stale.status_code == 303
    assert expect(await shop.get(f"/v1/refunds/{item['refund']}"), 200)["return"] is None


async def test_an_unknown_refund_is_looked_for_at_stripe(shop: ServedShop, desk: Desk, day: World) -> None:
    item = await item_of(shop, "refund_unknown")
    page = await open_as(shop, desk, "finance", "/refunds?kind=refund_unknown")
    assert "Nobody knows yet whether 18,400 JPY moved." in page.text
    looked = await desk.get(f"/refunds?checked={item['refund']}")
    assert re.search(
        r"nobody knows yet whether it moved\. Next look <time [^>]+>\d\d:\d\d UTC</time>\.", flash_html(looked)
    )
    told = await follow(desk, await send(desk, page, f"/refunds/{item['refund']}/check"))
    assert "Checked with Stripe: 18,400 JPY" in told.text


async def test_what_was_paid_beyond_its_worth_is_acknowledged(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1", 10_000)
    receipt = await shop.receive_parcel(made["id"])
    await shop.settle()
    line = {"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 1}
    path = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(path, {"lines": [line], "reason": "It was empty."}), 200)
    page = await open_as(shop, desk, "finance")
    assert "100.00 EUR moved for units that are worth less now." in page.text
    address = f"/returns/{made['id']}/acknowledge"
    told = await follow(desk, await send(desk, page, address, reason="Goodwill."))
    assert "100.00 EUR stays with the customer" in flash_of(told)
    assert "Nothing needs a person" in (await desk.get("/refunds")).text


async def test_what_may_be_paid_beyond_its_worth_is_told_as_a_question(shop: ServedShop, desk: Desk) -> None:
    made = await refund_in_doubt(shop)
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    page = await open_as(shop, desk, "finance", "/refunds?kind=return_overpaid")
    assert '<p class="fact" data-money="unknown">' in page.text
    assert "Nobody knows yet whether 50.00 USD too much moved." in page.text
    address = f"/returns/{made['id']}/acknowledge"
    assert address not in forms_in(page)
    assert address not in forms_in(await desk.get(f"/returns/{made['id']}"))


async def test_the_docks_things_say_whose_they_are_and_admins_decide(shop: ServedShop, desk: Desk, day: World) -> None:
    page = await open_as(shop, desk, "finance", "/refunds?kind=undeclared_item")
    assert "This is for warehouse and admin." in page.text
    item = await item_of(shop, "undeclared_item")
    address = f"/returns/{day.undeclared['id']}/undeclared/{item['undeclared_item']}/resolve"
    assert address not in forms_in(page)
    async with open_desk(shop, "192.0.2.2") as other:
        page = await open_as(shop, other, "admin", "/refunds?kind=undeclared_item")
        assert (await send(other, page, address, decision="return_to_customer")).status_code == 303
    assert expect(await shop.get("/v1/desk?kind=undeclared_item"), 200)["data"] == []


async def test_a_parcel_of_nobody_is_attached_once(shop: ServedShop, desk: Desk, day: World) -> None:
    page = await open_as(shop, desk, "warehouse", "/receive")
    assert "Parcels of nobody" in page.text
    page = await desk.get(f"/parcels/{day.unmatched['id']}?q=NW-48160")
    assert HOSTILE[:4] not in page.text
    address = f"/parcels/{day.unmatched['id']}/attach"
    first, again = await send(desk, page, address), await send(desk, page, address)
    assert (first.status_code, again.status_code) == (303, 303)
    assert "It is counted on" in (await follow(desk, first)).text
    counted = expect(await shop.get(f"/v1/returns/{day.undeclared['id']}/receipts"), 200)["data"]
    assert len(counted) == 2
    other = await send(desk, page, address, once="another-click-1")
    assert other.status_code == 409
    assert (await desk.get("/parcels/umr_01h455vb4pex5vsknk084sn02q")).status_code == 404


async def test_an_empty_desk_says_what_would_be_there(shop: ServedShop, desk: Desk) -> None:
    page = await open_as(shop, desk, "finance")
    assert "Nothing needs a person" in page.text
    assert "Nothing yet today" in (await desk.get("/refunds/solved")).text
