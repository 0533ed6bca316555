"""A real browser with JavaScript off: dialogs open as links to themselves, and forms do the rest."""

from __future__ import annotations

from playwright.async_api import Page, expect

from returns_service.domain.vocabulary import Role
from tests.pages.conftest import Site, add_person
from tests.pages.world import approved, ask


async def open_as(site: Site, role: Role, path: str) -> Page:
    """Sign in with JavaScript off, and open a page."""
    await add_person(site.shop, role)
    page = await site.page(await site.context(java_script_enabled=False))
    await site.begin_session(page.context, f"{role}@shop.test")
    await page.goto(path)
    return page


async def test_an_approver_approves_and_declines(site: Site) -> None:
    first, second = await ask(site.shop, "NW-1", 5900), await ask(site.shop, "NW-2")
    page = await open_as(site, "approver", "/approvals")
    await page.get_by_role("button", name="Approve NW-1").click()
    await expect(page.get_by_role("status")).to_contain_text("Approved: 59.00 EUR")
    await page.get_by_role("link", name="Decline NW-2").click()
    dialog = page.locator("dialog:target")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Why?").fill("Worn.")
    await dialog.get_by_role("button", name="Decline NW-2").click()
    await expect(page.get_by_role("status")).to_contain_text("Declined")
    states = [(await site.shop.read_return(made["id"]))["state"] for made in (first, second)]
    assert states == ["approved", "declined"]


async def test_an_approver_decides_several_at_once(site: Site) -> None:
    made = [await ask(site.shop, f"NW-{number}") for number in range(2)]
    page = await open_as(site, "approver", "/approvals")
    for number in range(2):
        await page.get_by_label(f"Choose NW-{number}").check()
    await page.get_by_role("button", name="Approve them").click()
    await page.get_by_role("button", name="Approve 2 returns").click()
    await expect(page.get_by_role("status")).to_have_count(2)
    assert [(await site.shop.read_return(one["id"]))["state"] for one in made] == ["approved", "approved"]


async def test_finance_settles_a_failed_refund_from_the_desk(site: Site) -> None:
    made = await approved(site.shop, "NW-1", 14_800, card="pm_card_refundFail")
    await site.shop.receive_parcel(made["id"])
    await site.shop.settle()
    page = await open_as(site, "finance", "/refunds")
    await page.get_by_role("link", name="Settle outside").click()
    dialog = page.locator("dialog:target")
    await dialog.get_by_label("Reference").fill("SEPA-2026-11-0071")
    await dialog.get_by_label("Amount").fill("100")
    assert "148.00 EUR" not in await dialog.inner_text(), "nothing names an amount that is not the one"
    await dialog.get_by_role("button", name="Settle outside…").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Record 100.00 EUR as paid another way?")
    await page.get_by_role("button", name="Change it").click()
    await page.get_by_label("Amount").fill("148.00")
    await page.get_by_role("button", name="Settle outside…").click()
    await page.get_by_role("button", name="Record 148.00 EUR as paid").click()
    await expect(page.get_by_role("status")).to_contain_text("148.00 EUR settled outside: bank transfer")
    assert (await site.shop.read_return(made["id"]))["state"] == "refunded"


async def test_a_browser_that_knows_no_dialogs_does_the_same(site: Site) -> None:
    """Phones up to 2022: with scripts, but without `<dialog>`. The link to a dialog shows it, as without scripts."""
    made = await ask(site.shop, "NW-1")
    await add_person(site.shop, "approver")
    page = await site.page()
    await page.add_init_script(
        "for (const name of ['show', 'showModal', 'close', 'open']) delete HTMLDialogElement.prototype[name];"
        "delete window.HTMLDialogElement"
    )
    await site.begin_session(page.context, "approver@shop.test")
    await page.goto("/approvals")
    await expect(page.get_by_role("button", name="Keys")).to_be_hidden()
    await page.get_by_role("link", name="Decline NW-1").click()
    dialog = page.locator("dialog:target")
    await expect(dialog).to_be_visible()
    await dialog.get_by_role("link", name="Keep waiting").click()
    await expect(dialog).to_have_count(0)
    await page.get_by_role("link", name="Decline NW-1").click()
    await dialog.get_by_role("button", name="Window closed").click()
    await dialog.get_by_role("button", name="Decline NW-1").click()
    await expect(page.get_by_role("status")).to_contain_text("Declined")
    assert (await site.shop.read_return(made["id"]))["state"] == "declined"


async def test_a_script_names_the_amount_that_is_typed_and_needs_no_second_question(site: Site) -> None:
    payment = site.shop.pay(250_000, currency="eur")
    await add_person(site.shop, "finance")
    page = await site.page()
    await site.begin_session(page.context, "finance@shop.test")
    await page.goto(f"/refunds/payments?payment={payment}")
    await page.get_by_role("link", name="Refund…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Refund how much to Visa ending 4242?")
    await dialog.get_by_label("Amount").fill("1234.5")
    await expect(dialog.get_by_role("heading")).to_have_text("Refund 1,234.5 EUR to Visa ending 4242?")
    await dialog.get_by_label("What is it for?").fill("Goodwill.")
    await dialog.get_by_role("button", name="Refund 1,234.5 EUR").click()
    await expect(page.get_by_role("status")).to_contain_text("1,234.50 EUR decided, goes to Stripe")


async def test_a_double_click_in_a_browser_with_scripts_is_one_act(site: Site) -> None:
    made = await ask(site.shop, "NW-1", 5900)
    for order, amount, currency in (("NW-2", 12_345_610, "eur"), ("NW-3", 18_400, "jpy"), ("NW-4", 10, "kwd")):
        await ask(site.shop, order, amount, currency=currency)
    await add_person(site.shop, "approver")
    page = await site.page()
    await site.begin_session(page.context, "approver@shop.test")
    await page.goto("/approvals")
    await page.get_by_label("Choose all").check()
    await expect(page.locator("[data-sums]")).to_have_text("123,515.10 EUR and 18,400 JPY and 0.010 KWD")
    await page.get_by_role("button", name="Approve NW-1").dblclick()
    await expect(page.get_by_role("status")).to_contain_text("Approved: 59.00 EUR")
    assert len((await site.shop.read_return(made["id"]))["approvals"]) == 1
