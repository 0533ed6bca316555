"""What customers see, as an admin sees it: the look after the contrast check, the texts in force, the mail's state."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from returns_service.queries.outbox import read_outbox
from tests.factories import create_mail, create_return
from tests.harness.served_shop import ServedShop
from tests.harness.smtp_listener import Mood, SmtpListener, listening
from tests.pages.conftest import Desk, sign_in_as
from tests.pages.forms import follow, forms_in

PATH = "/settings/portal"
PASSWORD = "hunter2"


@pytest.fixture
async def admin(shop: ServedShop, desk: Desk) -> Desk:
    """A browser without scripts, an admin signed in."""
    return await sign_in_as(shop, desk, "admin")


def change(shop: ServedShop, **settings: Any) -> None:
    """Set some of the service's settings."""
    shop.context.settings = shop.context.settings.model_copy(update=settings)


def turn_on(shop: ServedShop, server: SmtpListener) -> None:
    """Turn mail on."""
    address = SecretStr(f"smtp://127.0.0.1:{server.port}")
    change(shop, smtp=address, mail_from="returns@shop.test", shop_name="Nordwind")


async def test_the_look_is_shown_as_it_is_used(shop: ServedShop, admin: Desk) -> None:
    change(shop, shop_name="Nord <wind>", shop_colour="#ffd400", shop_address=("Am <b>Hafen</b> 1", "Bremen"))
    page = await admin.get(PATH)
    assert "Nord &lt;wind&gt;" in page.text
    assert "Am &lt;b&gt;Hafen&lt;/b&gt; 1" in page.text
    assert "not readable" not in page.text
    assert "So that it can be read, it is" in page.text
    change(shop, shop_colour="#777777")
    assert "on dark" in (await admin.get(PATH)).text
    assert (await admin.get("/settings")).text.count(f'href="{PATH}"') == 1


async def test_the_shops_own_texts_are_marked(shop: ServedShop, admin: Desk, tmp_path: Path) -> None:
    assert "of them yours" not in (await admin.get(PATH)).text
    (tmp_path / "de.toml").write_text('[sent]\napproved = "Bringen Sie es <i>vorbei</i>"', encoding="utf-8")
    change(shop, portal_texts=tmp_path)
    page = await admin.get(PATH)
    assert page.text.count("of them yours") == 1
    assert "Bringen Sie es &lt;i&gt;vorbei&lt;/i&gt;" in page.text


async def test_mail_that_is_off_says_how_it_is_turned_on(shop: ServedShop, admin: Desk) -> None:
    page = await admin.get(PATH)
    assert "Customers get no mail" in page.text
    assert f"{PATH}/mail" not in forms_in(page)
    token = {"token": admin.token, "once": "a" * 32, "kind": "approved", "language": "en"}
    refused = await admin.post(f"{PATH}/mail", token)
    assert (refused.status_code, "Mail is off" in refused.text) == (422, True)


async def test_the_outbox_tells_what_waits_and_what_failed(shop: ServedShop, admin: Desk) -> None:
    async with listening() as server:
        turn_on(shop, server)
        change(shop, smtp=SecretStr(f"smtp://user:{PASSWORD}@127.0.0.1:{server.port}"))
        async with shop.db.transaction() as tx:
            dead = await create_return(tx, order_id="NW-<dead>")
            gone: dict[str, Any] = {"status": "dead", "reason": "smtp_550", "failures": 3, "next_attempt_at": None}
            await create_mail(tx, dead, **gone)
            await create_mail(tx, failures=1, reason="no_answer")
        page = await admin.get(PATH)
    assert "NW-&lt;dead&gt;" in page.text
    assert "dead: <bdi>smtp_550</bdi>, 3 failures" in page.text
    assert "pending: <bdi>no_answer</bdi>, 1 failure<" in page.text
    assert "1 pending, 1 dead" in page.text
    assert PASSWORD not in page.text


async def test_a_test_mail_is_sent_once_to_whoever_asks(shop: ServedShop, admin: Desk) -> None:
    async with listening() as server:
        turn_on(shop, server)
        fields = forms_in(await admin.get(PATH))[f"{PATH}/mail"] | {"kind": "approved", "language": "de"}
        answers = await asyncio.gather(*(admin.post(f"{PATH}/mail", fields) for _ in range(2)))
        told = {(await follow(admin, answer)).status_code for answer in answers}
        last = await follow(admin, await admin.post(f"{PATH}/mail", fields))
        wrong = await admin.post(f"{PATH}/mail", fields | {"once": "b" * 32, "kind": "other"})
    assert told == {200}
    assert "it is sent once" in last.text
    assert (wrong.status_code, "Choose which mail" in wrong.text) == (422, True)
    (message,) = server.taken
    assert server.recipients == ["admin@shop.test"]
    assert str(message["Subject"]) == "Nordwind: Senden Sie Ihre Rücksendung zu Bestellung TEST-1"
    async with shop.db.reading() as tx:
        assert (await read_outbox(tx)).mails == [], "no customer's mail"


@pytest.mark.parametrize("mood, code, says", [("refuses", "smtp_550", "refused it"), ("hangs_up", "no_answer", "cut")])
async def test_a_test_mail_that_is_not_taken_says_why(
    shop: ServedShop, admin: Desk, mood: Mood, code: str, says: str
) -> None:
    async with listening() as server:
        turn_on(shop, server)
        server.mood = mood
        fields = forms_in(await admin.get(PATH))[f"{PATH}/mail"]
        refused = await admin.post(f"{PATH}/mail", fields)
    assert refused.status_code == 502
    assert code in refused.text
    assert says in refused.text


async def test_texts_of_mail_that_are_wrong_are_named(shop: ServedShop, admin: Desk, tmp_path: Path) -> None:
    async with listening() as server:
        turn_on(shop, server)
        (tmp_path / "en.toml").write_text("[nothing]\n", encoding="utf-8")
        fields = forms_in(await admin.get(PATH))[f"{PATH}/mail"]
        change(shop, mail_texts=tmp_path)
        refused = await admin.post(f"{PATH}/mail", fields)
    assert (refused.status_code, "RETURNS_MAIL_TEXTS" in refused.text, server.taken) == (422, True, [])
