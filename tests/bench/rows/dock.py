"""From a scan to its being shown as counted, in a real browser, against one bare round trip shown there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from playwright.async_api import Page, async_playwright
from sqlmodel import col, func, select

from returns_service.logs import set_up_logs
from returns_service.settings import Settings
from returns_service.store import schema
from returns_service.store.database import Database
from returns_service.store.tables import DockScan
from tests.bench.result import Row, percentile, row_of_costs
from tests.bench.stage import open_folder
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import MISSING, Site, add_person, find_browser, open_site
from tests.pages.scanner import sent

AIM = 1 / 1.5
SCANS, TRIPS = 40, 40  # a round
# Both end with the frame that the browser paints next: what is shown is what a person sees.
SHOWN: Final = """
const frame = () => new Promise(requestAnimationFrame);
const late = new Promise((_, fail) => setTimeout(() => fail(new Error("nothing was shown")), 15000));
"""
SCAN: Final = f"""async () => {{ {SHOWN}
  const units = document.querySelector("#units");
  const counted = new Promise((done) => new MutationObserver(done)
    .observe(units, {{ childList: true, characterData: true, subtree: true }}));
  document.querySelector("#q").value = "SHIRT";
  await frame();
  const began = performance.now();
  document.querySelector("#scan").requestSubmit();
  await Promise.race([counted, late]);
  await frame();
  return performance.now() - began;
}}"""
TRIP: Final = f"""async () => {{ {SHOWN}
  await frame();
  const began = performance.now();
  await Promise.race([fetch("/healthz", {{ cache: "no-store" }}).then((answer) => answer.text()), late]);
  await frame();
  return performance.now() - began;
}}"""


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare the slowest of twenty. Raises RuntimeError where there is no browser."""
    file = find_browser()
    if file is None:
        raise RuntimeError(MISSING)
    set_up_logs(Settings(log_level="error"))
    async with open_folder() as folder, async_playwright() as playwright:
        url = f"sqlite:///{folder}/returns.db"
        database = Database(url)
        await schema.upgrade(database)
        await database.close()
        browser = await playwright.chromium.launch(executable_path=file, args=["--no-sandbox"])
        try:
            async with open_site(url, browser) as site:
                page = await open_parcel(site, SCANS * (rounds + 1))
                ours, reference = [], []
                for number in range(rounds + 1):
                    mine = await slowest(page, SCAN, SCANS)
                    await sent(page)
                    theirs = await slowest(page, TRIP, TRIPS)
                    if number:  # the first ones compile the scripts
                        ours.append(mine)
                        reference.append(theirs)
                        on_round()
                lost = SCANS * (rounds + 1) - await count_scans(site.shop)
        finally:
            await browser.close()
    return [row_of_costs("dock", ours, reference, unit="ms p95", aim=AIM, scans_lost=lost)]


async def open_parcel(site: Site, units: int) -> Page:
    """Return a tab of the warehouse with a parcel of so many units open."""
    await add_person(site.shop, "warehouse")
    made = await site.shop.create_approved_return(100 * units, units)
    page = await site.page()
    await site.sign_in(page, "warehouse@shop.test")
    await page.goto(f"/receive/{made['id']}")
    await page.evaluate("navigator.serviceWorker.ready.then(() => 1)")
    return page


async def slowest(page: Page, script: str, times: int) -> float:
    """Return the 95th percentile of what a script measures, in milliseconds."""
    return percentile([await page.evaluate(script) for _ in range(times)], 0.95)


async def count_scans(shop: ServedShop) -> int:
    """Return how many scans have arrived and count."""
    async with shop.db.reading() as tx:
        return (await tx.exec(select(func.count()).where(col(DockScan.undone_at).is_(None)))).one()
