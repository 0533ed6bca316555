"""Mail to customers: written with what happened, sent once, tried again, told on the desk, naming nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlmodel import col, select

from returns_service.commands import erasure
from returns_service.commands.mail import claim_mail, record_mail
from returns_service.commands.portal import save_picks, send
from returns_service.commands.stripe_fold import adopt_payment
from returns_service.domain.portal_offer import Pick
from returns_service.domain.signed_link import read_link
from returns_service.domain.stripe_objects import PaymentSnapshot
from returns_service.mail_client import SmtpClient
from returns_service.mail_message import load_texts
from returns_service.return_case.events import Actor
from returns_service.settings import SettingsError
from returns_service.store.tables import Mail
from returns_service.web.context import link_keys_of
from returns_service.wiring import database_of, mail_sender_of, worker_of
from returns_service.worker.mail import MailSender
from tests.factories import create_mail, create_return
from tests.harness.patience import wait_for
from tests.harness.served_shop import ServedShop, expect, open_shop
from tests.harness.shop import BY
from tests.harness.smtp_listener import SmtpListener, listening


@dataclass
class MailingShop:
    """A shop with mail on, and its mail server."""

    shop: ServedShop
    server: SmtpListener
    sender: MailSender

    async def send_all(self) -> None:
        """Send until nothing is due."""
        while await self.sender.send_due():
            pass

    async def mails(self) -> list[Mail]:
        """Return the outbox, oldest first."""
        async with self.shop.db.reading() as tx:
            return list((await tx.exec(select(Mail).order_by(col(Mail.id)))).all())

    @property
    def subjects(self) -> list[str]:
        """What the server took."""
        return [str(message["Subject"]) for message in self.server.taken]


@pytest.fixture
async def mailing(database_url: str) -> AsyncIterator[MailingShop]:
    """The service over each of the two databases, with mail on."""
    async with open_shop(database_url) as shop, listening() as server:
        address = SecretStr(f"smtp://127.0.0.1:{server.port}")
        changed = {
            "smtp": address,
            "mail_from": "returns@shop.test",
            "shop_name": "Nordwind",
            "public_url": "https://r.test",
        }
        shop.context.settings = shop.context.settings.model_copy(update=changed)
        shop.db.sends_mail = True
        settings = shop.context.settings
        yield MailingShop(
            shop, server, MailSender(shop.db, SmtpClient(address), load_texts(None), settings, link_keys_of(settings))
        )


async def test_a_customer_is_told_each_step_once(mailing: MailingShop) -> None:
    shop = mailing.shop
    made = await shop.create_approved_return(9000, 3, customer_email="mia@shop.test")
    await shop.receive_parcel(made["id"])
    await shop.settle()
    await mailing.send_all()
    assert mailing.subjects == [
        "Nordwind: we have your return request for order order_98765",
        "Nordwind: send your return for order order_98765",
        "Nordwind: your parcel for order order_98765 is here",
        "Nordwind: US$30.00 is on its way to you",
    ]
    assert set(mailing.server.recipients) == {"mia@shop.test"}
    approved = mailing.server.taken[1]
    (mail,) = [mail for mail in await mailing.mails() if mail.kind == "approved"]
    assert approved["Message-ID"] == f"<{mail.id}@shop.test>"
    text, html = (approved.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    for body in (text, html):
        assert made["slip_code"] in body.get_content()
        assert "US$90.00" in body.get_content()
    await mailing.send_all()
    assert len(mailing.server.taken) == 4


@pytest.mark.parametrize("ending", ["declined", "failed"])
async def test_bad_news_is_told_too(mailing: MailingShop, ending: str) -> None:
    shop = mailing.shop
    card = "pm_card_refundFail" if ending == "failed" else "pm_card_visa"
    made = await shop.create_return(9000, 1, card=card, customer_email="mia@shop.test")
    if ending == "declined":
        expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "Worn <b>outside</b>."}), 200)
    else:
        expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
        await shop.receive_parcel(made["id"])
        await shop.settle()
    await mailing.send_all()
    last = mailing.server.taken[-1]
    assert [mail.kind for mail in await mailing.mails()][-1] == ending
    html = last.get_body(("html",))
    assert html is not None
    if ending == "declined":
        assert "Worn &lt;b&gt;outside&lt;/b&gt;." in html.get_content()


async def test_a_failure_beside_another_refund_under_way_is_told_once(mailing: MailingShop) -> None:
    shop = mailing.shop
    made = await shop.create_approved_return(9000, 2, card="pm_card_pendingRefund", customer_email="mia@shop.test")
    for _ in range(2):
        await shop.receive_parcel(made["id"])
        await shop.work()
    first = (await shop.read_return(made["id"]))["refunds"][0]
    shop.dashboard.fail(first["stripe_refund"])
    await shop.deliver()
    assert (await shop.read_return(made["id"]))["state"] == "refunding"
    assert [mail.kind for mail in await mailing.mails()].count("failed") == 1
    shop.clock.advance(86_400)
    await shop.settle()
    assert [refund["status"] for refund in (await shop.read_return(made["id"]))["refunds"]] == ["failed", "succeeded"]
    assert (await shop.read_return(made["id"]))["state"] == "failed"
    assert [mail.kind for mail in await mailing.mails()].count("failed") == 1


async def test_news_that_comes_twice_is_told_once(mailing: MailingShop) -> None:
    shop = mailing.shop
    made = await shop.create_approved_return(9000, 1, customer_email="mia@shop.test")
    await shop.receive_parcel(made["id"])
    await shop.work()
    shop.clock.advance(2)
    assert await shop.deliver(times=3) > 0
    kinds = [mail.kind for mail in await mailing.mails()]
    assert (kinds.count("received"), kinds.count("refunded")) == (1, 1)


async def test_a_refund_that_a_person_withdraws_is_no_bad_news(mailing: MailingShop) -> None:
    shop = mailing.shop
    made = await shop.create_approved_return(9000, 1, customer_email="mia@shop.test")
    await shop.receive_parcel(made["id"])
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)
    assert (await shop.read_return(made["id"]))["state"] == "failed"
    assert "failed" not in [mail.kind for mail in await mailing.mails()]


async def test_where_mail_is_off_nothing_is_written(mailing: MailingShop, tmp_path: Path) -> None:
    settings = mailing.shop.context.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/returns.db"})
    assert database_of(settings).sends_mail
    assert not database_of(settings.model_copy(update={"smtp": None})).sends_mail
    mailing.shop.db.sends_mail = False
    await mailing.shop.create_approved_return(9000, 3, customer_email="mia@shop.test")
    assert await mailing.mails() == []


async def test_a_request_that_fails_leaves_no_mail(mailing: MailingShop) -> None:
    made = await mailing.shop.create_return(9000, 3, customer_email="mia@shop.test")
    before = len(await mailing.mails())
    expect(await mailing.shop.post(f"/v1/returns/{made['id']}/close", {"reason": "No."}), 409)
    assert len(await mailing.mails()) == before


async def test_two_workers_send_a_mail_once(mailing: MailingShop) -> None:
    async with mailing.shop.db.transaction() as tx:
        for _ in range(12):
            await create_mail(tx, await create_return(tx, customer_email="mia@shop.test"))
    other = replace(mailing.sender)
    for _ in range(5):
        await asyncio.gather(mailing.sender.send_due(), other.send_due())
    assert len(mailing.server.taken) == 12
    assert len({message["Message-ID"] for message in mailing.server.taken}) == 12


@pytest.mark.parametrize("mood", ["busy", "hangs_up"])
async def test_what_is_not_taken_is_tried_again_and_told_on_the_desk(mailing: MailingShop, mood: Any) -> None:
    shop = mailing.shop
    made = await shop.create_return(9000, 3, customer_email="mia@shop.test")
    mailing.server.mood = mood
    for wait in (0, 60, 300):
        assert [item["kind"] for item in await desk_of(shop)] == []
        shop.clock.advance(wait)
        assert await mailing.sender.send_due() == 1
        assert await mailing.sender.send_due() == 0, "not before its time"
    (item,) = await desk_of(shop)
    assert (item["kind"], item["return"], item["code"]) == ("mail_failed", made["id"], "mail_not_sent")
    mailing.server.mood = "takes"
    shop.clock.advance(1800)
    await mailing.send_all()
    assert len(mailing.server.taken) == 1
    assert await desk_of(shop) == []


async def test_a_mail_that_fails_for_three_days_is_given_up(mailing: MailingShop) -> None:
    await mailing.shop.create_return(9000, 3, customer_email="mia@shop.test")
    mailing.server.mood = "busy"
    for _ in range(30):
        await mailing.sender.send_due()
        mailing.shop.clock.advance(6 * 3600)
    (mail,) = await mailing.mails()
    assert (mail.status, mail.reason, mail.next_attempt_at) == ("dead", "smtp_451", None)


async def test_an_address_that_is_refused_is_told_at_once_and_not_tried_again(mailing: MailingShop) -> None:
    await mailing.shop.create_return(9000, 3, customer_email="nobody@shop.test")
    mailing.server.mood = "refuses"
    await mailing.send_all()
    (mail,) = await mailing.mails()
    assert (mail.status, mail.reason) == ("dead", "smtp_550")
    assert [item["kind"] for item in await desk_of(mailing.shop)] == ["mail_failed"]


async def test_a_lost_answer_is_sent_again_under_the_same_name(mailing: MailingShop) -> None:
    await mailing.shop.create_return(9000, 3, customer_email="mia@shop.test")
    mailing.server.mood = "answer_lost"
    await mailing.send_all()
    mailing.server.mood = "takes"
    mailing.shop.clock.advance(60)
    await mailing.send_all()
    assert len(mailing.server.taken) == 2, "nobody knows whether the first arrived"
    assert len({message["Message-ID"] for message in mailing.server.taken}) == 1


async def test_a_worker_that_died_leaves_its_mail_to_the_next(mailing: MailingShop) -> None:
    await mailing.shop.create_return(9000, 3, customer_email="mia@shop.test")
    (late,) = await mailing.shop.db.run(lambda tx: claim_mail(tx, 5))
    assert await mailing.sender.send_due() == 0
    mailing.shop.clock.advance(181)
    await mailing.send_all()
    assert len(mailing.server.taken) == 1
    assert not await mailing.shop.db.run(lambda tx: record_mail(tx, late, "try_later", "no_answer"))
    assert (await mailing.mails())[0].status == "sent"


@pytest.mark.parametrize("address", ["a@b.test,c", "<a@b.test>", "élodie@shop.test"])
async def test_an_address_is_one_address_or_none(mailing: MailingShop, address: str) -> None:
    await mailing.shop.create_return(9000, 3, customer_email=address)
    await mailing.send_all()
    assert set(mailing.server.recipients) <= {address}
    (mail,) = await mailing.mails()
    if mailing.server.taken == []:
        assert mail.failures > 0, "the desk tells of it, at once or after the next tries"


async def test_whoever_is_forgotten_gets_no_mail_and_the_outbox_names_nobody(mailing: MailingShop) -> None:
    shop = mailing.shop
    await shop.create_return(9000, 3, customer_email="mia@shop.test")
    (mail,) = await mailing.mails()
    assert "mia" not in repr(mail.model_dump())
    await shop.db.run(lambda tx: erasure.forget(tx, BY, shop.policy, order_id="order_98765"))
    await mailing.send_all()
    assert mailing.server.taken == []
    (mail,) = await mailing.mails()
    assert (mail.status, mail.reason) == ("dropped", "no_address")


async def test_mail_of_the_portal_is_in_its_language_with_a_link_of_its_own(mailing: MailingShop) -> None:
    shop = mailing.shop
    payment = shop.pay(9000)
    body = {"order_id": "NW-1", "payment_intent": payment, "currency": "usd", "customer_email": "mia@shop.test",
            "lines": [{"sku": "A", "quantity": 1, "total_amount": 9000}], "locale": "de"}  # fmt: skip
    session = expect(await shop.post("/v1/portal_sessions", body), 201)
    seen = await shop.gateway.read_payment(payment_intent=payment)
    assert isinstance(seen, PaymentSnapshot)

    async def send_it(tx: Any) -> None:
        await save_picks(tx, session["id"], [Pick(0, 1, "damaged")], {}, locale="de", storage_mb=1)
        locked = await adopt_payment(tx, Actor("stripe"), shop.policy, seen)
        await send(locked, Actor(session["id"]), shop.policy, session["id"], 9000)

    await shop.db.run(send_it)
    await mailing.send_all()
    (message,) = mailing.server.taken
    assert "Ihre Rücksendung" in str(message["Subject"])
    text = message.get_body(("plain",))
    assert text is not None
    (address,) = [word for word in text.get_content().split() if word.startswith("https://r.test/portal/")]
    link = read_link(shop.context.link_keys, address.rpartition("/")[2])
    assert link is not None
    assert link.id == session["id"]


async def desk_of(shop: ServedShop) -> list[dict[str, Any]]:
    """Return what the desk says of mail."""
    found: list[dict[str, Any]] = expect(await shop.get("/v1/desk?kind=mail_failed"), 200)["data"]
    return found


async def test_store_credit_is_told_as_store_credit(mailing: MailingShop) -> None:
    await mailing.shop.create_approved_return(9000, 3, customer_email="mia@shop.test", resolution="store_credit")
    await mailing.send_all()
    text = mailing.server.taken[-1].get_body(("plain",))
    assert text is not None
    assert "you get US$90.00 as store credit" in text.get_content()
    assert "goes back to you" not in text.get_content()


@pytest.mark.parametrize(
    "method, says",
    [
        ("store_credit", "we have given you US$60.00 as store credit"),
        ("exchange", "we have given you US$60.00 in an exchange"),
        ("bank_transfer", "we have sent US$60.00 to your bank account"),
        ("cash", "we have given you US$60.00 in cash"),
        ("waived", None),
    ],
)
async def test_what_was_settled_outside_is_told_with_its_way_and_amount(
    mailing: MailingShop, method: str, says: str | None
) -> None:
    shop = mailing.shop
    body = {"resolution": "store_credit", "customer_email": "mia@shop.test"}
    made = await shop.create_approved_return(9000, 3, **body)
    await shop.receive_parcel(made["id"], 2)
    before = len(await mailing.mails())
    settle = {"method": method, "reference": "ledger 17"}
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", settle), 200)
    new = (await mailing.mails())[before:]
    await mailing.send_all()
    if says is None:
        assert new == []
        return
    assert [mail.kind for mail in new] == ["refunded"]
    message = mailing.server.taken[-1]
    assert message["Subject"] == "Nordwind: US$60.00 for order order_98765 is settled"
    for kind in ("plain", "html"):
        text = message.get_body((kind,))
        assert text is not None
        lines = text.get_content().replace("<bdi>", "").replace("</bdi>", "")
        assert says in lines
        assert lines.count("US$60.00") == 1, "the other ways are left out"
        assert "ledger 17" not in lines


async def test_the_part_of_a_failed_refund_that_was_settled_is_told(mailing: MailingShop) -> None:
    shop = mailing.shop
    body = {"card": "pm_card_refundFail", "customer_email": "mia@shop.test"}
    made = await shop.create_approved_return(9000, 1, **body)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    part = {"method": "bank_transfer", "reference": "TRF 1", "amount": 4000}
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", part), 200)
    await mailing.send_all()
    assert mailing.subjects[-2:] == [
        "Nordwind: your money for order order_98765 is delayed",
        "Nordwind: US$40.00 for order order_98765 is settled",
    ]


async def test_a_worker_sends_mail_only_where_it_is_set(mailing: MailingShop, tmp_path: Path) -> None:
    settings = mailing.shop.context.settings
    assert mail_sender_of(settings.model_copy(update={"smtp": None}), mailing.shop.db) is None
    (tmp_path / "en.toml").write_text("[nothing]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="RETURNS_MAIL_TEXTS"):
        mail_sender_of(settings.model_copy(update={"mail_texts": tmp_path}), mailing.shop.db)
    await mailing.shop.create_return(9000, 3, customer_email="mia@shop.test")
    context = mailing.shop.context
    worker = worker_of(settings, mailing.shop.db, context.gateway, context.policy, context.line)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        await wait_for(lambda: len(mailing.server.taken), "the mail")
    finally:
        stop.set()
        await running
    assert len(mailing.server.taken) == 1
