"""Sign-in by an OpenID Connect provider: who gets in, who doesn't, and every attack on the way."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from markupsafe import escape

from returns_service.commands import staff_users
from returns_service.commands.provider_sign_in import bind_subject
from tests.harness.oidc_provider import ISSUER, FakeProvider
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, Site, add_person, open_desk
from tests.pages.provider_visit import ATTEMPT, MARA, SESSION, assert_refused, come_in, go, person, sessions_in_force


async def test_a_person_who_was_added_comes_in_by_their_verified_address(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "finance", MARA)
    page = await desk.get("/sign-in?next=/returns")
    assert 'href="/sign-in/provider?next=/returns"' in page.text
    assert "Sign in with Nordwind" in page.text
    answer = await come_in(desk, provider, "/returns?view=failed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/returns?view=failed")
    assert ATTEMPT not in desk.client.cookies
    assert (await desk.get("/returns")).status_code == 200
    (session,) = await sessions_in_force(shop)
    user = await person(shop)
    assert (session.way, session.address, session.user_id) == ("provider", "192.0.2.1", user.id)
    assert (user.oidc_issuer, user.oidc_subject, user.role, user.role_group) == (ISSUER, "u-1", "finance", None)


async def test_once_seen_the_subject_counts_whatever_the_address_is_now(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "finance", MARA)
    await come_in(desk, provider)
    provider.claims |= {"email": "mara.k@shop.test", "email_verified": False}
    async with open_desk(shop) as other:
        assert (await come_in(other, provider)).headers["location"] == "/refunds"
    provider.claims |= {"sub": "u-2", "email": MARA, "email_verified": True}
    async with open_desk(shop) as stranger:
        answer = await come_in(stranger, provider)
        assert (answer.status_code, "belongs to another account" in answer.text) == (403, True)
        assert SESSION not in stranger.client.cookies


async def test_who_is_named_by_hand_needs_no_verified_address(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "finance", MARA)
    provider.claims["email_verified"] = False
    await assert_refused(shop, desk, await come_in(desk, provider), 403, "not verified")
    async with shop.db.transaction() as tx:
        await bind_subject(tx, MARA, ISSUER, "u-1")
    assert (await come_in(desk, provider)).headers["location"] == "/refunds"


@pytest.mark.parametrize(
    "claims, words",
    [
        ({"email": "nobody@shop.test"}, "You have no account here yet"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": ...}, "not verified"),
        ({"email_verified": "yes"}, "not verified"),
        ({"email": ...}, "doesn’t say your e-mail"),
        ({"email": ["mara@shop.test"]}, "doesn’t say your e-mail"),
        ({"email": "off@shop.test"}, "disabled"),
        ({"email": "a\x00@b"}, "You have no account here yet"),
    ],
)
async def test_who_is_not_let_in_and_what_the_page_says(
    shop: ServedShop, desk: Desk, provider: FakeProvider, claims: dict[str, Any], words: str
) -> None:
    await add_person(shop, "finance", MARA)
    await add_person(shop, "finance", "off@shop.test")
    async with shop.db.transaction() as tx:
        await staff_users.disable_user(tx, "off@shop.test")
    provider.claims |= claims
    await assert_refused(shop, desk, await come_in(desk, provider), 403, words)


Attack = Callable[[FakeProvider], Any]
ATTACKS: dict[str, Attack] = {
    "wrong nonce": lambda p: p.claims.update(nonce="another"),
    "no nonce": lambda p: p.claims.update(nonce=...),
    "wrong audience": lambda p: p.claims.update(aud="another service"),
    "no audience": lambda p: p.claims.update(aud=...),
    "given to another party": lambda p: p.claims.update(aud=["returns", "another"], azp="another"),
    "for several, given to nobody": lambda p: p.claims.update(aud=["returns", "another"]),
    "another issuer": lambda p: p.claims.update(iss="https://evil.test"),
    "issuer with a slash": lambda p: p.claims.update(iss=f"{ISSUER}/"),
    "expired": lambda p: p.claims.update(exp=int(time.time()) - 120),
    "never expires": lambda p: p.claims.update(exp=...),
    "from the future": lambda p: p.claims.update(iat=int(time.time()) + 600),
    "no subject": lambda p: p.claims.update(sub=...),
    "subject that no text may hold": lambda p: p.claims.update(sub="a\x00b"),
    "alg none": lambda p: setattr(p, "algorithm", "none"),
    "HS256 with the public key": lambda p: setattr(p, "algorithm", "HS256"),
    "unknown kid": lambda p: setattr(p, "signing", "k2"),
    "userinfo of another person": lambda p: p.__dict__.update(
        claims={"sub": "u-1"}, userinfo={"sub": "u-2", "email": MARA, "email_verified": True}
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_that_is_not_ours_lets_nobody_in(
    shop: ServedShop, desk: Desk, provider: FakeProvider, attack: str
) -> None:
    await add_person(shop, "admin", MARA)
    provider.metadata["userinfo_endpoint"] = f"{ISSUER}/userinfo"
    way_back = await go(desk, provider)
    ATTACKS[attack](provider)
    await assert_refused(shop, desk, await desk.get(way_back), 403, "can’t be trusted")
    assert (await person(shop)).oidc_subject is None


async def test_keys_that_were_changed_are_read_once_more(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    await add_person(shop, "admin", MARA)
    await come_in(desk, provider)
    provider.signing, provider.published = "k2", ["k1", "k2"]
    async with open_desk(shop) as other:
        assert (await come_in(other, provider)).status_code == 303
    async with open_desk(shop) as third:
        assert (await come_in(third, provider)).status_code == 303
    assert provider.calls.count("/keys") == 2
    assert provider.calls.count("/.well-known/openid-configuration") == 1


@pytest.mark.parametrize("algorithm, key", [("PS256", "k1"), ("ES256", "curve1")])
async def test_the_token_may_be_signed_in_other_ways(
    shop: ServedShop, desk: Desk, provider: FakeProvider, algorithm: str, key: str
) -> None:
    await add_person(shop, "admin", MARA)
    provider.algorithm, provider.signing, provider.published = algorithm, key, ["k1", "curve1"]
    assert (await come_in(desk, provider)).status_code == 303


@pytest.mark.parametrize(
    "how", ["wrong state", "no state", "no cookie", "another browser", "too late", "cookie changed"]
)
async def test_an_answer_to_nothing_that_this_browser_began(
    shop: ServedShop, desk: Desk, provider: FakeProvider, how: str
) -> None:
    await add_person(shop, "admin", MARA)
    way_back = await go(desk, provider)
    if how == "wrong state":
        way_back = re.sub(r"state=\w+", "state=" + "0" * 64, way_back)
    elif how == "no state":
        way_back = way_back.partition("&state")[0]
    elif how == "no cookie":
        desk.client.cookies.clear()
    elif how == "another browser":
        async with open_desk(shop) as victim:
            await go(victim, provider)
            await assert_refused(shop, victim, await victim.get(way_back), 400, "begun elsewhere")
        return
    elif how == "too late":
        shop.clock.advance(601)
    else:
        secret, begun_at, _ = desk.client.cookies[ATTEMPT].split(".")
        desk.client.cookies.set(ATTEMPT, f"{secret}.{int(begun_at) + 600}.L3lvdQ", domain="shop.test")
    await assert_refused(shop, desk, await desk.get(way_back), 400, "begun elsewhere")
    assert "/token" not in provider.calls, "the code was never taken to the provider"


async def test_a_callback_that_is_played_again_does_nothing(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    way_back = await go(desk, provider)
    cookie = desk.client.cookies[ATTEMPT]
    await desk.get(way_back)
    (first,) = await sessions_in_force(shop)
    assert (await desk.get(way_back)).headers["location"] == "/", "the back button of whoever is in leads on"
    async with open_desk(shop) as thief:
        assert (await thief.get(way_back)).status_code == 400
        thief.client.cookies.set(ATTEMPT, cookie)
        answer = await thief.get(way_back)
        assert (answer.status_code, "used already" in answer.text) == (400, True)
        assert SESSION not in thief.client.cookies
    assert [row.id for row in await sessions_in_force(shop)] == [first.id]


async def test_a_second_tab_does_not_end_the_first_ones_way(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    first = await go(desk, provider)
    second = await go(desk, provider, "/you")
    await assert_refused(shop, desk, await desk.get(first), 400, "begun elsewhere")
    assert (await desk.get(second)).headers["location"] == "/you"


async def test_a_session_that_was_planted_is_never_the_persons(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    await add_person(shop, "finance")
    chosen = "a" * 43
    desk.client.cookies.set(SESSION, chosen, domain="shop.test")
    await come_in(desk, provider)
    assert desk.client.cookies[SESSION] != chosen
    async with open_desk(shop) as attacker:
        attacker.client.cookies.set(SESSION, chosen)
        assert (await attacker.get("/")).status_code == 303


@pytest.mark.parametrize("address", ["//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", "/ä"])
async def test_nobody_is_led_to_another_site(
    shop: ServedShop, desk: Desk, provider: FakeProvider, address: str
) -> None:
    await add_person(shop, "finance", MARA)
    assert (await come_in(desk, provider, address)).headers["location"] == "/refunds"


@pytest.mark.parametrize(
    "supported, named, lets_in",
    [(False, None, True), (False, ISSUER, True), (True, ISSUER, True), (True, None, False),
     (False, "https://evil.test", False), (True, f"{ISSUER}/", False)],
)  # fmt: skip
async def test_an_answer_of_another_issuer_is_not_taken_for_ours(
    shop: ServedShop, desk: Desk, provider: FakeProvider, supported: bool, named: str | None, lets_in: bool
) -> None:
    """RFC 9207: the callback names its issuer, where the provider says that it does."""
    await add_person(shop, "admin", MARA)
    provider.metadata["authorization_response_iss_parameter_supported"] = supported
    answer = await desk.get(await go(desk, provider) + (f"&iss={quote(named, safe='')}" if named else ""))
    assert answer.status_code == (303 if lets_in else 403)
    assert ("/token" in provider.calls) == lets_in


@pytest.mark.parametrize(
    "broken, status, words",
    [
        (httpx.ConnectError("refused"), 503, "doesn’t answer"),
        (httpx.ReadTimeout("slow"), 503, "doesn’t answer"),
        (httpx.Response(502, text="<html>"), 503, "doesn’t answer"),
        (httpx.Response(200, content=b"x" * 600_000), 503, "doesn’t answer"),
        (httpx.Response(404), 503, "not set up right"),
        (httpx.Response(200, json={"issuer": "https://evil.test"}), 503, "not set up right"),
        (httpx.Response(200, json=["nothing"]), 503, "not set up right"),
    ],
)
async def test_a_provider_that_is_away_or_another_one(
    shop: ServedShop, desk: Desk, provider: FakeProvider, broken: Any, status: int, words: str
) -> None:
    await add_person(shop, "admin", MARA)
    provider.broken = broken
    answer = await desk.get("/sign-in/provider?next=/you")
    await assert_refused(shop, desk, answer, status, words)
    assert answer.headers["retry-after"] == "10"
    assert 'href="/sign-in?next=/you"' in answer.text, "the password is the way round"
    await desk.get("/sign-in/provider")
    assert len(provider.calls) == 1, "no crowd asks a provider that is away"


async def test_a_provider_that_goes_away_on_the_way_back(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    await add_person(shop, "admin", MARA)
    for _ in range(22):
        way_back = await go(desk, provider)
        provider.broken = httpx.ReadTimeout("slow")
        await assert_refused(shop, desk, await desk.get(way_back), 503, "doesn’t answer")
        provider.broken = None
    assert (await come_in(desk, provider)).status_code == 303, "nobody waits for the provider's faults"


@pytest.mark.parametrize("plain", ["http://login.shop.test/token", "ftp://x", "", 5])
async def test_no_secret_goes_over_the_network_in_the_clear(
    shop: ServedShop, desk: Desk, provider: FakeProvider, plain: Any
) -> None:
    provider.metadata["token_endpoint"] = plain
    await assert_refused(shop, desk, await desk.get("/sign-in/provider"), 503, "not set up right")


async def test_the_providers_own_error_is_shown_and_none_of_its_words(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    for error, shown in (("access_denied", "access_denied"), ("<b>x</b>", "no code"), ("", "no code")):
        state = parse_qs(urlsplit(await go(desk, provider)).query)["state"][0]
        answer = await desk.get(f"/sign-in/provider/callback?state={state}&error={quote(error)}&error_description=evil")
        await assert_refused(shop, desk, answer, 403, "was not finished")
        assert shown in answer.text
        assert "evil" not in answer.text


async def test_whoever_guesses_codes_has_to_wait(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    codes = []
    for _ in range(21):
        way_back = re.sub(r"code=[\w-]+", "code=guess", await go(desk, provider))
        codes.append((await desk.get(way_back)).status_code)
    assert codes == [400] * 20 + [429]
    assert provider.calls.count("/token") == 20


async def test_a_wrong_secret_is_the_operators_to_mend(shop: ServedShop, desk: Desk, provider: FakeProvider) -> None:
    shop.context.provider = provider.client()
    shop.context.provider._client_secret = "another"
    await assert_refused(shop, desk, await come_in(desk, provider), 503, "not set up right")


async def test_the_secret_goes_in_the_form_where_the_provider_wants_it_there(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert (await come_in(desk, provider)).status_code == 303


async def test_claims_that_the_token_leaves_out_are_asked_for(
    shop: ServedShop, desk: Desk, provider: FakeProvider
) -> None:
    await add_person(shop, "admin", MARA)
    provider.claims = {"sub": "u-1"}
    provider.userinfo = {"sub": "u-1", "email": MARA, "email_verified": "true", "groups": ["all"]}
    assert (await come_in(desk, provider)).status_code == 303


# --- groups ----------------------------------------------------------------------------------------------------------


# --- beside it -------------------------------------------------------------------------------------------------------


async def test_a_browser_goes_there_and_comes_back(site: Site) -> None:
    """The cookies come along from another site, and the pages' strict policy lets the browser leave and return."""
    await add_person(site.shop, "finance", MARA)
    provider = FakeProvider()
    site.shop.context.provider = provider.client()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        way_back = site.url + provider.sign_in(place + path) if path.startswith("/authorize") else "/"
        page = f'<a href="{escape(way_back)}">I am Mara</a>'.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + page)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        place = f"http://localhost:{server.sockets[0].getsockname()[1]}"  # to a browser another site than 127.0.0.1
        provider.metadata["authorization_endpoint"] = f"{place}/authorize"
        context = await site.context()
        page = await context.new_page()
        await page.goto("/refunds?kind=refund_failed")
        await page.get_by_role("link", name="Sign in with Nordwind").click()
        await page.get_by_role("link", name="I am Mara").click()
        await page.wait_for_url("**/refunds?kind=refund_failed")
        assert {one["name"]: one["sameSite"] for one in await context.cookies(site.url)}[SESSION] == "Lax"


async def test_without_a_provider_there_is_no_way_to_one(shop: ServedShop, desk: Desk) -> None:
    assert "/sign-in/provider" not in (await desk.get("/sign-in")).text
    for path in ("/sign-in/provider", "/sign-in/provider/callback?code=a&state=b", "/sign-in/provider/ended"):
        assert (await desk.get(path)).status_code == 404, path
