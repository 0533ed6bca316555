"""Badges, PINs and the dock's shared devices: they open receiving, and nothing else."""

from __future__ import annotations

import html
import re

import pytest

from returns_service.commands import devices, sessions, staff_users
from returns_service.commands.passwords import hash_pin
from returns_service.web.pages.routes import PAGES
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, add_person
from tests.pages.forms import forms_in
from tests.pages.test_sign_in import session_rows


async def approved_device(shop: ServedShop, desk: Desk) -> str:
    """Let this browser become an approved device; return its id."""
    await desk.get("/sign-in/device")
    assert (await desk.post("/sign-in/device/ask", {"name": "Dock 2"})).status_code == 303
    waits = await desk.get("/sign-in/device")
    device = re.search(r"dev_\w{26}", waits.text)
    assert device is not None
    async with shop.db.transaction() as tx:
        await devices.approve_device(tx, device[0], "cli")
    assert "Who is working?" in (await desk.get("/sign-in/device")).text
    return device[0]


async def give_codes(shop: ServedShop, email: str) -> tuple[str, str]:
    """Give a person a badge and the PIN 004711; return both."""
    pin_hash = hash_pin("004711")
    async with shop.db.transaction() as tx:
        _, badge = await staff_users.give_badge(tx, email)
        await staff_users.give_pin(tx, email, pin_hash)
    return badge, "004711"


@pytest.mark.parametrize("way", ["badge", "pin"])
async def test_a_badge_or_pin_opens_receiving_on_an_approved_device_and_nothing_else(
    shop: ServedShop, desk: Desk, way: str
) -> None:
    await add_person(shop, "admin")
    code = (await give_codes(shop, "admin@shop.test"))[way == "pin"]
    await approved_device(shop, desk)
    answer = await desk.post("/sign-in/device", {"code": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/receive")
    assert (await desk.get("/receive")).status_code == 200
    for personal in ("/you", "/returns.csv"):
        barred = await desk.get(personal)
        assert (barred.status_code, f'href="/sign-in?next={personal}"' in barred.text) == (403, True)
        assert "not part of your role" not in barred.text
    assert "/returns.csv" not in (await desk.get("/returns")).text
    (row,) = await session_rows(shop)
    assert (row.way, row.receiving_only) == (way, True)
    await desk.get("/receive")
    assert (await desk.post("/sign-out")).headers["location"] == "/sign-in/device"


async def test_a_badge_is_offered_nothing_that_it_may_not(shop: ServedShop, desk: Desk) -> None:
    """Every link and form that a session by badge is shown leads somewhere."""
    made = await shop.create_approved_return(9000, 3)
    receipt = await shop.receive_parcel(made["id"])
    await add_person(shop, "admin")
    badge, _ = await give_codes(shop, "admin@shop.test")
    await approved_device(shop, desk)
    await desk.post("/sign-in/device", {"code": badge})
    forms = [(re.sub(r"\{\w+:str\}", r"[^/]+", page.path), page) for page in PAGES if page.method == "POST"]
    where = ("/", "/returns", "/returns?q=shirt&view=refunding", f"/returns/{made['id']}", "/receive",
             f"/receive/{made['id']}")  # fmt: skip
    for path in where:
        page = await desk.get(path)
        assert page.status_code == 200, path
        assert "Switch person" in page.text, path
        for link in set(re.findall(r'href="(/[^"#]*)', page.text)):
            if not link.startswith("/static"):
                assert (await desk.get(html.unescape(link))).status_code == 200, (path, link)
        for address in forms_in(page):
            taken = next(form for pattern, form in forms if re.fullmatch(pattern, address))
            assert not taken.personal, (path, address)
    assert f"/receipts/{receipt['id']}/take_back" in (await desk.get(f"/returns/{made['id']}")).text


async def test_a_badge_is_worth_nothing_on_a_device_that_nobody_approved(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "warehouse")
    badge, pin = await give_codes(shop, "warehouse@shop.test")
    await desk.get("/sign-in/device")
    for code in (badge, pin):
        assert (await desk.post("/sign-in/device", {"code": code})).status_code == 403
    await desk.post("/sign-in/device/ask", {"name": "Dock 2"})
    await desk.get("/sign-in/device")
    assert (await desk.post("/sign-in/device", {"code": badge})).status_code == 403
    assert await session_rows(shop) == []


async def test_a_device_that_is_guessed_at_waits_and_then_loses_its_approval(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "warehouse")
    badge, _ = await give_codes(shop, "warehouse@shop.test")
    await approved_device(shop, desk)
    codes = [(await desk.post("/sign-in/device", {"code": f"{n:06d}"})).status_code for n in range(6)]
    assert codes == [422] * 5 + [429]
    for number in range(5):
        shop.clock.advance(15 * 60)
        assert (await desk.post("/sign-in/device", {"code": f"{number + 100:06d}"})).status_code == 422
    shop.clock.advance(3601)
    assert (await desk.post("/sign-in/device", {"code": badge})).status_code == 403
    assert "waits for an admin" in (await desk.get("/sign-in/device")).text


async def test_a_revoked_device_ends_its_sessions(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "warehouse")
    badge, _ = await give_codes(shop, "warehouse@shop.test")
    device = await approved_device(shop, desk)
    await desk.post("/sign-in/device", {"code": badge})
    assert (await desk.get("/receive")).status_code == 200
    async with shop.db.transaction() as tx:
        await devices.revoke_device(tx, device)
    assert (await desk.get("/receive")).status_code == 303


async def test_a_session_by_badge_is_over_after_half_an_hour_of_nobody(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "warehouse")
    badge, _ = await give_codes(shop, "warehouse@shop.test")
    await approved_device(shop, desk)
    await desk.post("/sign-in/device", {"code": badge})
    shop.clock.advance(sessions.SHARED_IDLE_LIVES.total_seconds() + 1)
    assert (await desk.get("/receive")).status_code == 303
