"""Links of the portal: wrong, expired, of an older key, in the reader's language, or none at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlmodel import select

from returns_service.domain.signed_link import sign_link
from returns_service.store.tables import PortalSession
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk
from tests.pages.portal import LINES, offer, path_of, returns_of, tick


@pytest.mark.parametrize("how", ["cut", "other key", "other id", "no such session", "later", "nonsense", "odd"])
async def test_a_wrong_link_says_what_is_safe_and_shows_nothing(shop: ServedShop, desk: Desk, how: str) -> None:
    session = await offer(shop)
    other = await offer(shop, "NW-2")
    token = path_of(session).rpartition("/")[2]
    name, at, signature = token.split(".")
    wrong = {
        "cut": token[:-1], "other key": sign_link(b"k" * 32, session["id"], shop.time + timedelta(days=1)),
        "other id": f"{other['id']}.{at}.{signature}", "later": f"{name}.{int(at) + 1}.{signature}",
        "no such session": sign_link(shop.context.link_keys[0], "pts_" + "0" * 26, shop.time + timedelta(days=1)),
        "nonsense": "x", "odd": "%00",
    }[how]  # fmt: skip
    page = await desk.get(f"/portal/{wrong}")
    assert page.status_code == 404
    assert "This link is not complete" in page.text
    assert "no money moved" in page.text
    assert "NW-48213" not in page.text


async def test_an_expired_link_says_until_when_it_worked(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    page = await desk.get(path)
    shop.advance(61 * 86_400)
    answer = await tick(desk, path, "send", page=page, pick=["1"], r1="damaged")
    for refused in (answer, await desk.get(path)):
        assert refused.status_code == 410
        assert "This link is over" in refused.text
        assert 'until <time datetime="' in refused.text
    assert await returns_of(shop) == []


async def test_a_link_of_a_key_that_is_rotated_out_still_works(shop: ServedShop, desk: Desk) -> None:
    old, new = SecretStr("o" * 32), SecretStr("n" * 32)
    before = shop.context.settings
    shop.context.settings = before.model_copy(update={"portal_key": (old,)})
    path = path_of(await offer(shop))
    shop.context.settings = before.model_copy(update={"portal_key": (new, old)})
    assert (await desk.get(path)).status_code == 200
    shop.context.settings = before.model_copy(update={"portal_key": (new,)})
    assert (await desk.get(path)).status_code == 404


@pytest.mark.parametrize(
    "locale, browser, query, language, direction",
    [
        (None, "", "", "en", "ltr"), ("de", "ar", "", "de", "ltr"), (None, "fr, de;q=0.5, ar;q=0.8", "", "ar", "rtl"),
        (None, "de-CH", "", "de", "ltr"), ("de", "", "ar", "ar", "rtl"), (None, "xx;q=zz,,;", "", "en", "ltr"),
    ],
)  # fmt: skip
async def test_the_language_is_the_readers(
    shop: ServedShop, desk: Desk, locale: str | None, browser: str, query: str, language: str, direction: str
) -> None:
    session = await offer(shop, **({"locale": locale} if locale else {}))
    page = await desk.get(path_of(session) + (f"?lang={query}" if query else ""), **{"Accept-Language": browser})
    assert f'<html lang="{language}" dir="{direction}">' in page.text


async def test_the_shop_is_told_at_once_what_no_customer_could_send(shop: ServedShop) -> None:
    payment = shop.pay(1000, currency="eur")
    body = {"order_id": "NW-1", "payment_intent": payment, "currency": "eur", "lines": LINES}
    expect(await shop.post("/v1/portal_sessions", body), 422, "amount_exceeds_payment")
    small = LINES[0] | {"total_amount": 9}
    line = {"sku": "A", "quantity": 3, "total_amount": 100, "quantity_ordered": 2}
    expect(await shop.post("/v1/portal_sessions", body | {"lines": [line]}), 422, "quantity_exceeds_ordered")
    expect(
        await shop.post("/v1/portal_sessions", body | {"currency": "usd", "lines": [small]}),
        422,
        "currency_mismatch",
    )
    expect(await shop.post("/v1/portal_sessions", body | {"locale": "fr"}), 422, "invalid_request")
    expect(await shop.post("/v1/portal_sessions", body | {"payment_intent": "pi_none"}), 404, "payment_missing")
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(PortalSession))).all() == []


async def test_without_a_link_the_portal_says_where_it_is(shop: ServedShop, desk: Desk) -> None:
    page = await desk.get("/portal", **{"Accept-Language": "de"})
    assert page.status_code == 200
    assert "Öffnen Sie den Link" in page.text
