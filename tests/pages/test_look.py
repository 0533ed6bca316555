"""Every page in a real browser: nothing axe finds, nothing sideways, in both themes, at every width.

One browser, two shops and a tab a shop serve them all: a page is opened once and then narrowed, widened and darkened.
SCREENSHOTS names a folder to keep what it looked like.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from tests.conftest import fresh_sqlite
from tests.pages.conftest import find_browser, open_site
from tests.pages.looks import VIEWS
from tests.pages.view import Look
from tests.pages.world import play_day

WIDTHS = (320, 390, 1280, 1920)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE = Axe()


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


@pytest.fixture(scope="module")
async def shop_in_large_text(sqlite_template: Path, browser: Browser) -> AsyncIterator[Look]:
    """A busy shop in a browser whose reader has doubled the size of all text."""
    large = await browser.browser_type.launch(
        executable_path=find_browser(), args=["--no-sandbox", "--blink-settings=defaultFontSize=32"]
    )
    try:
        with fresh_sqlite(sqlite_template) as url:
            async with open_site(url, large) as site:
                yield Look(site, await play_day(site.shop))
    finally:
        await large.close()


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
  const hit = e.closest("label.chip, label.check, label.item-row, .hit") ?? (e.matches(".go") ? e.closest("tr") : e);
  const box = hit.getBoundingClientRect();
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
    found = await find_faults(page, name)
    failures, look.site.failures[:] = list(look.site.failures), []
    assert (found, failures) == ({}, [])


@pytest.mark.parametrize("name", [name for name, seen in VIEWS.items() if seen.shop == "busy_shop"][::3])
async def test_nothing_is_cut_in_twice_the_text_or_forced_colours(shop_in_large_text: Look, name: str) -> None:
    """WCAG 1.4.4: text may be doubled in the browser's settings; 1.4.1: colours may all be the reader's own."""
    page = await shop_in_large_text.tab(VIEWS[name].role)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.emulate_media(forced_colors="active", reduced_motion="reduce")
    await VIEWS[name].open(shop_in_large_text, page)
    assert await page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
    reaching = await page.evaluate(SIDEWAYS)
    await keep_screenshot(page, f"{name}-1280-large.png")
    assert reaching == []


# A page's dark scheme is its light one in other colours: the rules that never look at colours say the same of both.
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
VIOLATIONS = """(rules) => axe.run(document, {
  resultTypes: ["violations"], preload: false, ...(rules && {runOnly: {type: "rule", values: rules}}),
}).then((results) => results.violations.map(
  (v) => `${v.id}: ${v.nodes.slice(0, 5).map(
    (n) => `${n.html.slice(0, 200)} ${n.any.concat(n.all)[0]?.message ?? ""}`)}`))"""


# axe reads each colour anew wherever it meets it, which is a third of all that a look at colours takes.
KNOWN_COLOURS = """() => {
  const {prototype} = axe.commons.color.Color, parse = prototype.parseString, known = new Map();
  prototype.parseString = function (text) {
    if (!known.has(text)) {
      const {r, g, b, alpha} = parse.call(this, text);
      known.set(text, {r, g, b, alpha});
    }
    return Object.assign(this, known.get(text));
  };
}"""


async def find_faults(page: Page, name: str) -> dict[str, Any]:
    """Look at a page at every width and in both schemes; return what is wrong, by where."""
    await page.evaluate(AXE.axe_script)
    await page.evaluate(KNOWN_COLOURS)
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
                if violations := await page.evaluate(VIOLATIONS, COLOUR_RULES if scheme == "dark" else None):
                    found[f"{width} {scheme}"] = violations
                await keep_screenshot(page, f"{name}-{width}-{scheme}.png")
    return found


async def keep_screenshot(page: Page, name: str) -> None:
    """Keep what the page looks like, where somebody wants to see it."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=Path(folder) / name, full_page=True, animations="disabled")
