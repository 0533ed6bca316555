"""What the company's own provider says of a person beside who they are, and how they sign out."""

from __future__ import annotations

import re

from returns_service.commands import staff_users
from tests.harness.oidc_provider import ISSUER, FakeProvider
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, add_person, open_desk
from tests.pages.provider_visit import MARA, assert_refused, come_in, person, sessions_in_force


async def test_groups_give_roles_at_each_sign_in_and_take_them_back(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    shop.context.provider = provider.client(roles=(("boss", "admin"), ("money", "finance")))
    await assert_refused(shop, desk, await come_in(desk, provider), 403, "You have no account here yet")
    provider.claims |= {"groups": ["money", "boss"], "name": "Mara\u202e K"}
    assert (await come_in(desk, provider)).headers["location"] == "/"
    user = await person(shop)
    assert (user.role, user.role_group, user.name, user.password_hash) == ("admin", "boss", "Mara K", None)
    provider.claims["groups"] = ["money"]
    async with open_desk(shop) as other:
        assert (await come_in(other, provider)).headers["location"] == "/refunds"
    assert (await desk.get("/settings")).status_code == 403, "the role counts from the next page on"
    provider.claims["groups"] = ["visitors"]
    async with open_desk(shop) as third:
        answer = await come_in(third, provider)
        assert "None of your groups works here" in answer.text
        assert "You are signed out everywhere" in answer.text
    assert await sessions_in_force(shop) == []


async def test_a_role_that_a_person_gave_stays_where_no_group_speaks(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    shop.context.provider = provider.client(roles=(("money", "finance"),))
    await add_person(shop, "admin", MARA)
    assert (await come_in(desk, provider)).headers["location"] == "/"
    provider.claims["groups"] = "money"
    async with open_desk(shop) as other:
        assert (await come_in(other, provider)).headers["location"] == "/refunds"
    async with shop.db.transaction() as tx:
        await staff_users.change_user(tx, MARA, role="approver")
    assert ((await person(shop)).role, (await person(shop)).role_group) == ("approver", None)


async def test_roles_may_lie_deep_in_the_token(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    shop.context.provider = provider.client(roles=(("dock", "warehouse"),), roles_claim="realm_access.roles")
    provider.claims["realm_access"] = {"roles": ["dock", 5, None]}
    assert (await come_in(desk, provider)).headers["location"] == "/receive"


async def test_signing_out_ends_our_session_and_offers_to_end_theirs(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    provider.metadata["end_session_endpoint"] = f"{ISSUER}/logout"
    await come_in(desk, provider)
    await desk.get("/you")
    left = await desk.post("/sign-out")
    assert left.headers["location"] == "/sign-in/provider/ended"
    assert await sessions_in_force(shop) == []
    there = re.search(rf'href="{ISSUER}/logout\?client_id=returns&amp;id_token_hint=([^"]+)"',
                      (await desk.get(left.headers["location"])).text)  # fmt: skip
    assert there is not None
    assert there[1].count(".") == 2, "the signed token, by which the provider knows whose session to end"
    again = await desk.get(left.headers["location"])
    assert f'href="{ISSUER}/logout?client_id=returns"' in again.text, "it is not kept any longer"


async def test_the_providers_token_is_of_its_own_page_alone_and_goes_with_the_next_person(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    provider.metadata["end_session_endpoint"] = f"{ISSUER}/logout"
    answer = await come_in(desk, provider)
    (kept,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("returns_hint=ey")]
    assert "Path=/sign-in/provider/ended" in kept
    assert "HttpOnly" in kept
    desk.client.cookies.delete("returns_session")
    await desk.sign_in(MARA)
    assert f'href="{ISSUER}/logout?client_id=returns"' in (await desk.get("/sign-in/provider/ended")).text


async def test_a_token_too_long_for_a_cookie_is_left_out(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    await add_person(shop, "admin", MARA)
    provider.metadata["end_session_endpoint"] = f"{ISSUER}/logout"
    provider.claims["groups"] = ["g" * 100] * 60
    answer = await come_in(desk, provider)
    assert answer.status_code == 303
    assert f'href="{ISSUER}/logout?client_id=returns"' in (await desk.get("/sign-in/provider/ended")).text


async def test_signing_out_of_a_password_leads_to_the_sign_in(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    await desk.sign_in(MARA)
    await desk.get("/you")
    assert (await desk.post("/sign-out")).headers["location"] == "/sign-in"
    assert "may still know" in (await desk.get("/sign-in/provider/ended")).text


async def test_passwords_can_be_turned_off(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    await add_person(shop, "admin", MARA)
    shop.context.settings = shop.context.settings.model_copy(update={"password_sign_in": False})
    page = await desk.get("/sign-in")
    assert 'name="password"' not in page.text
    assert "Passwords are turned off here" in page.text
    assert (await desk.sign_in(MARA)).status_code == 403
    assert await sessions_in_force(shop) == []
    await come_in(desk, provider)
    assert "Passwords are turned off here" in (await desk.get("/you")).text
    before = (await person(shop)).password_hash
    assert (await desk.post("/you/password", {"password": "a new password!"})).status_code == 403
    assert (await person(shop)).password_hash == before
