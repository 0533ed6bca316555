"""Who gets in, and who doesn't: passwords, links, badges, sessions, forms of other sites."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlmodel import col, select

from returns_service.commands import staff_users
from returns_service.store.tables import StaffSession
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import PASSWORD, Desk, add_person, open_desk

SESSION = "returns_session"


async def session_rows(shop: ServedShop) -> list[StaffSession]:
    async with shop.db.reading() as tx:
        return list((await tx.exec(select(StaffSession).order_by(col(StaffSession.id)))).all())


async def link_of(shop: ServedShop, email: str, **more: Any) -> str:
    async with shop.db.transaction() as tx:
        user = await staff_users.existing_user(tx, email)
        return f"/sign-in/link/{await staff_users.make_link(tx, user, 'cli', **more)}"


@pytest.mark.parametrize(
    "role, lands", [("warehouse", "/receive"), ("approver", "/approvals"), ("finance", "/refunds"), ("admin", "/")]
)
async def test_each_role_lands_on_its_own_work(shop: ServedShop, desk: Desk, role: Any, lands: str) -> None:
    await add_person(shop, role)
    answer = await desk.sign_in(f"{role}@shop.test")
    assert (answer.status_code, answer.headers["location"]) == (303, lands)
    assert (await desk.get(lands)).status_code == 200
    assert (await desk.get("/sign-in")).headers["location"] == lands


async def test_the_session_cookie_is_for_no_script_and_no_other_site(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    cookie = (await desk.sign_in("finance@shop.test")).headers["set-cookie"]
    assert re.match(rf"{SESSION}=[\w-]{{43}};", cookie)
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert "secure" not in cookie.lower(), "over plain http the browser would not keep it"


async def test_behind_tls_cookies_are_secure_and_bound_to_the_host(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    desk.client.base_url = httpx.URL("https://shop.test")
    answer = await desk.sign_in("finance@shop.test")
    assert answer.headers["set-cookie"].startswith(f"__Host-{SESSION}=")
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert "domain" not in answer.headers["set-cookie"].lower()
    assert (await desk.get("/")).status_code == 200


async def test_a_token_that_the_visitor_brought_is_never_the_session(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    chosen = "a" * 43
    desk.client.cookies.set(SESSION, chosen, domain="shop.test")
    await desk.sign_in("finance@shop.test")
    first = desk.client.cookies[SESSION]
    assert first != chosen
    async with open_desk(shop) as attacker:
        attacker.client.cookies.set(SESSION, chosen)
        assert (await attacker.get("/")).status_code == 303


async def test_signing_in_again_makes_a_new_token_and_ends_the_old_session(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await add_person(shop, "admin")
    await desk.sign_in("finance@shop.test")
    first = desk.client.cookies[SESSION]
    await desk.get("/")
    await desk.client.get(await link_of(shop, "admin@shop.test"))
    await desk.get(path := await link_of(shop, "admin@shop.test"))
    assert (await desk.post(path)).status_code == 303
    assert desk.client.cookies[SESSION] != first
    async with open_desk(shop) as thief:
        thief.client.cookies.set(SESSION, first)
        assert (await thief.get("/")).status_code == 303
    assert [row.ended_at is not None for row in await session_rows(shop)] == [True, False]


async def test_a_stranger_is_sent_to_the_sign_in_and_back(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    answer = await desk.get("/you?did=x")
    assert answer.headers["location"] == "/sign-in?next=/you%3Fdid%3Dx"
    page = await desk.get(answer.headers["location"])
    assert 'name="next" value="/you?did=x"' in page.text
    signed_in = await desk.post("/sign-in", {"email": "finance@shop.test", "password": PASSWORD, "next": "/you?did=x"})
    assert signed_in.headers["location"] == "/you?did=x"


@pytest.mark.parametrize(
    "address", ["//evil.test", "https://evil.test/", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)",
                "/\tx", "evil.test", "/%0d%0aSet-Cookie:x\r\nx", "///evil.test", "/ä"],
)  # fmt: skip
async def test_nobody_is_led_to_another_site(shop: ServedShop, desk: Desk, address: str) -> None:
    await add_person(shop, "finance")
    answer = await desk.sign_in("finance@shop.test", next=address)
    assert answer.headers["location"] == "/refunds"


@pytest.mark.parametrize(
    "email, password",
    [("finance@shop.test", "wrong password"), ("nobody@shop.test", PASSWORD), ("off@shop.test", PASSWORD), ("", ""),
     ("link@shop.test", PASSWORD), ("x" * 5000, "y" * 5000), ("a\u202e@b", PASSWORD)],
)  # fmt: skip
async def test_a_wrong_sign_in_says_the_same_of_every_account(
    shop: ServedShop, desk: Desk, email: str, password: str
) -> None:
    await add_person(shop, "finance")
    await add_person(shop, "finance", "off@shop.test")
    async with shop.db.transaction() as tx:
        await staff_users.disable_user(tx, "off@shop.test")
        await staff_users.add_user(tx, "link@shop.test", "finance")
    answer = await desk.sign_in(email, password)
    assert answer.status_code == 422
    assert "E-mail and password don’t match. 4 tries left." in answer.text
    assert SESSION not in desk.client.cookies
    assert password not in answer.text or password == ""


async def test_an_account_that_is_guessed_at_has_to_wait(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    codes = [(await desk.sign_in("finance@shop.test", f"wrong password {n}")).status_code for n in range(6)]
    assert codes == [422] * 5 + [429]
    refused = await desk.sign_in("FINANCE@shop.test")
    assert refused.status_code == 429, "the right password isn't looked at either"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "Wait" in refused.text
    async with open_desk(shop, "192.0.2.9") as elsewhere:
        assert (await elsewhere.sign_in("finance@shop.test")).status_code == 429
        await elsewhere.get(path := await link_of(shop, "finance@shop.test"))
        assert (await elsewhere.post(path)).status_code == 303, "a link is the way out"
    shop.clock.advance(61)
    assert (await desk.sign_in("finance@shop.test")).status_code == 303


async def test_an_address_that_guesses_at_many_accounts_has_to_wait(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    codes = [(await desk.sign_in(f"guess{n}@shop.test")).status_code for n in range(21)]
    assert codes == [422] * 20 + [429]
    assert (await desk.sign_in("finance@shop.test")).status_code == 429
    async with open_desk(shop, "192.0.2.9") as colleague:
        assert (await colleague.sign_in("finance@shop.test")).status_code == 303


async def test_signing_in_rightly_is_never_slowed_down(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    for _ in range(25):
        assert (await desk.sign_in("finance@shop.test")).status_code == 303
        desk.client.cookies.delete(SESSION)


async def test_a_link_asks_first_works_once_and_is_worth_nothing_to_a_thief(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "approver", name="Ana <b>Novak</b>")
    path = await link_of(shop, "approver@shop.test")
    page = await desk.get(path)
    page = await desk.get(path)  # a mail program looks at it, too
    assert "Sign in as <bdi>Ana &lt;b&gt;Novak&lt;/b&gt;</bdi>?" in page.text
    assert (await desk.post(path)).status_code == 303
    assert (await desk.get("/")).status_code == 200
    async with open_desk(shop) as thief:
        stolen = await thief.get(path)
        assert stolen.status_code == 410
        assert "tell an admin" in stolen.text
        assert (await thief.post(path)).status_code == 410
        assert (await thief.get("/")).status_code == 303
        guessed = await thief.get("/sign-in/link/" + "a" * 43)
        assert (guessed.status_code, guessed.text.count("This link is over")) == (
            410,
            stolen.text.count("This link is over"),
        )


async def test_a_link_is_over_after_fifteen_minutes(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "approver")
    path = await link_of(shop, "approver@shop.test")
    await desk.get(path)
    shop.clock.advance(15 * 60 + 1)
    assert (await desk.post(path)).status_code == 410


async def test_the_demos_links_sign_in_at_once_and_more_than_once_in_the_demo_alone(shop: ServedShop) -> None:
    await add_person(shop, "warehouse")
    path = await link_of(shop, "warehouse@shop.test", reusable=True)
    async with open_desk(shop) as desk:
        assert (await desk.get(path)).status_code == 410
        assert (await desk.post(path)).status_code == 410
    shop.context.reusable_links = True
    for _ in range(2):
        async with open_desk(shop) as desk:
            assert (await desk.get(path)).headers["location"] == "/receive"
            assert (await desk.get("/receive")).status_code == 200


async def test_signing_out_ends_the_session_at_the_server(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    token = desk.client.cookies[SESSION]
    await desk.get("/")
    assert (await desk.post("/sign-out")).headers["location"] == "/sign-in"
    assert SESSION not in desk.client.cookies
    desk.client.cookies.set(SESSION, token)
    assert (await desk.get("/")).status_code == 303


async def test_a_session_that_nobody_used_is_over_and_the_sign_in_says_so(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    shop.clock.advance(3 * 3600 + 1)
    assert (await desk.get("/")).headers["location"] == "/sign-in"
    assert "You were signed out" in (await desk.get("/sign-in")).text


async def test_a_session_that_is_used_stays(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    for _ in range(5):
        shop.clock.advance(2 * 3600)
        assert (await desk.get("/")).status_code == 200
    shop.clock.advance(2 * 3600)
    assert (await desk.get("/")).status_code == 303, "a shift is over"


async def test_a_form_that_comes_too_late_says_that_nothing_was_done(shop: ServedShop, desk: Desk) -> None:
    """The list with its filters is where somebody begins again; what it told before isn't told anew."""
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    await desk.get("/refunds")
    shop.clock.advance(24 * 3600)
    came_from = "http://shop.test/refunds?kind=refund_failed&did=evt_01k9x7d3m8f2aw01k9x7d3m8f2"
    answer = await desk.post("/refunds/rfd_x/check", {}, Referer=came_from)
    where = urlsplit(answer.headers["location"])
    assert parse_qs(where.query) == {"undone": ["1"], "next": ["/refunds?kind=refund_failed"]}
    page = await desk.get(answer.headers["location"])
    assert "What you just sent was not done" in page.text
    again = await desk.post("/sign-in", {"email": "finance@shop.test", "password": PASSWORD,
                                         "next": "/refunds?kind=refund_failed"})  # fmt: skip
    assert again.headers["location"] == "/refunds?kind=refund_failed"
    await desk.get("/refunds")
    shop.clock.advance(24 * 3600)
    assert "undone" not in (await desk.post("/sign-out")).headers["location"], "that was what they wanted"


@pytest.mark.parametrize(
    "came_from, begins_at",
    [
        ("/settings/keys", "/settings"), ("/returns/ret_x/approve?did=evt_x", "/returns/ret_x"),
        ("/refunds/rfd_x/retry", "/refunds"), ("/receive/ret_x/counts", "/receive/ret_x"), ("/photos/of/x", "/"),
        ("/returns/ret_x?a=b", "/returns/ret_x?a=b"), ("//evil.test/returns", "/"),
    ],
)  # fmt: skip
async def test_a_form_begins_again_at_a_page_that_can_be_opened(
    shop: ServedShop, desk: Desk, came_from: str, begins_at: str
) -> None:
    await desk.get("/sign-in")
    answer = await desk.post("/you/password", {}, Referer=f"http://shop.test{came_from}")
    assert parse_qs(urlsplit(answer.headers["location"]).query).get("next", ["/"]) == [begins_at]


async def test_a_role_that_changes_counts_from_the_next_click_on(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    assert (await desk.get("/receive")).status_code == 403
    async with shop.db.transaction() as tx:
        await staff_users.change_user(tx, "finance@shop.test", role="warehouse")
    assert (await desk.get("/receive")).status_code == 200
    async with shop.db.transaction() as tx:
        await staff_users.disable_user(tx, "finance@shop.test")
    assert (await desk.get("/receive")).status_code == 303


# --- badges and PINs -------------------------------------------------------------------------------------------------


# --- your own account ------------------------------------------------------------------------------------------------


async def test_a_password_is_set_after_a_link_and_asks_for_the_old_one_later(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await staff_users.add_user(tx, "new@shop.test", "admin")
    await desk.get(path := await link_of(shop, "new@shop.test"))
    await desk.post(path)
    assert "Set a password" in (await desk.get("/")).text
    page = await desk.get("/you")
    assert "Old password" not in page.text
    assert (await desk.post("/you/password", {"password": "short"})).status_code == 422
    before = desk.client.cookies[SESSION]
    assert (await desk.post("/you/password", {"password": "a long new password"})).status_code == 303
    assert desk.client.cookies[SESSION] != before, "the token is rotated"
    assert "Old password" in (await desk.get("/you")).text
    assert (await desk.post("/you/password", {"old": "nope", "password": "another password"})).status_code == 422
    changed = {"old": "a long new password", "password": "another password"}
    assert (await desk.post("/you/password", changed)).status_code == 303
    async with open_desk(shop) as other:
        assert (await other.sign_in("new@shop.test", "a long new password")).status_code == 422
        assert (await other.sign_in("new@shop.test", "another password")).status_code == 303


async def test_sessions_are_listed_and_ended_one_by_one_or_all_others(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await add_person(shop, "approver")
    await desk.sign_in("finance@shop.test")
    async with open_desk(shop) as phone, open_desk(shop) as laptop, open_desk(shop) as stranger:
        await phone.sign_in("finance@shop.test")
        await laptop.sign_in("finance@shop.test")
        await stranger.sign_in("approver@shop.test")
        page = await desk.get("/you")
        assert page.text.count('/end"') == 3, "two others, and all of them at once"
        ids = [row.id for row in await session_rows(shop)]
        await stranger.get("/you")
        assert (await stranger.post(f"/you/sessions/{ids[1]}/end")).status_code == 404
        assert (await phone.get("/")).status_code == 200
        assert (await desk.post(f"/you/sessions/{ids[1]}/end")).status_code == 303
        assert [(await one.get("/")).status_code for one in (phone, laptop)] == [303, 200]
        assert (await desk.post("/you/sessions/end")).status_code == 303
        assert [(await one.get("/")).status_code for one in (desk, laptop, stranger)] == [200, 303, 200]
