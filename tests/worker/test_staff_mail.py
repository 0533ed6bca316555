"""Mail to staff: a refund that failed or is stuck, a day with many refunds; off unless set, each told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from sqlmodel import col, select

from returns_service.commands.refund_rate import judge_refund_rate
from returns_service.domain.vocabulary import STAFF_MAIL_KINDS
from returns_service.mail_client import SmtpClient
from returns_service.mail_message import STAFF_WORDS, load_texts
from returns_service.return_case.events import record
from returns_service.return_case.views import show_refund
from returns_service.store.tables import StaffMail
from returns_service.worker.charges import count_charges
from returns_service.worker.mail import MailSender
from tests.factories import create_payment, create_refund
from tests.harness.served_shop import ServedShop, expect, open_shop
from tests.harness.shop import BY
from tests.harness.smtp_listener import SmtpListener, listening

STAFF = ("finance@shop.test", "night@shop.test")


@dataclass
class TellingShop:
    """A shop that tells its staff by mail, and its mail server."""

    shop: ServedShop
    server: SmtpListener
    sender: MailSender

    async def send_all(self) -> list[str]:
        """Send until nothing is due; return the subjects that the server took so far."""
        while await self.sender.send_due():
            pass
        return [str(message["Subject"]) for message in self.server.taken]

    async def mails(self) -> list[StaffMail]:
        """Return the outbox, oldest first."""
        async with self.shop.db.reading() as tx:
            return list((await tx.exec(select(StaffMail).order_by(col(StaffMail.id)))).all())

    async def fail_refund(self) -> str:
        """Return the id of a return whose refund the bank sent back."""
        made = await self.shop.create_approved_return(9000, 1, card="pm_card_refundFail")
        await self.shop.receive_parcel(made["id"])
        await self.shop.settle()
        return str(made["id"])


@pytest.fixture
async def telling(database_url: str) -> AsyncIterator[TellingShop]:
    """The service over each of the two databases, its staff told by mail."""
    async with open_shop(database_url) as shop, listening() as server:
        address = SecretStr(f"smtp://127.0.0.1:{server.port}")
        changed = {"smtp": address, "mail_from": "returns@shop.test", "shop_name": "Nordwind",
                   "public_url": "https://r.test", "staff_mail": STAFF}  # fmt: skip
        settings = shop.context.settings.model_copy(update=changed)
        shop.db.mails_staff = True
        yield TellingShop(shop, server, MailSender(shop.db, SmtpClient(address), load_texts(None), settings, []))


async def test_staff_are_told_of_a_refund_that_failed_once(telling: TellingShop) -> None:
    await telling.fail_refund()
    assert await telling.send_all() == ["Nordwind: a refund of 90.00 USD failed (order_98765)"]
    assert await telling.send_all() == ["Nordwind: a refund of 90.00 USD failed (order_98765)"]
    (message,) = telling.server.taken
    assert set(telling.server.recipients) == set(STAFF)
    (mail,) = await telling.mails()
    assert (mail.kind, mail.status, message["Message-ID"]) == ("refund_failed", "sent", f"<{mail.id}@shop.test>")
    (refund,) = await telling.shop.refunds()
    assert f"https://r.test/refunds?case=refund_failed:{refund.id}" in message.get_content()


async def test_where_it_is_not_set_nothing_is_written(telling: TellingShop) -> None:
    telling.shop.db.mails_staff = False
    await telling.fail_refund()
    assert await telling.mails() == []


async def test_staff_are_told_of_a_stuck_refund_without_a_return(telling: TellingShop) -> None:
    async with telling.shop.db.transaction() as tx:
        payment = await create_payment(tx, currency="eur")
        refund = await create_refund(tx, payment, due_in_seconds=None, amount=6235)
        data = {"object": show_refund(refund, payment), "message": "Stripe didn't answer in time", "code": "timeout",
                "next_attempt_at": None}  # fmt: skip
        await record(tx, BY, "refund.stuck", refund=refund, payment=payment, data=data)
    assert await telling.send_all() == ["Nordwind: a refund of 62.35 EUR is stuck (no return)"]
    assert "Stripe didn't answer in time" in telling.server.taken[0].get_content()


async def test_staff_are_told_of_a_day_above_the_limit(telling: TellingShop) -> None:
    shop = telling.shop
    made = await shop.create_approved_return(9000, 1)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    shop.advance(60)
    for _ in range(3):
        await count_charges(shop.db, shop.gateway, BY, shop.policy)
    await shop.db.run(lambda tx: judge_refund_rate(tx, BY, shop.policy))
    assert await telling.send_all() == ["Nordwind: more refunds than expected on 2026-11-24 (90.00 USD)"]
    text = telling.server.taken[0].get_content()
    assert "90.00 USD was refunded so far, and 90.00 USD charged" in text
    events = expect(await shop.get("/v1/events?type=refund_rate.exceeded"), 200)["data"]
    assert [event["data"]["day"] for event in events] == ["2026-11-24"]


async def test_mail_that_staff_do_not_get_is_told_on_the_desk(telling: TellingShop) -> None:
    await telling.fail_refund()
    telling.server.mood = "refuses"
    await telling.send_all()
    items = expect(await telling.shop.get("/v1/desk?kind=mail_failed"), 200)["data"]
    assert [(item["code"], item["return"]) for item in items] == [("staff_mail_not_sent", None)]


async def test_what_was_written_before_it_was_switched_off_is_dropped(telling: TellingShop) -> None:
    await telling.fail_refund()
    telling.sender.settings = telling.sender.settings.model_copy(update={"staff_mail": ()})
    assert await telling.send_all() == []
    (mail,) = await telling.mails()
    assert (mail.status, mail.reason) == ("dropped", "no_address")


def test_every_kind_has_its_words() -> None:
    assert set(STAFF_WORDS) == set(STAFF_MAIL_KINDS)
