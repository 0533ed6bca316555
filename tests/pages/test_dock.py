"""The dock's queue in a real browser: nothing that was scanned is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route
from sqlmodel import col, select

from returns_service.store.tables import DockScan, Receipt, ReceiptLine, StaffUser
from tests.harness.patience import wait_for
from tests.harness.served_shop import ServedShop, expect, return_body
from tests.pages.conftest import Site, add_person
from tests.pages.scanner import scan, sent
from tests.pages.world import approved, parcel

QUEUE = "**/receive/queue"
Handler = Callable[[Route], Awaitable[None]]


async def scans(shop: ServedShop) -> list[DockScan]:
    async with shop.db.reading() as tx:
        chosen = select(DockScan).where(col(DockScan.undone_at).is_(None)).order_by(col(DockScan.scanned_at))
        return list((await tx.exec(chosen)).all())


async def receipts(shop: ServedShop) -> list[tuple[str, int, str]]:
    async with shop.db.reading() as tx:
        rows = (await tx.exec(select(ReceiptLine).order_by(col(ReceiptLine.sku)))).all()
        return [(row.sku, row.quantity, row.condition) for row in rows]


async def opened(site: Site, quantity: int = 3, email: str = "warehouse@shop.test") -> tuple[Page, str]:
    """Return a tab with a parcel open, somebody of the warehouse signed in, and the return's id."""
    await add_person(site.shop, "warehouse", email)
    made = await site.shop.create_approved_return(9000, quantity)
    page = await site.page()
    await site.begin_session(page.context, email)
    await page.goto(f"/receive/{made['id']}")
    await page.evaluate("navigator.serviceWorker.ready.then(() => 1)")
    return page, str(made["id"])


async def shows(page: Page, text: str) -> None:
    await page.locator(".said-now", has_text=text).wait_for()


async def cut(context: BrowserContext, handler: Handler) -> None:
    await context.route(QUEUE, handler)


async def test_a_unit_is_counted_and_done_becomes_a_receipt(site: Site) -> None:
    page, _ = await opened(site)
    await scan(page, "SHIRT", "SHIRT", "MUG")
    await shows(page, "Not on this return")
    await page.get_by_role("button", name="Undo").click()
    await scan(page, "SHIRT")
    await shows(page, "Counted: 3 of 3")
    await page.get_by_text("Damaged", exact=True).first.click()
    await page.locator("#goes", has_text="Scrap").wait_for()
    await sent(page)
    await page.get_by_role("button", name="Done").click()
    await page.wait_for_url("**/receive?did=rcp_*")
    assert sorted(await receipts(site.shop)) == [("SHIRT", 1, "damaged"), ("SHIRT", 2, "new")]


async def test_forty_scans_thirty_milliseconds_apart_over_a_bad_line_arrive_once_each(site: Site) -> None:
    page, return_id = await opened(site, 40)
    weather = Counter[str]()

    async def bad(route: Route) -> None:
        weather["all"] += 1
        turn = weather["all"] % 6
        if turn == 1:
            await route.abort()
        elif turn == 2:
            await route.fulfill(status=503, body="busy")
        elif turn == 3:
            await route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to our hotspot</h1>")
        elif turn == 4:
            await route.fetch()  # applied, and the answer lost
            await route.abort()
        else:
            await route.continue_()

    await cut(page.context, bad)
    await page.get_by_label("Scan or search").focus()
    for _ in range(40):
        await page.keyboard.insert_text("SHIRT")
        await page.keyboard.press("Enter")
        await page.wait_for_timeout(30)
    await page.context.unroute_all(behavior="wait")
    await shows(page, "Counted: 40 of 40")
    said = page.locator("#net").text_content  # how many are left: as long as that changes, it goes on
    await wait_for(said, "all scans to be sent", until=lambda text: "All scans sent" in text)
    assert len(await scans(site.shop)) == 40
    await page.reload()
    assert await page.locator("#units").text_content() == "40"
    assert return_id


async def test_a_scan_while_the_browser_still_gives_the_lock_back_is_sent_too(site: Site) -> None:
    page, _ = await opened(site)
    await page.evaluate("""() => {
      navigator.locks.request = async (name, options, work) => {
        const done = await work({});
        while (!window.givenBack) await new Promise((go) => setTimeout(go, 10));
        return done;
      };
    }""")
    await scan(page, "SHIRT")
    await sent(page)
    await scan(page, "SHIRT")
    await page.get_by_text("Sending 1 scan").wait_for()
    await page.evaluate("window.givenBack = true")
    await sent(page)
    assert len(await scans(site.shop)) == 2


async def test_done_pressed_offline_is_sent_by_itself_when_the_line_is_back(site: Site) -> None:
    page, _ = await opened(site)
    await scan(page, "SHIRT")
    await sent(page)
    await page.context.set_offline(True)
    await scan(page, "SHIRT")
    await page.get_by_role("button", name="Done").click()
    await shows(page, "Done")
    await page.get_by_text("Offline, 2 scans kept").wait_for()
    await page.wait_for_timeout(1500)
    assert await receipts(site.shop) == []
    await page.context.set_offline(False)
    await page.wait_for_url("**/receive?did=rcp_*")
    assert await receipts(site.shop) == [("SHIRT", 2, "new")]


async def test_done_is_sent_by_itself_when_the_server_is_back(site: Site) -> None:
    page, _ = await opened(site)
    down = True

    async def gone(route: Route) -> None:
        await (route.abort() if down else route.continue_())

    await cut(page.context, gone)
    await scan(page, "SHIRT")
    await page.get_by_role("button", name="Done").click()
    await page.wait_for_timeout(6000)  # long enough for the waits between two tries to have grown
    down = False
    await page.wait_for_url("**/receive?did=rcp_*")
    assert await receipts(site.shop) == [("SHIRT", 1, "new")]


async def test_a_tab_that_is_closed_offline_loses_nothing(site: Site) -> None:
    page, return_id = await opened(site)
    context = page.context
    await page.reload()
    await context.set_offline(True)
    await scan(page, "SHIRT", "SHIRT")
    await page.get_by_text("Offline, 2 scans kept").wait_for()
    await page.close()
    page = await site.page(context)
    await page.goto(f"/receive/{return_id}")  # out of the service worker's cache
    assert await page.locator("#units").text_content() == "2"
    await page.get_by_text("Offline, 2 scans kept").wait_for()
    await scan(page, "SHIRT")
    await context.set_offline(False)
    await sent(page)
    assert len(await scans(site.shop)) == 3
    await page.reload()
    assert await page.locator("#units").text_content() == "3"


async def test_a_page_that_isnt_kept_says_what_is_safe_when_the_network_is_gone(site: Site) -> None:
    page, _ = await opened(site)
    await page.reload()
    await page.context.set_offline(True)
    await page.goto("/you")
    await page.get_by_role("heading", name="No connection").wait_for()
    await page.get_by_text("Scans already counted are kept").wait_for()


async def test_scans_outlive_the_session_and_count_under_the_name_of_who_made_them(site: Site) -> None:
    page, _ = await opened(site, email="mara@shop.test")
    await add_person(site.shop, "warehouse", "tomasz@shop.test")
    await page.context.set_offline(True)
    await scan(page, "SHIRT", "SHIRT")
    await page.get_by_text("Offline, 2 scans kept").wait_for()
    await page.context.clear_cookies()  # the session is gone before the line is back
    await page.context.set_offline(False)
    await page.get_by_text("Sign in again: scans are kept").wait_for()
    assert await scans(site.shop) == []
    await site.sign_in(page, "tomasz@shop.test")
    await sent(page)
    async with site.shop.db.reading() as tx:
        (mara,) = (await tx.exec(select(StaffUser.id).where(col(StaffUser.email) == "mara@shop.test"))).all()
    for _ in range(50):
        if len(await scans(site.shop)) == 2:
            break
        await asyncio.sleep(0.1)
    assert {row.scanned_by for row in await scans(site.shop)} == {mara}
    assert len(await scans(site.shop)) == 2


async def test_two_tabs_send_each_scan_once(site: Site) -> None:
    page, return_id = await opened(site, 10)
    other = await site.page(page.context)
    await other.goto(f"/receive/{return_id}")
    for _ in range(5):
        await scan(page, "SHIRT")
        await scan(other, "SHIRT")
    await sent(page)
    await sent(other)
    assert len(await scans(site.shop)) == 10


async def test_a_scan_while_another_button_has_the_focus_counts_and_presses_nothing(site: Site) -> None:
    page, _ = await opened(site)
    await page.locator(".item summary").first.click()
    await page.get_by_role("button", name=re.compile("One more.*New")).focus()
    for key in "SHIRT":
        await page.keyboard.press(key)
    await page.keyboard.press("Enter")
    await shows(page, "Counted: 1 of 3")
    await sent(page)
    assert [row.quantity for row in await scans(site.shop)] == [1]


async def test_counts_by_hand(site: Site) -> None:
    page, _ = await opened(site)
    await page.locator(".item summary").first.click()
    await page.get_by_role("button", name=re.compile("One more.*Opened")).click()
    await page.get_by_label(re.compile("Units of.*New")).fill("2")
    await page.keyboard.press("Enter")
    await sent(page)  # or the answer to the units before could be shown after the one too many
    await page.get_by_role("button", name=re.compile("One more.*New")).click()
    await shows(page, "One too many")
    await page.get_by_role("button", name=re.compile("One less.*Opened")).click()
    await sent(page)
    assert await page.locator("#units").text_content() == "2"
    assert sum(row.quantity for row in await scans(site.shop) if row.condition == "new") == 2
    assert sum(row.quantity for row in await scans(site.shop) if row.condition == "opened") == 0


async def test_an_answer_leaves_the_number_alone_that_is_being_typed(site: Site) -> None:
    page, _ = await opened(site)
    answers = asyncio.Event()

    async def wait_a_while(route: Route) -> None:
        await answers.wait()
        await route.continue_()

    await cut(page.context, wait_a_while)
    await page.locator(".item summary").first.click()
    await page.get_by_role("button", name=re.compile("One more.*Opened")).click()
    box = page.get_by_label(re.compile("Units of.*New"))
    await box.fill("2")
    answers.set()
    await sent(page)
    assert await box.input_value() == "2"
    await page.keyboard.press("Enter")
    await shows(page, "Counted: 3 of 3")
    await sent(page)
    assert sum(row.quantity for row in await scans(site.shop) if row.condition == "new") == 2


async def test_a_refused_scan_is_shown_and_kept(site: Site) -> None:
    page, _ = await opened(site)

    async def refuse(route: Route) -> None:
        sent_id = (route.request.post_data_json or {})["scan_id"]
        await route.fulfill(status=422, json={"scan_id": sent_id, "detail": "Not this one."})

    await cut(page.context, refuse)
    await scan(page, "SHIRT")
    await shows(page, "Not this one.")
    await page.get_by_text("1 not taken: ask an approver").wait_for()
    kept: list[Any] = await page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('refused:'))")
    assert len(kept) == 1


async def test_storage_that_is_full_falls_back_to_the_form(site: Site) -> None:
    page, _ = await opened(site)
    full = "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); } }"
    await page.evaluate(full)
    await scan(page, "SHIRT")
    await page.wait_for_url("**?last=*")
    await shows(page, "Counted: 1 of 3")
    assert len(await scans(site.shop)) == 1


async def test_a_done_of_one_parcel_leads_nobody_away_from_the_next(site: Site) -> None:
    page, first = await opened(site)
    second = await site.shop.create_approved_return(9000, 3, order_id="order_2")
    await page.goto(f"/receive/{second['id']}")
    await page.evaluate("navigator.serviceWorker.controller || new Promise((r) => setTimeout(r, 500))")
    await page.goto(f"/receive/{first}")
    await page.context.set_offline(True)
    await scan(page, "SHIRT")
    await page.get_by_role("button", name="Done").click()
    await page.goto(f"/receive/{second['id']}")
    await scan(page, "SHIRT")
    await page.context.set_offline(False)
    await sent(page)
    assert page.url.endswith(str(second["id"]))
    assert await receipts(site.shop) == [("SHIRT", 1, "new")]
    assert [row.return_id for row in await scans(site.shop) if row.receipt_id is None] == [second["id"]]


@pytest.mark.parametrize("scripts", [True, False])
async def test_the_whole_way_with_and_without_scripts(site: Site, scripts: bool) -> None:
    await add_person(site.shop, "warehouse")
    made = await parcel(site.shop)
    page = await site.page(java_script_enabled=scripts)
    await site.sign_in(page, "warehouse@shop.test")
    box = page.get_by_label("Scan or search")
    await box.fill("NW-48213")
    await box.press("Enter")
    await page.wait_for_url(f"**/receive/{made['id']}")
    for code, told in (("TOTE-NAT", "Counted: 1 of 1"), ("MUG", "Not on this return"), ("CREW-MER-UND-L", "1 of 3")):
        await box.fill(code)
        await box.press("Enter")
        await shows(page, told)
    await page.locator("#condition").get_by_text("Damaged").click()
    if not scripts:
        await page.get_by_role("button", name="Save the condition").click()
    await page.locator("#goes", has_text="Scrap").wait_for()
    if scripts:
        await sent(page)
    await page.get_by_role("button", name="Done").click()
    await page.wait_for_url("**/receive?did=rcp_*")
    await page.get_by_text("2 units counted, 1 put aside").wait_for()
    assert await receipts(site.shop) == [("CREW-MER-UND-L", 1, "damaged"), ("TOTE-NAT", 1, "new")]
    await page.get_by_role("button", name="Take it back").first.click()
    await page.get_by_text("Its units are expected again").wait_for()
    async with site.shop.db.reading() as tx:
        assert [row.reversed_at is not None for row in (await tx.exec(select(Receipt))).all()] == [True]


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/device"])
async def test_pages_that_were_kept_for_want_of_a_network_go_with_the_session(site: Site, path: str) -> None:
    page, _ = await opened(site)
    await page.reload()

    async def kept() -> int:
        names = "caches.keys().then((all) => Promise.all(all.map((k) => caches.open(k).then((c) => c.keys()))))"
        found = await page.evaluate(f"{names}.then((all) => all.flat().map((kept) => new URL(kept.url).pathname))")
        return sum(name.startswith("/receive") for name in found)

    await wait_for(kept, "pages of the dock are kept")
    await page.context.clear_cookies()
    await page.goto(path)
    await wait_for(kept, "they are gone", until=lambda number: number == 0, seconds_without_progress=10)


async def test_units_scanned_by_barcode_before_their_return_has_opened_are_its(site: Site) -> None:
    """C2 in the browser too: a barcode is no stranger, with or without a line; and a slip's units wait for no page."""
    await add_person(site.shop, "warehouse")
    body = return_body(site.shop.pay(), 9000, 3, order_id="NW-1")
    body["lines"][0]["barcodes"] = ["036000291452"]
    made = expect(await site.shop.post("/v1/returns", body), 201)
    expect(await site.shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await approved(site.shop, "NW-2")  # the barcode means none of it, and it must not open
    page = await site.page()
    await site.begin_session(page.context, "warehouse@shop.test")
    await page.goto("/receive")
    answers = asyncio.Event()

    async def wait_a_while(route: Route) -> None:
        await answers.wait()
        await route.continue_()

    await cut(page.context, wait_a_while)
    await scan(page, made["slip_code"], "0036000291452", "036000291452")
    answers.set()
    await page.wait_for_url(f"**/receive/{made['id']}")
    await sent(page)
    assert [row.return_id for row in await scans(site.shop)] == [made["id"]] * 2
    await page.locator("#units", has_text="2").wait_for()
    answers.clear()
    await scan(page, "1234567890", "036000291452")  # ten digits, and no slip of ours: the parcel stays open
    await shows(page, "Kept for the next return")
    answers.set()
    await sent(page)
    await page.locator("#units", has_text="3").wait_for()
    await page.context.unroute_all(behavior="wait")
    await page.context.set_offline(True)
    await scan(page, "0036000291452")
    await shows(page, "One too many")
    await page.context.set_offline(False)
    await sent(page)
    assert await page.locator("#aside strong").all_text_contents() == ["1234567890", "0036000291452"]
    assert [row.return_id for row in await scans(site.shop)] == [made["id"]] * 5
    assert page.url.endswith(str(made["id"]))
