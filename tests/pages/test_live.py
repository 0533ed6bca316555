"""Pages that stay true while they are looked at: what is told, to whom, how long; and what a page makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from playwright.async_api import Route
from sqlmodel import select

from returns_service.commands.sessions import IDLE_LIVES
from returns_service.return_case.event_feed import place_events
from returns_service.store.tables import StaffSession
from tests.harness.patience import SECONDS_WITHOUT_PROGRESS, complete, wait_for
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, Site, add_person, serve
from tests.pages.world import ask

ADDRESS = re.compile(r'<meta name="live" content="([^"]+)">')
STREAM = {"Accept": "text/event-stream"}


async def signed_in(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "approver")
    await desk.sign_in("approver@shop.test")


async def address_on(desk: Desk, path: str) -> str:
    match = ADDRESS.search((await desk.get(path)).text)
    assert match is not None, path
    return match[1].replace("&amp;", "&")


@asynccontextmanager
async def served(shop: ServedShop, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the desk's cookies, over a real port: only there an answer goes on."""
    cookies = {cookie.name: cookie.value or "" for cookie in desk.client.cookies.jar}
    async with (
        serve(shop) as url,
        httpx.AsyncClient(
            base_url=url, cookies=cookies, headers=STREAM, trust_env=False, timeout=SECONDS_WITHOUT_PROGRESS
        ) as client,
    ):
        yield client
        shop.context.closing.set()


async def next_changes(lines: AsyncIterator[str], count: int) -> list[str]:
    """Return what the next changes of a stream say."""
    told: list[str] = []

    async def read() -> None:
        kind = ""
        while len(told) < count:
            line = await anext(lines)
            kind = line[7:] if line.startswith("event: ") else kind
            if line.startswith("data: ") and kind == "change":
                told.append(line[6:])

    await complete(read(), f"{count} changes", progress=lambda: len(told))
    return told


async def read_to_the_end(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def test_a_page_hears_of_all_since_it_was_read_and_only_that_it_happened(shop: ServedShop, desk: Desk) -> None:
    made, other = await ask(shop, "NW-1", customer_email="birgit@shop.test"), await ask(shop, "NW-2")
    await shop.db.run(place_events)  # as a worker does all the time: what is told begins behind it
    await signed_in(shop, desk)
    of_all, of_one = await address_on(desk, "/returns"), await address_on(desk, f"/returns/{made['id']}")
    for one in (other, made):
        expect(await shop.post(f"/v1/returns/{one['id']}/decline", {"reason": "Worn."}), 200)
    async with served(shop, desk) as client:
        for address, wanted in ((of_all, [other, made]), (of_one, [made])):
            async with client.stream("GET", address) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                told = await next_changes(stream.aiter_lines(), len(wanted))
            assert [list(json.loads(text)) for text in told] == [["return"]] * len(wanted)
            assert {json.loads(text)["return"] for text in told} == {one["id"] for one in wanted}


async def test_each_page_with_work_on_it_is_live(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    assert (await address_on(desk, "/")).startswith("/live?after=evt_"), "the first steps tick themselves"
    made = await ask(shop, "NW-1")
    for path in ("/", "/returns", "/approvals", "/refunds", f"/returns/{made['id']}"):
        assert (await address_on(desk, path)).startswith("/live?after=evt_"), path
        parts = re.findall(r'id="([^"]+)" data-live', desk.page.text if desk.page else "")
        assert len(parts) == len(set(parts)) > 3, path


async def test_a_stream_ends_with_its_session_and_needs_one(shop: ServedShop, desk: Desk) -> None:
    await signed_in(shop, desk)
    assert (await desk.get("/live")).status_code == 404, "there is nothing to look at"
    async with served(shop, desk) as client:
        async with client.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith(":")
            async with shop.db.transaction() as tx:
                (await tx.exec(select(StaffSession))).one().ended_at = tx.now
            await complete(read_to_the_end(lines), "the end of the stream")
        async with client.stream("GET", "/live") as refused:
            assert (refused.status_code, refused.headers["location"]) == (303, "/sign-in?next=/live")


async def test_a5_streams_of_one_session_have_a_limit(shop: ServedShop, desk: Desk) -> None:
    await signed_in(shop, desk)
    shop.context.live_feed.most_per_key = 1
    async with served(shop, desk) as client, client.stream("GET", "/live") as first:
        lines = first.aiter_lines()  # one that is dropped hangs up
        await anext(lines)
        async with client.stream("GET", "/live") as second:
            assert second.status_code == 429


async def test_a_page_that_only_reads_itself_keeps_no_session_alive(shop: ServedShop, desk: Desk) -> None:
    await signed_in(shop, desk)
    by_itself: dict[str, str] = {"X-Live": "1"}
    for headers, last in (({}, 200), (by_itself, 303)):
        seen = []
        for _ in range(3):
            shop.advance(IDLE_LIVES / timedelta(seconds=1) / 2 - 60)
            seen.append((await desk.get("/returns", **headers)).status_code)
        assert seen == [200, 200, last]


async def test_a_return_that_is_open_follows_and_keeps_what_is_typed(site: Site) -> None:
    await add_person(site.shop, "approver")
    made = await ask(site.shop, "NW-1", 5900)
    page = await site.page()
    await site.begin_session(page.context, "approver@shop.test")
    await page.goto(f"/returns/{made['id']}")
    note = page.get_by_label("Note for colleagues")
    await note.fill("Called her.")
    expect(await site.shop.post(f"/v1/returns/{made['id']}/approve", {}), 200)
    await page.locator(".pill", has_text="Approved").first.wait_for()
    await page.locator(".timeline", has_text="Approved: 59.00 EUR").wait_for()
    assert await note.input_value() == "Called her."
    assert await note.evaluate("e => e === document.activeElement")
    await page.get_by_role("button", name="Add").click()
    await page.locator(".timeline blockquote", has_text="Called her.").wait_for()
    await page.get_by_text("More", exact=False).first.click()
    await page.get_by_role("link", name="Cancel").click()  # an act that came with the change has its dialog
    await page.locator("dialog[open]", has_text="Cancel NW-1?").wait_for()


async def test_a_list_offers_what_changed_and_finds_its_way_back_after_a_cut(site: Site) -> None:
    await add_person(site.shop, "approver")
    await ask(site.shop, "NW-1")
    page = await site.page()
    await site.begin_session(page.context, "approver@shop.test")
    cut = True

    async def line(route: Route) -> None:
        await (route.abort() if cut else route.continue_())

    await page.context.route(re.compile(r"/live\?"), line)
    await page.goto("/approvals")
    await page.get_by_label("Choose NW-1").check()
    await ask(site.shop, "NW-2")
    assert await page.locator("#rows tr").count() == 1
    cut = False
    offer = page.get_by_role("button", name="1 changed: show")
    await offer.wait_for()
    assert await page.locator("#rows tr").count() == 1, "rows don't move by themselves"
    assert await page.locator("#v-waiting").text_content() == "2", "numbers do"
    await offer.click()
    await wait_for(page.locator("#rows tr").count, "the new row", until=lambda number: number == 2)
    assert await page.get_by_label("Choose NW-1").is_checked()
    await offer.wait_for(state="hidden")
    await page.get_by_role("link", name="Decline NW-2").click()
    await page.locator("dialog[open]", has_text="Decline NW-2?").wait_for()
