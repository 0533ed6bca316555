"""Every page in a real browser: nothing axe finds, nothing sideways, in both themes, at every width.

One browser, two shops and a tab a role serve them all: a page is opened once and then narrowed, widened and darkened.
SCREENSHOTS names a folder to keep what it looked like.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from returns_service.commands import staff_users
from returns_service.domain.vocabulary import Role
from tests.conftest import fresh_sqlite
from tests.pages.conftest import Site, add_person, open_site
from tests.pages.world import HOSTILE, World, parcel, play_day

WIDTHS = (320, 390, 1280, 1920)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
NAMES: dict[Role, str] = {"warehouse": "Mara Kowalczyk", "approver": "Ana Novak", "finance": "Jide Okafor",
                          "admin": "Noor Haddad"}  # fmt: skip
AXE = Axe()


@dataclass
class Look:
    """A shop, and a tab for each role that has signed in."""

    site: Site
    world: World | None = None
    tabs: dict[Role, Page] = field(default_factory=dict)

    @property
    def day(self) -> World:
        """What the day left."""
        assert self.world is not None
        return self.world

    async def tab(self, role: Role | None) -> Page:
        """Return the role's tab; a stranger gets a new one."""
        options: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
        if role is None:
            return await self.site.page(**options)
        if role not in self.tabs:
            await add_person(self.site.shop, role, name=NAMES[role])
            self.tabs[role] = await self.site.page(**options)
            await self.site.sign_in(self.tabs[role], f"{role}@shop.test")
        return self.tabs[role]


@pytest.fixture(scope="module")
async def new_shop(sqlite_template: Path, browser: Browser) -> AsyncIterator[Look]:
    """A shop on its first day."""
    with fresh_sqlite(sqlite_template) as url:
        async with open_site(url, browser) as site:
            yield Look(site)


@pytest.fixture(scope="module")
async def busy_shop(sqlite_template: Path, browser: Browser) -> AsyncIterator[Look]:
    """A shop in the middle of its day."""
    with fresh_sqlite(sqlite_template) as url:
        async with open_site(url, browser) as site:
            yield Look(site, await play_day(site.shop))


Open = Callable[[Look, Page], Awaitable[None]]


@dataclass(frozen=True)
class View:
    """One page in one situation: whose it is, in which shop, and the way there."""

    role: Role | None
    shop: str
    open: Open


VIEWS: dict[str, View] = {}


def view(role: Role | None, shop: str = "busy_shop") -> Callable[[Open], Open]:
    """Declare a situation to look at."""

    def declare(function: Open) -> Open:
        VIEWS[function.__name__] = View(role, shop, function)
        return function

    return declare


def at(path: str, role: Role | None, name: str, shop: str = "busy_shop") -> None:
    """Declare a page that only has to be opened."""

    async def open_page(_: Look, page: Page) -> None:
        await page.goto(path)

    VIEWS[name] = View(role, shop, open_page)


async def scan(page: Page, *codes: str) -> None:
    """Scan codes as a hand scanner does: keys, then Enter."""
    for code in codes:
        await page.get_by_label("Scan or search").fill(code)
        await page.keyboard.press("Enter")


async def sent(page: Page) -> None:
    """Wait until the server has answered for everything."""
    await page.get_by_text("All scans sent").wait_for()


# --- strangers -------------------------------------------------------------------------------------------------------

at("/sign-in", None, "sign_in_page")
at("/sign-in/link/nothing", None, "link_over")
at("/sign-in/device", None, "new_device")
at("/offline", None, "offline")
at("/returns/ret_01k9x7d3m8f2aw01k9x7d3m8", None, "not_found")


@view(None)
async def wrong_password(look: Look, page: Page) -> None:
    await page.goto("/sign-in")
    await page.get_by_label("E-mail", exact=True).fill("nobody@shop.test")
    await page.get_by_label("Password", exact=True).fill("wrong password")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("tries left").wait_for()


@view(None)
async def link_page(look: Look, page: Page) -> None:
    user = await add_person(look.site.shop, "approver", "link@shop.test", HOSTILE[:90].replace("\u202e", ""))
    async with look.site.shop.db.transaction() as tx:
        token = await staff_users.make_link(tx, user, "cli")
    await page.goto(f"/sign-in/link/{token}")


@view(None)
async def device_waits(look: Look, page: Page) -> None:
    await page.goto("/sign-in/device")
    await page.get_by_label("Name of this device").fill("Dock 2")
    await page.get_by_role("button", name="Ask").click()


@view(None)
async def device(look: Look, page: Page) -> None:
    from returns_service.commands.devices import approve_device

    await device_waits(look, page)
    match = re.search(r"dev_\w{26}", await page.content())
    assert match is not None
    async with look.site.shop.db.transaction() as tx:
        await approve_device(tx, match[0], "cli")
    await page.get_by_role("link", name="Look again").click()


# --- home, you, health, what goes wrong ------------------------------------------------------------------------------

at("/", "admin", "first_run", "new_shop")
at("/", "approver", "home_empty", "new_shop")
at("/", "admin", "home_of_admin")
at("/", "warehouse", "home_of_warehouse")
at("/you?did=password", "admin", "you")
at("/settings/health", "admin", "health")
at("/receive", "finance", "forbidden")

# --- approvals -------------------------------------------------------------------------------------------------------

at("/approvals", "approver", "approvals_empty", "new_shop")
at("/approvals", "approver", "approvals")
at("/approvals?view=second", "approver", "approvals_second")
at("/approvals/chosen?return=x&do=approve", "approver", "approvals_nothing_chosen")


@view("approver")
async def approvals_chosen(look: Look, page: Page) -> None:
    await page.goto("/approvals")
    await page.get_by_label("Choose NW-48171").check()
    await page.get_by_role("button", name="Decline them").click()


@view("approver")
async def approval_against_the_policy(look: Look, page: Page) -> None:
    await page.goto("/approvals")
    await page.get_by_role("link", name="NW-48177 in spite").click()


@view("approver")
async def approval_declined(look: Look, page: Page) -> None:
    await page.goto("/approvals")
    await page.get_by_role("link", name="Decline NW-48177").click()


@view("approver")
async def approval_refused(look: Look, page: Page) -> None:
    await page.goto("/approvals")
    await page.get_by_role("link", name="Decline NW-48177").click()
    await page.get_by_label("Why?").last.evaluate("e => { e.required = false }")
    for box in await page.locator("dialog[open] textarea").all():
        await box.evaluate("e => { e.required = false }")
    await page.locator("dialog[open] button.primary").click()
    await page.get_by_text("What you typed is kept").wait_for()


# --- the dock --------------------------------------------------------------------------------------------------------

at("/receive", "warehouse", "receive_empty", "new_shop")
at("/receive?q=nobody", "warehouse", "receive_nothing")
at("/receive?q=nw", "warehouse", "receive")


@view("warehouse")
async def count_begun(look: Look, page: Page) -> None:
    made = await parcel(look.site.shop, "NW-1")
    await page.goto(f"/receive/{made['id']}")


@view("warehouse")
async def count(look: Look, page: Page) -> None:
    await count_begun(look, page)
    await scan(page, "TOTE-NAT", "MUG-COBALT-11", "CREW-MER-UND-L")
    await page.get_by_text("Opened", exact=True).first.click()
    await sent(page)
    for summary in await page.locator(".item summary").all():
        await summary.click()


@view("warehouse")
async def count_too_many(look: Look, page: Page) -> None:
    await count_begun(look, page)
    await scan(page, "TOTE-NAT", "TOTE-NAT")
    await sent(page)


@view("warehouse")
async def count_dialog(look: Look, page: Page) -> None:
    await count_begun(look, page)
    await page.get_by_role("link", name="Item without a barcode").click()


SIDEWAYS = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`page: ${document.documentElement.scrollWidth}`);
  for (const e of document.querySelectorAll("body *")) {
    // Views are a strip that scrolls by itself, as keys and fingers expect.
    if (e.closest(".sr, .skip, [hidden], svg, input, .views") || !e.checkVisibility()) continue;
    const box = e.getBoundingClientRect(), cuts = getComputedStyle(e).overflowX !== "visible";
    if (box.width && (box.left < -1 || box.right > wide + 1)) found.push(`${e.tagName}.${e.className} reaches out`);
    if (cuts && e.scrollWidth > e.clientWidth + 1) found.push(`${e.tagName}.${e.className} is cut`);
  }
  return found;
}"""
SMALL = """() => [...document.querySelectorAll("a, button, input, select, summary")].filter((e) => {
  if (e.closest(".sr, [hidden], .skip, p, dialog") || !e.checkVisibility() || e.type === "hidden") return false;
  const target = e.closest("label.chip, label.item-row, .hit");
  const box = (target ?? (e.matches(".go") ? e.closest("tr") : e)).getBoundingClientRect();
  return box.height && (box.height < 43.5 || box.width < 43.5);
}).map((e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)}`)"""


@pytest.mark.parametrize("name", VIEWS)
async def test_nothing_is_wrong_with(new_shop: Look, busy_shop: Look, name: str) -> None:
    """axe finds nothing, nothing is sideways, and a finger hits what it means."""
    seen = VIEWS[name]
    look = {"new_shop": new_shop, "busy_shop": busy_shop}[seen.shop]
    page = await look.tab(seen.role)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    await seen.open(look, page)
    await page.evaluate(AXE.axe_script)
    found: dict[str, Any] = {}
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844 if width < 1000 else 900})
        if reaching := await page.evaluate(SIDEWAYS):
            found[f"{width}"] = reaching
        if width == 390 and (small := await page.evaluate(SMALL)):
            found["too small for a finger"] = small
        if width in (390, 1280):
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                if violations := await page.evaluate(VIOLATIONS):
                    found[f"{width} {scheme}"] = violations
                await keep_screenshot(page, f"{name}-{width}-{scheme}.png")
    if seen.role is None:
        await page.close()
    failures, look.site.failures[:] = list(look.site.failures), []
    assert (found, failures) == ({}, [])


VIOLATIONS = """() => axe.run(document, {resultTypes: ["violations"]}).then((results) => results.violations.map(
  (v) => `${v.id}: ${v.nodes.slice(0, 5).map(
    (n) => `${n.html.slice(0, 200)} ${n.any.concat(n.all)[0]?.message ?? ""}`)}`))"""


async def keep_screenshot(page: Page, name: str) -> None:
    """Keep what the page looks like, where somebody wants to see it."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=Path(folder) / name, full_page=True, animations="disabled")
