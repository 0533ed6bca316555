"""A return's whole life by keyboard alone, in a real browser: nobody touches a mouse from sign-in to the money."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.pages.conftest import PASSWORD, Site, add_person
from tests.pages.world import ask

MOST_TABS = 80
FOCUSED = """() => {
  const e = document.activeElement;
  if (e === document.body) return "";
  return [e.innerText, e.getAttribute("aria-label"), ...[...(e.labels ?? [])].map((l) => l.innerText)].join(" ");
}"""


async def reach(page: Page, words: str) -> None:
    """Press Tab until the thing with these words has the focus."""
    for _ in range(MOST_TABS):
        if words in " ".join((await page.evaluate(FOCUSED)).split()):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{words!r} is not reached by Tab")


async def press(page: Page, words: str) -> None:
    """Reach a link or a button, and press it."""
    await reach(page, words)
    await page.keyboard.press("Enter")


async def sign_in(page: Page, email: str) -> None:
    """Sign in with keys alone."""
    await page.goto("/sign-in")
    await reach(page, "E-mail")
    await page.keyboard.type(email)
    await reach(page, "Password")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(lambda url: "/sign-in" not in url)


async def test_a_return_lives_its_whole_life_by_keyboard(site: Site) -> None:
    for role in ("approver", "warehouse"):
        await add_person(site.shop, role)
    made = await ask(site.shop, "NW-1", 5900)
    page = await site.page()
    await sign_in(page, "approver@shop.test")
    await page.wait_for_url("**/approvals")  # an approver lands on their work
    await press(page, "Approve NW-1")
    await expect(page.get_by_role("status")).to_contain_text("Approved: 59.00 EUR")
    await press(page, "Sign out")
    await page.wait_for_url("**/sign-in")
    await sign_in(page, "warehouse@shop.test")
    await reach(page, "Scan or search")
    await page.keyboard.type("NW-1")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/receive/{made['id']}")
    for line in made["lines"]:
        for number in range(line["quantity"]):
            await page.keyboard.type(line["sku"])
            await page.keyboard.press("Enter")
            await page.get_by_text(f"{number + 1} of {line['quantity']}").first.wait_for()
    await press(page, "Done")
    await page.wait_for_url("**/receive?did=rcp_*")
    await site.shop.settle()
    assert (await site.shop.read_return(made["id"]))["state"] == "refunded"
