"""Every page in a real browser: nothing axe finds, nothing sideways, in both themes, at every width."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from returns_service.commands import staff_users
from tests.harness.served_shop import ServedShop, return_body
from tests.pages.conftest import Site, add_person

HOSTILE = '<img src=x onerror=alert(1)> "); DROP TABLE returns;-- \u202etxet ' + "W" * 60
WIDTHS = (320, 390, 1280, 1920)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
Open = Callable[[Site, Page], Awaitable[None]]


async def parcel(shop: ServedShop, order: str = "NW-48213", **more: Any) -> dict[str, Any]:
    """Return an approved return over three lines, one of them by somebody hostile."""
    lines = [
        {"sku": "CREW-MER-UND-L", "title": "Merino crew sweater, undyed, size L", "quantity": 3, "total_amount": 9000},
        {"sku": "TOTE-NAT", "title": "Canvas tote, natural", "quantity": 1, "total_amount": 900},
        {"sku": "POSTER-50x70", "title": HOSTILE, "quantity": 2, "total_amount": 100},
    ]
    body = return_body(shop.pay(), 10_000, order_id=order, customer_email="élodie@shop.test", **more)
    made = (await shop.post("/v1/returns", {**body, "lines": lines})).json()
    approved = await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."})
    assert approved.status_code == 200, approved.text
    return dict(approved.json())


async def scan(page: Page, *codes: str) -> None:
    """Scan codes as a hand scanner does: keys, then Enter."""
    for code in codes:
        await page.get_by_label("Scan or search").fill(code)
        await page.keyboard.press("Enter")


async def sent(page: Page) -> None:
    """Wait until the server has answered for everything."""
    await page.get_by_text("All scans sent").wait_for()


async def sign_in_page(site: Site, page: Page) -> None:
    await page.goto("/sign-in")


async def wrong_password(site: Site, page: Page) -> None:
    await page.goto("/sign-in")
    await page.get_by_label("E-mail", exact=True).fill("nobody@shop.test")
    await page.get_by_label("Password", exact=True).fill("wrong password")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("tries left").wait_for()


async def link_page(site: Site, page: Page) -> None:
    user = await add_person(site.shop, "approver", name=HOSTILE[:90].replace("\u202e", ""))
    async with site.shop.db.transaction() as tx:
        token = await staff_users.make_link(tx, user, "cli")
    await page.goto(f"/sign-in/link/{token}")


async def link_over(site: Site, page: Page) -> None:
    await page.goto("/sign-in/link/nothing")


async def new_device(site: Site, page: Page) -> None:
    await page.goto("/sign-in/device")


async def device_waits(site: Site, page: Page) -> None:
    await page.goto("/sign-in/device")
    await page.get_by_label("Name of this device").fill("Dock 2")
    await page.get_by_role("button", name="Ask").click()


async def device(site: Site, page: Page) -> None:
    from returns_service.commands.devices import approve_device

    await device_waits(site, page)
    match = re.search(r"dev_\w{26}", await page.content())
    assert match is not None
    async with site.shop.db.transaction() as tx:
        await approve_device(tx, match[0], "cli")
    await page.get_by_role("link", name="Look again").click()


async def home_empty(site: Site, page: Page) -> None:
    await add_person(site.shop, "admin", name="Noor Haddad")
    await site.sign_in(page, "admin@shop.test")


async def home(site: Site, page: Page) -> None:
    await parcel(site.shop, HOSTILE)
    await parcel(site.shop)
    await home_empty(site, page)


async def you(site: Site, page: Page) -> None:
    await home_empty(site, page)
    await page.goto("/you?did=password")


async def health(site: Site, page: Page) -> None:
    await home_empty(site, page)
    await page.goto("/settings/health")


async def forbidden(site: Site, page: Page) -> None:
    await add_person(site.shop, "finance")
    await site.sign_in(page, "finance@shop.test")
    await page.goto("/receive")


async def not_found(site: Site, page: Page) -> None:
    await page.goto("/returns/ret_01k9x7d3m8f2aw01k9x7d3m8")


async def offline(site: Site, page: Page) -> None:
    await page.goto("/offline")


async def receive_empty(site: Site, page: Page) -> None:
    await add_person(site.shop, "warehouse", name="Mara Kowalczyk")
    await site.sign_in(page, "warehouse@shop.test")


async def receive(site: Site, page: Page) -> None:
    for order in ("NW-48213", HOSTILE, "NW-47990"):
        made = await parcel(site.shop, order)
        if order != "NW-47990":
            body = {"lines": [{"sku": "TOTE-NAT", "quantity": 2, "condition": "damaged"}], "scan_id": f"s{order[:3]}"}
            assert (await site.shop.post(f"/v1/returns/{made['id']}/receipts", body)).status_code == 201
    await receive_empty(site, page)
    await page.goto("/receive?q=nw")


async def receive_nothing(site: Site, page: Page) -> None:
    await receive_empty(site, page)
    await page.goto("/receive?q=nobody")


async def count(site: Site, page: Page) -> None:
    made = await parcel(site.shop)
    await receive_empty(site, page)
    await page.goto(f"/receive/{made['id']}")
    await scan(page, "TOTE-NAT", "MUG-COBALT-11", "CREW-MER-UND-L")
    await page.get_by_text("Opened", exact=True).first.click()
    await sent(page)
    for summary in await page.locator(".item summary").all():
        await summary.click()


async def count_begun(site: Site, page: Page) -> None:
    made = await parcel(site.shop)
    await receive_empty(site, page)
    await page.goto(f"/receive/{made['id']}")


async def count_too_many(site: Site, page: Page) -> None:
    await count_begun(site, page)
    await scan(page, "TOTE-NAT", "TOTE-NAT")
    await sent(page)


async def count_dialog(site: Site, page: Page) -> None:
    await count_begun(site, page)
    await page.get_by_role("link", name="Item without a barcode").click()


OPEN: dict[str, Open] = {
    f.__name__: f
    for f in (
        sign_in_page, wrong_password, link_page, link_over, new_device, device_waits, device, home_empty, home, you,
        health, forbidden, not_found, offline, receive_empty, receive, receive_nothing, count, count_begun,
        count_too_many, count_dialog,
    )
}  # fmt: skip


SIDEWAYS = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`page: ${document.documentElement.scrollWidth}`);
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest(".sr, .skip, [hidden], svg, input") || !e.checkVisibility()) continue;
    const box = e.getBoundingClientRect(), cuts = getComputedStyle(e).overflowX !== "visible";
    if (box.width && (box.left < -1 || box.right > wide + 1)) found.push(`${e.tagName}.${e.className} reaches out`);
    if (cuts && e.scrollWidth > e.clientWidth + 1) found.push(`${e.tagName}.${e.className} is cut`);
  }
  return found;
}"""
SMALL = """() => [...document.querySelectorAll("a, button, input, select, summary")].filter((e) => {
  if (e.closest(".sr, [hidden], .skip, p, dialog") || !e.checkVisibility() || e.type === "hidden") return false;
  const box = (e.closest("label.chip, .hit") ?? (e.matches(".go") ? e.closest("tr") : e)).getBoundingClientRect();
  return box.height && (box.height < 43.5 || box.width < 43.5);
}).map((e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)}`)"""


@pytest.mark.parametrize("name", OPEN)
async def test_axe_finds_nothing_and_nothing_is_sideways(site: Site, name: str) -> None:
    page = await site.page(viewport={"width": 1280, "height": 800})
    await OPEN[name](site, page)
    found: dict[str, Any] = {}
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844 if width < 1000 else 900})
        if reaching := await page.evaluate(SIDEWAYS):
            found[f"{width}"] = reaching
        if width in (390, 1280):
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                results = await Axe().run(page)
                if results.violations_count:
                    found[f"{width} {scheme}"] = results.generate_report()
    assert found == {}


@pytest.mark.parametrize("name", ["sign_in_page", "device", "home", "you", "receive", "count"])
async def test_a_finger_hits_what_it_means(site: Site, name: str) -> None:
    context = await site.context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = await site.page(context)
    await OPEN[name](site, page)
    assert await page.evaluate(SMALL) == []
