"""The situations that every page is looked at in: whose page it is, in which shop, and the way there."""

from __future__ import annotations

import re

from httpx import ConnectError
from playwright.async_api import Page
from pydantic import SecretStr

from returns_service.commands import staff_users
from returns_service.domain.vocabulary import Role
from tests.factories import create_charge_total, create_mail, create_return, create_sweep
from tests.harness.oidc_provider import FakeProvider
from tests.harness.served_shop import expect
from tests.pages.conftest import add_person
from tests.pages.scanner import scan, sent
from tests.pages.view import VIEWS, Look, View, at, view
from tests.pages.world import HOSTILE, parcel

__all__ = ["VIEWS"]  # which this module fills

# --- strangers -------------------------------------------------------------------------------------------------------

at("/sign-in", None, "sign_in_page")
at("/sign-in/link/nothing", None, "link_over")
at("/sign-in/device", None, "new_device")
at("/offline", None, "offline")
at("/returns/ret_01k9x7d3m8f2aw01k9x7d3m8", "approver", "not_found")


@view(None)
async def wrong_password(look: Look, page: Page) -> None:
    await page.goto("/sign-in")
    await page.get_by_label("E-mail", exact=True).fill("nobody@shop.test")
    await page.get_by_label("Password", exact=True).fill("wrong password")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("tries left").wait_for()


@view(None)
async def sign_in_with_a_provider(look: Look, page: Page) -> None:
    await open_with_provider(look, page, FakeProvider(), "/sign-in?next=/returns")


@view(None)
async def provider_away(look: Look, page: Page) -> None:
    await open_with_provider(
        look, page, FakeProvider(broken=ConnectError("refused")), "/sign-in/provider?next=/returns"
    )


async def open_with_provider(look: Look, page: Page, provider: FakeProvider, path: str) -> None:
    """Open a page of a shop whose staff sign in by a provider; the other situations' shop has none."""
    context = look.site.shop.context
    context.provider = provider.client()
    try:
        await page.goto(path)
    finally:
        context.provider = None


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
    async with page.expect_navigation():
        await page.get_by_role("button", name="Ask").click()


@view(None)
async def device(look: Look, page: Page) -> None:
    from returns_service.commands.devices import approve_device

    await device_waits(look, page)
    match = re.search(r"dev_\w{26}", await page.content())
    assert match is not None
    async with look.site.shop.db.transaction() as tx:
        await approve_device(tx, match[0], "cli")
    async with page.expect_navigation():
        await page.get_by_role("link", name="Look again").click()


# --- home, you, health, what goes wrong ------------------------------------------------------------------------------

at("/", "admin", "first_run", "new_shop")
at("/", "approver", "home_empty", "new_shop")
at("/", "admin", "home_of_admin")
at("/", "warehouse", "home_of_warehouse")
at("/you?did=password", "admin", "you")
at("/settings/health", "admin", "health")
at("/receive", "finance", "forbidden")


@view("admin")
async def home_with_more_places(look: Look, page: Page) -> None:
    await page.goto("/")
    await page.locator("details.places").evaluate("e => { e.open = true }")


# --- approvals -------------------------------------------------------------------------------------------------------

at("/approvals", "approver", "approvals_empty", "new_shop")
at("/approvals", "approver", "approvals")
at("/approvals?view=second", "approver", "approvals_second")
at("/approvals/chosen?return=x&do=approve", "approver", "approvals_nothing_chosen")


at("/approvals?view=aside", "approver", "approvals_aside")


@view("approver")
async def approvals_chosen(look: Look, page: Page) -> None:
    await page.goto("/approvals")
    await page.get_by_label("Choose NW-48171").check()
    await page.get_by_role("button", name="Decline them").click()
    await page.wait_for_url("**/approvals/chosen?**")


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


@view("approver")
async def form_kept(look: Look, page: Page) -> None:
    await approval_declined(look, page)
    await page.locator("dialog[open] textarea").fill(HOSTILE)
    await page.context.clear_cookies()
    await page.locator("dialog[open] button.primary").click()
    await page.get_by_text("nothing is lost").wait_for()


# --- returns ---------------------------------------------------------------------------------------------------------

at("/returns", "finance", "returns_empty", "new_shop")
at("/returns", "finance", "returns")
at("/returns?view=parcel-here&currency=eur&from=2026-11-01", "finance", "returns_narrowed")
at("/returns?q=nothing", "finance", "returns_nothing")


@view("finance")
async def returns_saved(look: Look, page: Page) -> None:
    await page.goto("/returns?view=parcel-here&currency=eur")
    if await page.get_by_text("Save this view").count():
        await page.get_by_text("Save this view").click()
        await page.get_by_label("Name", exact=True).fill("Euros that wait <b>")
        await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("button", name="Delete it").wait_for()


@view("finance")
async def returns_saving(look: Look, page: Page) -> None:
    await page.goto("/returns?view=failed")
    await page.get_by_text("Save this view").click()


def of_return(name: str, role: Role) -> None:
    """Declare the page of one return."""

    async def open_page(look: Look, page: Page) -> None:
        await page.goto(f"/returns/{getattr(look.day, name)['id']}")
        for summary in await page.locator("details.menu > summary").all():
            await summary.click()

    VIEWS[f"return_{name}_for_{role}"] = View(role, "busy_shop", open_page)


of_return("requested", "approver")
of_return("hostile", "admin")
of_return("outside", "warehouse")
of_return("parcel_here", "finance")
of_return("failed", "finance")
of_return("undeclared", "admin")


@view("finance")
async def return_settled_outside(look: Look, page: Page) -> None:
    await page.goto(f"/returns/{look.day.failed['id']}")
    await page.locator("details.menu > summary").click()
    await page.get_by_role("link", name="Settle outside").click()


@view("admin")
async def return_corrected(look: Look, page: Page) -> None:
    await page.goto(f"/returns/{look.day.parcel_here['id']}")
    await page.get_by_role("link", name="Correct").first.click()


# --- the refund desk -------------------------------------------------------------------------------------------------

at("/refunds", "finance", "desk_empty", "new_shop")
at("/refunds/solved", "finance", "desk_solved_nothing", "new_shop")
at("/refunds", "finance", "desk")
at("/refunds?case=refund_failed:gone", "finance", "desk_case_gone")
at("/refunds/payments", "finance", "payment_wanted", "new_shop")
at("/refunds/payments?payment=NW-48171", "finance", "payment_not_found")


@view("finance")
async def payment(look: Look, page: Page) -> None:
    await page.goto(f"/refunds/payments?payment={look.day.parcel_here['payment_intent']}")
    await page.get_by_role("link", name="Refund…").click()


def of_kind(kind: str, role: Role = "finance") -> None:
    """Declare the desk with the first case of a kind open."""

    async def open_page(_: Look, page: Page) -> None:
        await page.goto(f"/refunds?kind={kind}")
        await page.goto(await page.locator(".inbox a").first.get_attribute("href") or "")
        await page.locator(".case details summary").click()

    VIEWS[f"desk_{kind}_for_{role}"] = View(role, "busy_shop", open_page)


for kind in ("refund_failed", "refund_unknown", "external_refund", "refund_barred", "unmatched_receipt"):
    of_kind(kind)
of_kind("undeclared_item", "admin")


@view("finance")
async def desk_retry(look: Look, page: Page) -> None:
    await page.goto("/refunds?kind=refund_failed")
    # In a narrow window, or with large text, the list stands alone until a case is opened.
    await page.goto(await page.locator(".inbox a").first.get_attribute("href") or "")
    await page.get_by_role("link", name="Retry").click()


@view("finance")
async def amount_asked(look: Look, page: Page) -> None:
    await desk_retry(look, page)
    await page.get_by_label("If it is more than is due: why?").fill(HOSTILE)
    await page.locator("dialog[open] [name=said]").evaluate("e => { e.value = '' }")
    await page.locator("dialog[open] button.primary").click()
    await page.get_by_text("Nothing is done yet").wait_for()


@view("admin")
async def return_where_it_can_go(look: Look, page: Page) -> None:
    await page.goto(f"/returns/{look.day.failed['id']}")
    for name in ("Where this return can go", "Policy"):
        await page.locator("details.card > summary", has_text=name).click()


@view("warehouse")
async def parcel_numbered(look: Look, page: Page) -> None:
    await page.goto(f"/parcels/{look.day.unmatched['id']}?new=1")


@view("warehouse")
async def parcel_without_units(look: Look, page: Page) -> None:
    await page.goto("/receive")
    await page.get_by_text("A parcel of nobody").click()
    await page.get_by_label("What is inside").evaluate("e => { e.required = false }")
    await page.get_by_role("button", name="Give it a number").click()
    await page.get_by_text("one unit a line").first.wait_for()


@view("warehouse")
async def parcel_of_nobody(look: Look, page: Page) -> None:
    await page.goto(f"/parcels/{look.day.unmatched['id']}?q=nw-48")


# --- the dashboard ---------------------------------------------------------------------------------------------------

at("/dashboard", "approver", "dashboard_empty", "new_shop")
at("/dashboard?from=2026-11-11&to=2026-11-10", "finance", "dashboard_not_counted")


@view("finance")
async def dashboard(look: Look, page: Page) -> None:
    async with look.site.shop.db.transaction() as tx:
        await create_sweep(tx, name="charges", cursor=tx.now.isoformat(), next_at=tx.now)
        await create_sweep(tx, name="charges_past", cursor="2026-01-01T00:00:00+00:00", next_at=tx.now)
        await create_charge_total(tx, currency="eur", amount=40_000)
    await page.goto("/dashboard?days=7&currency=eur")
    for summary in await page.locator("figure summary").all():
        await summary.click()


# --- settings --------------------------------------------------------------------------------------------------------

at("/settings", "admin", "settings_new", "new_shop")


@view("admin")
async def settings(look: Look, page: Page) -> None:
    for role in ("finance", "approver"):
        await add_person(look.site.shop, role, f"{role}2@shop.test", HOSTILE[:60].replace("\u202e", ""))
    await page.goto("/settings")
    for summary in await page.locator("section details > summary").all():
        await summary.click()


@view("admin")
async def settings_portal(look: Look, page: Page) -> None:
    shop = look.site.shop
    changed = {"smtp": SecretStr("smtps://returns:pass@mail.shop.example"), "mail_from": "returns@shop.example",
               "shop_colour": "#ffd400"}  # fmt: skip
    shop.context.settings = shop.context.settings.model_copy(update=changed)
    async with shop.db.transaction() as tx:
        row = await create_return(tx, order_id=HOSTILE[:60])
        for outcome in ({"status": "dead", "reason": "smtp_550"}, {"failures": 2, "reason": "no_answer"}):
            await create_mail(tx, row, **outcome)
    await page.goto("/settings/portal")


@view("admin")
async def settings_key_made(look: Look, page: Page) -> None:
    await page.goto("/settings")
    await page.get_by_text("New key").click()
    await page.get_by_label("Name", exact=True).first.fill("shop-backend")
    await page.get_by_role("button", name="Make the key").click()
    await page.get_by_text("Copy this key now").wait_for()


@view("admin")
async def settings_person(look: Look, page: Page) -> None:
    await add_person(look.site.shop, "finance", "jide2@shop.test", "Jide")
    await page.goto("/settings")
    await page.get_by_role("link", name="Change").first.click()


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


@view("approver")
async def approvals_refund(look: Look, page: Page) -> None:
    payment = look.site.shop.pay(90_000, currency="eur")
    asked = {"payment_intent": payment, "amount": 60_000, "note": HOSTILE[:60]}
    expect(await look.site.shop.post("/v1/refunds", asked), 202)
    await page.goto("/approvals")
