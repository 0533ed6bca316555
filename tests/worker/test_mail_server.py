"""A mail server that takes its time: no conversation outlives its lease, and a stop cuts none off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage

import pytest
from pydantic import SecretStr
from sqlmodel import col, select

from returns_service import mail_client
from returns_service.commands.mail import GIVE_UP_AFTER
from returns_service.mail_client import CONVERSATION_SECONDS, MailOutcome, SmtpClient
from returns_service.mail_message import load_texts
from returns_service.store.database import Database
from returns_service.store.tables import Mail, ReturnAuthorization
from returns_service.worker import mail
from returns_service.worker.mail import MailSender
from returns_service.worker.maintenance import delete_expired
from tests.factories import create_mail, create_return
from tests.harness.patience import wait_for
from tests.harness.served_shop import SETTINGS
from tests.harness.shop import Shop


@dataclass
class SlowServer:
    """What stands in for a mail server that takes nothing before it may."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    taken: int = 0

    async def send(self, message: EmailMessage, sender: str, *recipients: str) -> MailOutcome:
        """Take a message, late."""
        self.asked += 1
        await self.may.wait()
        self.taken += 1
        return MailOutcome("taken")


@pytest.fixture
def server() -> SlowServer:
    return SlowServer()


@pytest.fixture
def sender(database: Database, server: SlowServer) -> MailSender:
    settings = SETTINGS.model_copy(update={"mail_from": "returns@shop.test"})
    return MailSender(database, server, load_texts(None), settings, [])


async def write_mails(database: Database, number: int) -> None:
    """Let so many mails about one return be due."""
    async with database.transaction() as tx:
        row: ReturnAuthorization = await create_return(tx, customer_email="mia@shop.test")
        for _ in range(number):
            await create_mail(tx, row)


async def statuses(database: Database) -> Sequence[str]:
    """Return the statuses of the outbox."""
    async with database.reading() as tx:
        return (await tx.execute(select(col(Mail.status)).order_by(col(Mail.id)))).scalars().all()


async def test_a_stop_lets_a_conversation_end(database: Database, sender: MailSender, server: SlowServer) -> None:
    await write_mails(database, 1)
    sending = asyncio.create_task(sender.once())
    await wait_for(lambda: server.asked, "a conversation", progress=sending.done)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    finishing = asyncio.create_task(sender.finish(60.0))
    server.may.set()
    await finishing
    assert (server.taken, await statuses(database)) == (1, ["sent"])


async def test_a_stop_does_not_wait_for_ever(database: Database, sender: MailSender, server: SlowServer) -> None:
    await write_mails(database, 1)
    sending = asyncio.create_task(sender.once())
    await wait_for(lambda: server.asked, "a conversation", progress=sending.done)
    sending.cancel()
    await sender.finish(0.0)
    assert (sender.in_flight, await statuses(database)) == (set(), ["pending"])


async def test_no_mail_is_begun_that_could_outlive_its_lease(
    database: Database, sender: MailSender, server: SlowServer
) -> None:
    await write_mails(database, 2)
    server.may.set()
    sender.lease_seconds = CONVERSATION_SECONDS - 1
    assert await sender.send_due() == 2
    assert (server.asked, await statuses(database)) == (0, ["pending", "pending"])


async def test_a_mail_that_nobody_foresaw_counts_as_failed_and_holds_up_no_other(
    database: Database, sender: MailSender, server: SlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> EmailMessage:
        raise LookupError("a word that is not there")

    await write_mails(database, 1)
    monkeypatch.setattr(mail, "compose", fail)
    assert await sender.send_due() == 1
    async with database.reading() as tx:
        row = (await tx.execute(select(Mail))).scalars().one()
    assert (row.status, row.failures, row.reason, server.asked) == ("pending", 1, "unforeseen", 0)


@pytest.fixture
async def tarpit() -> AsyncIterator[int]:
    """The port of a mail server that says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_conversation_has_an_end(tarpit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_client, "CONVERSATION_SECONDS", 0.1)
    message, sender, recipient = EmailMessage(), "returns@shop.test", "mia@shop.test"
    message["From"], message["To"] = sender, recipient
    outcome = await SmtpClient(SecretStr(f"smtp://127.0.0.1:{tarpit}")).send(message, sender, recipient)
    assert outcome == MailOutcome("try_later", "no_answer")


async def test_mail_that_nobody_sent_for_days_is_told_on_the_desk(shop: Shop) -> None:
    await write_mails(shop.db, 1)
    shop.advance(GIVE_UP_AFTER.total_seconds())
    await delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    assert await statuses(shop.db) == ["pending"]
    shop.advance(1)
    await delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    assert await statuses(shop.db) == ["dead"]
    assert [code for _, code, _ in await shop.desk_items()] == ["mail_not_sent"]
