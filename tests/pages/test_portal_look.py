"""The customer's portal in a real browser: every situation on phones and desks, in three languages, with hands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import fresh_sqlite
from tests.harness.served_shop import expect as answered
from tests.pages.conftest import Site, open_site
from tests.pages.portal import offer, path_of, picture, returns_of
from tests.pages.test_look import find_faults, keep_screenshot

LOOKS = {"form": "en", "form_ar": "ar", "wrong_fields": "de", "sent": "en", "sent_ar": "ar", "refunded": "de",
         "declined": "en", "keep_dialog": "en", "wrong_link": "ar", "over": "de", "home": "en"}  # fmt: skip


@pytest.fixture(scope="module")
async def portal_site(sqlite_template: Path, browser: Browser) -> AsyncIterator[Site]:
    """A shop with a name, an address and a colour."""
    with fresh_sqlite(sqlite_template) as url:
        async with open_site(url, browser) as site:
            settings = {"shop_name": "Nordwind", "shop_email": "service@nordwind.example", "public_url": site.url,
                        "shop_address": ("Nordwind Returns", "Am Güterbahnhof 12", "28195 Bremen", "Germany"),
                        "shop_colour": "#ffd400"}  # fmt: skip
            site.shop.context.settings = site.shop.context.settings.model_copy(update=settings)
            yield site


async def choose(page: Page) -> None:
    """Tick two items, and see the amount without pressing anything."""
    await page.locator("input[name=pick][value='0']").check()
    await page.locator("select[name='quantity:0']").select_option("2")
    await page.locator("select[name='reason:0']").select_option("too_small")
    await page.locator("input[name=pick][value='1']").check()
    await page.locator("select[name='reason:1']").select_option("damaged")
    await expect(page.locator("#tally tfoot")).to_contain_text("91")
    await expect(page.get_by_role("status")).to_contain_text("91")  # and hears it


async def open_look(site: Site, page: Page, name: str, language: str) -> None:
    """Bring a page into a situation."""
    shop, order = site.shop, f"NW-{name}"
    if name == "home":
        await page.goto("/portal")
        return
    session = await offer(shop, order, locale=language)
    path = path_of(session)
    if name == "wrong_link":
        await page.goto(f"{path}x?lang={language}")
        return
    if name == "over":
        shop.advance(61 * 86_400)
    await page.goto(path)
    if name == "over":
        return
    await choose(page)
    if name == "wrong_fields":
        await page.locator("select[name='reason:1']").select_option("")
        photo: Any = {"name": "damage.heic", "mimeType": "image/heic", "buffer": b"no photo at all"}
        await page.locator("input[name='photo:0']").set_input_files(photo)
        await page.locator("#pe0").wait_for()
    if name == "form":
        await page.locator("select[name='resolution:1']").select_option("store_credit")
        await expect(page.locator("#tally tfoot")).to_contain_text("As store credit€24.50")
    if name in ("form", "form_ar", "wrong_fields"):
        return
    await page.locator("#tally button.primary").click()
    await page.locator(".slip").wait_for()
    (made,) = await returns_of(shop, order)
    if name == "declined":
        answered(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "Worn <b>outside</b>."}), 200)
    elif name != "keep_dialog":
        answered(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    if name == "refunded":
        counts = [{"sku": sku, "quantity": n, "condition": "new"} for sku, n in (("CREW-L", 2), ("TOTE", 1))]
        answered(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": counts}), 201)
        await shop.settle()
    await page.goto(path)
    if name == "keep_dialog":
        await page.locator("[data-dialog=cancel]").click()


def keep_error(site: Site, message: Any) -> None:
    """Keep what the console complains of; it also names each answer with an error's status, which some pages are."""
    if message.type == "error" and "the server responded with a status" not in message.text:
        site.failures.append(message.text)


@pytest.mark.parametrize("name", LOOKS)
async def test_nothing_is_wrong_with(portal_site: Site, name: str) -> None:
    """axe finds nothing, nothing is sideways, and a finger hits what it means."""
    site = portal_site
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    page = await site.page(timezone_id="Europe/Berlin", **options)
    page.on("console", lambda message: keep_error(site, message))
    await open_look(site, page, name, LOOKS[name])
    found = await find_faults(page, f"portal_{name}")
    if name == "sent":
        await page.emulate_media(media="print")
        await keep_screenshot(page, "portal_slip-print.png")
        assert await page.locator(".qr").is_visible()
        assert not await page.locator("header.side").is_visible()
    await page.close()
    failures, site.failures[:] = list(site.failures), []
    assert (found, failures) == ({}, [])


async def test_by_keyboard_and_without_javascript_it_is_sent_once(portal_site: Site) -> None:
    site = portal_site
    path = path_of(await offer(site.shop, "NW-keys"))
    page = await site.page(await site.context(java_script_enabled=False))
    await page.goto(path)
    await page.locator("input[name=pick][value='1']").focus()
    await page.keyboard.press("Space")
    await page.locator("select[name='reason:1']").focus()
    await page.keyboard.type("Arrived")
    await page.keyboard.press("Tab")
    await page.locator("#tally button.primary").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#tally tfoot")).to_contain_text("€24.50")
    await page.locator("#tally button.primary").focus()
    await page.keyboard.press("Enter")
    await page.locator(".slip .code").wait_for()
    assert len(await returns_of(site.shop, "NW-keys")) == 1
    await page.go_back()
    await page.locator(".slip .code").wait_for()  # what was sent, not the form again
    assert len(await returns_of(site.shop, "NW-keys")) == 1


async def test_forty_megabytes_and_a_double_click_in_a_browser(portal_site: Site, tmp_path: Path) -> None:
    site = portal_site
    path = path_of(await offer(site.shop, "NW-big"))
    big = tmp_path / "big.jpg"
    big.write_bytes(picture() + b"\0" * 40 * 1024 * 1024)
    plain = await site.page(await site.context(java_script_enabled=False))
    await plain.goto(path)
    await plain.locator("input[name=pick][value='1']").check()
    await plain.locator("input[name='photo:1']").set_input_files(big)
    await plain.locator("#tally button.primary").click()
    await expect(plain.locator("h1")).to_have_text("That is too much at once")
    page = await site.page()
    await page.goto(path)
    await choose(page)
    await page.locator("#tally button.primary").dblclick()
    await page.locator(".slip .code").wait_for()
    assert len(await returns_of(site.shop, "NW-big")) == 1
    site.failures[:] = []
