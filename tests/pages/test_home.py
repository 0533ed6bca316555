"""Home: the counts that are each role's work, as links; the latest; the first steps, which tick themselves."""

from __future__ import annotations

import re

import pytest

from returns_service.domain.vocabulary import Role
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, sign_in_as
from tests.pages.world import HOSTILE, approved, ask, play_day

FIGURE = re.compile(r'<a href="([^"]+)"><span class="label">([^<]+)</span><span class="figure">([^<]+)</span>')


async def home_of(shop: ServedShop, desk: Desk, role: Role) -> str:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    return (await desk.get("/")).text


@pytest.mark.parametrize(
    "role, links",
    [
        ("warehouse", ["/returns?view=parcel-here", "/receive", "/returns?view=parcel"]),
        ("approver", ["/approvals", "/returns?view=parcel-here", "/returns?view=parcel"]),
        ("finance", ["/refunds", "/returns?view=parcel-here", "/refunds?kind=undeclared_item", "/returns?view=parcel"]),
        ("admin", ["/refunds", "/approvals", "/returns?view=parcel-here", "/receive"]),
    ],
)
async def test_each_role_sees_its_own_work_as_links(shop: ServedShop, desk: Desk, role: Role, links: list[str]) -> None:
    await ask(shop, "NW-1")
    found = FIGURE.findall(await home_of(shop, desk, role))
    assert [path.replace("&amp;", "&") for path, _, _ in found] == links


async def test_the_figures_are_what_waits(shop: ServedShop, desk: Desk) -> None:
    await play_day(shop)
    text = await home_of(shop, desk, "admin")
    figures = {label: number for _, label, number in FIGURE.findall(text)}
    on_desk = sum((await shop.desk())["totals"].values())
    assert figures["Refund desk"] == str(on_desk)
    waiting = (await shop.get("/v1/returns?state=requested&limit=100")).json()["data"]
    assert figures["Approvals"] == str(len(waiting)) == "4"
    assert "<img src=x" not in text
    assert HOSTILE[:10].replace("<", "&lt;") in text or "NW-48201" in text


async def test_the_latest_is_told_with_who_did_it(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1", 5900)
    text = await home_of(shop, desk, "approver")
    assert f'href="/returns/{made["id"]}"' in text
    assert "Approved: 59.00 EUR" in text
    assert "test (API key)" in text


async def test_what_was_settled_outside_is_told_without_codes(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1", 9000)
    expect(await shop.post(f"/v1/returns/{made['id']}/resolution", {"resolution": "store_credit"}), 200)
    await shop.receive_parcel(made["id"])
    settled = {"method": "store_credit", "reference": "GIFT-77"}
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", settled), 200)
    await sign_in_as(shop, desk, "finance")
    page = await desk.get("/")
    assert "Settled outside: store credit" in page.text
    assert "store_credit" not in page.text


async def test_the_first_steps_tick_themselves(shop: ServedShop, desk: Desk) -> None:
    text = await home_of(shop, desk, "admin")
    assert "Four steps to the first refund" in text
    assert text.count('class="is-done"') == 1, "the tests' own key"
    await add_person(shop, "finance")
    assert (await desk.get("/")).text.count('class="is-done"') == 2
    await ask(shop, "NW-1")
    assert "What waits for you" in (await desk.get("/")).text


async def test_others_than_admins_are_not_asked_to_set_it_up(shop: ServedShop, desk: Desk) -> None:
    text = await home_of(shop, desk, "finance")
    assert "No return yet" in text
    assert "rsk_" not in text
