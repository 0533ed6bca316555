"""Settings by forms: secrets are shown once, each act is done once, and nobody locks themselves out."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import httpx
import pytest
from sqlmodel import col, select

from returns_service.commands import devices
from returns_service.commands.api_keys import create_key
from returns_service.store.tables import ApiKey, StaffUser, WebhookEndpoint
from returns_service.web.pages.scanner_test import TEST_CODE
from returns_service.web.pages.settings import DID
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, open_desk, sign_in_as
from tests.pages.forms import follow, forms_in, send

SECRET = re.compile(r'class="secret" id="secret">([^<]+)<')


@pytest.fixture
async def admin(shop: ServedShop, desk: Desk) -> Desk:
    """A browser without scripts, an admin signed in."""
    return await sign_in_as(shop, desk, "admin", "Noor Haddad")


def secret_in(page: httpx.Response) -> str:
    match = SECRET.search(page.text)
    assert match is not None, page.text[:3000]
    return match[1]


async def test_a_key_is_shown_once_works_and_is_revoked(shop: ServedShop, admin: Desk) -> None:
    page = await admin.get("/settings")
    fields = {**forms_in(page)["/settings/keys"], "name": "shop-backend", "scope": ["returns:read"]}
    made = await admin.post("/settings/keys", fields)
    secret = secret_in(made)
    assert (await shop.get("/v1/returns", headers={"Authorization": f"Bearer {secret}"})).status_code == 200
    again = await admin.post("/settings/keys", fields)
    assert "made and shown before" in again.text
    assert secret not in again.text
    async with shop.db.reading() as tx:
        (key,) = (await tx.exec(select(ApiKey).where(col(ApiKey.name) == "shop-backend"))).all()
    assert (key.scopes, key.owner) == (["returns:read"], "admin@shop.test")
    page = await admin.get("/settings")
    assert secret not in page.text
    told = await follow(admin, await send(admin, page, f"/settings/keys/{key.id}/revoke"))
    assert "The key is revoked" in told.text
    assert (await shop.get("/v1/returns", headers={"Authorization": f"Bearer {secret}"})).status_code == 401


@pytest.mark.parametrize("changed, says", [({"name": ""}, "Name who uses it"), ({"scope": []}, "Choose at least one")])
async def test_a_key_without_name_or_scope_is_none(
    shop: ServedShop, admin: Desk, changed: dict[str, object], says: str
) -> None:
    fields = {**forms_in(await admin.get("/settings"))["/settings/keys"], "name": "x", "scope": ["admin"]}
    refused = await admin.post("/settings/keys", {**fields, **changed})
    assert refused.status_code == 422
    assert says in refused.text
    assert (await admin.post("/settings/keys", fields)).status_code == 200, "its token was not used up"


async def test_what_was_typed_and_chosen_stays_and_the_page_opens_at_what_is_wrong(
    shop: ServedShop, admin: Desk
) -> None:
    page = await admin.get("/settings")
    refused = await send(admin, page, "/settings/keys", name="", scope=["refunds:write", "admin"])
    assert re.search(
        r'<input id="k-name"[^>]* aria-invalid="true" autofocus aria-describedby="k-h new-key-name-e"', refused.text
    )
    assert re.findall(r'name="scope" value="([a-z:]+)" checked', refused.text) == ["refunds:write", "admin"]
    none = await send(admin, page, "/settings/keys", name="shop", scope=[])
    assert re.search(r'value="returns:read" aria-invalid="true" autofocus', none.text)
    assert forms_in(none)["/settings/keys"]["name"] == "shop"
    taken = await send(admin, page, "/settings/people", email="admin@shop.test", name="Noor", role="finance")
    assert re.search(r'<input id="p-email"[^>]* aria-invalid="true" autofocus', taken.text)
    assert {name: forms_in(taken)["/settings/people"][name] for name in ("email", "name", "role")} == {
        "email": "admin@shop.test", "name": "Noor", "role": "finance",
    }  # fmt: skip
    private = await send(admin, page, "/settings/webhooks", url="http://inside.test/hook")
    assert re.search(r'<input id="w-url"[^>]* autofocus aria-describedby="w-h new-endpoint-url-e"', private.text)


async def test_what_happened_is_told_where_the_browser_scrolls(admin: Desk) -> None:
    for did, (section, words, kind) in DID.items():
        page = (await admin.get(f"/settings?did={did}")).text
        part = page.partition(f'id="{section}"')[2].partition("</section>")[0]
        assert f'data-kind="{kind}"' in part.partition(words)[0], did
        assert page.count('class="flash"') == 1, did


async def test_an_invitation_signs_in_once_and_a_role_changes_at_once(shop: ServedShop, admin: Desk) -> None:
    page = await admin.get("/settings")
    sent = {"email": "Jide@Shop.test", "name": "Jide <b>", "role": "finance"}
    made = await send(admin, page, "/settings/people", **sent)
    link = secret_in(made)
    assert link.startswith("http://shop.test/sign-in/link/")
    assert "<b>" not in made.text.replace("<b>Test mode.</b>", "")
    taken = await send(admin, await admin.get("/settings"), "/settings/people", **sent)
    assert taken.status_code == 422
    assert "There is a user jide@shop.test already." in taken.text
    async with shop.db.reading() as tx:
        user = (await tx.exec(select(StaffUser).where(col(StaffUser.email) == "jide@shop.test"))).one()
    async with open_desk(shop, "192.0.2.2") as jide:
        await jide.get(link.removeprefix("http://shop.test"))
        answer = await jide.post(link.removeprefix("http://shop.test"), {})
        assert answer.status_code == 303
        assert (await jide.get("/refunds")).status_code == 200
        change = f"/settings/people/{user.id}/change"
        page = await admin.get("/settings")
        assert (
            "role is changed"
            in (await follow(admin, await send(admin, page, change, do="role", role="warehouse"))).text
        )
        assert (await jide.get("/refunds")).status_code == 403
        page = await admin.get("/settings")
        over = (await follow(admin, await send(admin, page, change, do="disable"))).text
        assert "signed out everywhere" in over
        assert "API keys of theirs stay in force" not in over
        await shop.db.run(lambda tx: create_key(tx, "exports", ["returns:read"], owner="jide@shop.test"))
        told = await follow(admin, await send(admin, page, change, do="disable"))
        assert "API keys of theirs stay in force" in told.text
        assert (await jide.get("/returns")).status_code == 303
        refused = await send(admin, page, f"/settings/people/{user.id}/link")
        assert refused.status_code == 422
        page = await admin.get("/settings")
        assert "can sign in again" in (await follow(admin, await send(admin, page, change, do="enable"))).text
        assert secret_in(await send(admin, await admin.get("/settings"), f"/settings/people/{user.id}/link"))


async def test_nobody_changes_their_own_role(shop: ServedShop, admin: Desk) -> None:
    async with shop.db.reading() as tx:
        user = (await tx.exec(select(StaffUser))).one()
    page = await admin.get("/settings")
    assert f"/settings/people/{user.id}/change" not in forms_in(page)
    refused = await admin.post(f"/settings/people/{user.id}/change", {"once": "12345678", "do": "disable"})
    assert refused.status_code == 422
    assert (await admin.get("/settings")).status_code == 200


async def test_a_device_is_approved_and_put_out_of_use(shop: ServedShop, admin: Desk) -> None:
    async with shop.db.transaction() as tx:
        device, _ = await devices.ask_for_device(tx, "Dock 2")
    address = f"/settings/devices/{device.id}"
    page = await admin.get("/settings")
    told = await follow(admin, await send(admin, page, address, do="approve"))
    assert "The device is approved" in told.text
    told = await follow(admin, await send(admin, told, address, do="revoke"))
    assert "Dock 2" not in told.text


async def test_an_endpoint_is_told_pinged_redelivered_and_turned_off(shop: ServedShop, admin: Desk) -> None:
    page = await admin.get("/settings")
    refused = await send(admin, page, "/settings/webhooks", url="http://inside.test/hook")
    assert refused.status_code == 422
    where = {"url": "https://shop.example.com/hooks", "description": "Shop"}
    made = await send(admin, page, "/settings/webhooks", **where)
    assert secret_in(made).startswith("whsec_")
    twice = await send(admin, page, "/settings/webhooks", **where)
    assert (twice.status_code, "This endpoint was made before" in twice.text) == (200, True)
    async with shop.db.reading() as tx:
        endpoint = (await tx.exec(select(WebhookEndpoint))).one()
    address = f"/settings/webhooks/{endpoint.id}"
    page = await admin.get("/settings")
    assert endpoint.secret not in page.text
    told = await follow(admin, await send(admin, page, address, do="ping"))
    assert "A ping is on its way" in told.text
    (delivery,) = expect(await shop.get("/v1/deliveries"), 200)["data"]
    again = await follow(admin, await send(admin, told, f"/settings/deliveries/{delivery['id']}/redeliver"))
    assert "It is sent again now" in again.text
    for wanted, status in (("disable", "disabled"), ("enable", "enabled")):
        page = await admin.get("/settings")
        assert (await send(admin, page, address, do=wanted)).status_code == 303
        assert expect(await shop.get(f"/v1/webhook_endpoints/{endpoint.id}"), 200)["status"] == status


async def test_an_endpoint_gets_a_new_secret_and_is_deleted(shop: ServedShop, admin: Desk) -> None:
    page = await admin.get("/settings")
    old = secret_in(await send(admin, page, "/settings/webhooks", url="https://shop.example.com/hooks"))
    async with shop.db.reading() as tx:
        endpoint = (await tx.exec(select(WebhookEndpoint))).one()
    address, page = f"/settings/webhooks/{endpoint.id}", await admin.get("/settings")
    made = await send(admin, page, address, do="rotate")
    assert secret_in(made) != old
    assert "every event" in made.text
    told = await follow(admin, await send(admin, await admin.get("/settings"), address, do="delete"))
    assert "The endpoint is deleted" in told.text
    expect(await shop.get(f"/v1/webhook_endpoints/{endpoint.id}"), 404, "not_found")


async def test_an_admin_ends_sessions_of_others(shop: ServedShop, admin: Desk) -> None:
    jide = await add_person(shop, "finance", name="Jide Okafor")
    async with open_desk(shop, "192.0.2.2") as first, open_desk(shop, "192.0.2.3") as second:
        for desk in (first, second):
            await desk.sign_in("finance@shop.test")
        page = await admin.get("/settings")
        assert "3 sessions in force" in page.text
        ends = [address for address in forms_in(page) if address.endswith("/end")]
        assert len(ends) == 2, "not the admin's own"
        told = await follow(admin, await send(admin, page, ends[0]))
        assert "That session is over" in told.text
        assert sorted([(await desk.get("/returns")).status_code for desk in (first, second)]) == [200, 303]
        told = await follow(admin, await send(admin, told, f"/settings/people/{jide.id}/change", do="sign_out"))
        assert "signed out everywhere" in told.text
        assert [(await desk.get("/returns")).status_code for desk in (first, second)] == [303, 303]
    assert (await admin.get("/settings")).status_code == 200


@pytest.mark.parametrize(
    "typed, says",
    [
        (TEST_CODE, "Right: ten digits"), (f"\x1d{TEST_CODE} ", "Right: ten digits"),
        ("&é\"'(-è_çà", "another keyboard"), (TEST_CODE[:7], "send slower"), (f"{TEST_CODE[1:]}9", "fit each other"),
        (f"]C1{TEST_CODE}", "before or behind"), ("<b>", "It is not this code"),
    ],
)  # fmt: skip
async def test_a_scanner_is_judged_by_what_it_sends(shop: ServedShop, admin: Desk, typed: str, says: str) -> None:
    page = await admin.get(f"/settings?{urlencode({'scan': typed})}")
    assert says in page.text
    assert "<b></bdi>" not in page.text


async def test_the_policy_in_force_is_told_in_words(shop: ServedShop, admin: Desk) -> None:
    shop.context.policy = shop.policy = type(shop.policy)(window_days=14, second_person_above={"jpy": 50_000})
    page = await admin.get("/settings")
    assert "14 days from purchase" in page.text
    assert "50,000 JPY" in page.text
