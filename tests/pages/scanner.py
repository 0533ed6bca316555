"""A hand scanner at the dock's page."""

from __future__ import annotations

from playwright.async_api import Page


async def scan(page: Page, *codes: str) -> None:
    """Scan codes as a hand scanner does: keys, then Enter."""
    for code in codes:
        await page.get_by_label("Scan or search").fill(code)
        await page.keyboard.press("Enter")


async def sent(page: Page) -> None:
    """Wait until the server has answered for everything."""
    await page.get_by_text("All scans sent").wait_for()
