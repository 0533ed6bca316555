"""Mail to customers and staff: claim in one transaction, send in none, write what became of it in another.

Mail servers know no idempotency key: where an answer is lost a mail is sent again, under the same Message-ID, by which
receiving servers tell that it is one.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from returns_service.commands.mail import (
    MAIL_LEASE_SECONDS,
    MailClaim,
    StaffMailClaim,
    claim_mail,
    claim_staff_mail,
    record_mail,
)
from returns_service.domain.signed_link import sign_link
from returns_service.domain.vocabulary import MailText
from returns_service.localize import write_amount
from returns_service.mail_client import CONVERSATION_SECONDS, MailClient, MailOutcome
from returns_service.mail_message import LANGUAGES, NewMail, Texts, compose, compose_for_staff
from returns_service.return_case.mail_outbox import TOLD_METHODS, settled_by
from returns_service.settings import Settings
from returns_service.shop_settings import Language
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database

AT_ONCE = 5  # a mail server's own limit on connections is rarely lower
LOOK_SECONDS = 2.0  # not woken: a mail is not that urgent
log = structlog.get_logger("returns.mail")


@dataclass
class MailSender:
    """Sends both outboxes; one a process."""

    db: Database
    client: MailClient
    texts: Texts
    settings: Settings
    link_keys: Sequence[bytes]
    lease_seconds: float = MAIL_LEASE_SECONDS
    in_flight: set[asyncio.Task[None]] = field(default_factory=set)

    async def once(self) -> None:
        """Send what is due; without any, wait until it is time to look again."""
        if not await self.send_due():
            await asyncio.sleep(LOOK_SECONDS)

    async def send_due(self) -> int:
        """Send the mails that are due now, up to AT_ONCE of each outbox; return how many there were."""
        # A conversation that begins by then ends within its lease.
        end = elapsed_seconds() + self.lease_seconds - CONVERSATION_SECONDS
        claims = await self.db.run(lambda tx: claim_mail(tx, AT_ONCE))
        staff_claims = await self.db.run(lambda tx: claim_staff_mail(tx, AT_ONCE))
        by_return: dict[str, list[MailClaim]] = {}
        for claim in claims:
            by_return.setdefault(claim.row.id, []).append(claim)
        tasks = [
            *(self._begin(self._send_in_order(group, end)) for group in by_return.values()),
            *(self._begin(self._attempt(claim, partial(self._send_to_staff, claim))) for claim in staff_claims),
        ]
        if tasks:
            await asyncio.wait(tasks)  # a stop that comes meanwhile leaves them to `finish`
            for failure in filter(None, [task.exception() for task in tasks]):
                raise failure
        return len(claims) + len(staff_claims)

    async def finish(self, seconds: float) -> None:
        """Let conversations under way end: a mail that was handed over in one that is cut off would be sent again."""
        if under_way := list(self.in_flight):
            _, late = await asyncio.wait(under_way, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.in_flight.add(task)
        task.add_done_callback(self.in_flight.discard)
        return task

    async def _send_in_order(self, claims: Sequence[MailClaim], end: float) -> None:
        """Send one return's mails, the oldest first: nobody reads of their money before their parcel.

        After `end` (monotonic seconds) none is begun: the rest is due again by itself, in its order.
        """
        for claim in claims:
            if elapsed_seconds() > end:
                return
            await self._attempt(claim, partial(self._send, claim))

    async def _attempt(self, claim: MailClaim | StaffMailClaim, send: Callable[[], Awaitable[None]]) -> None:
        """Make one attempt. An error that nobody foresaw counts as this mail's failure, which the desk tells of."""
        try:
            await send()
        except (SQLAlchemyError, OSError):
            raise  # the database is away: the lease ends by itself
        except Exception as error:  # noqa: BLE001 - logged, and counted: else it would come back for ever, unseen
            where = "".join(traceback.format_tb(error.__traceback__))  # its words may be the customer's
            log.error("mail.not_sent", mail=claim.mail_id, error=type(error).__name__, at=where)
            await self._record(claim, MailOutcome("try_later", "unforeseen"))

    async def _send(self, claim: MailClaim) -> None:
        recipient, sender = claim.row.customer_email, self.settings.sender
        message = None
        if recipient and sender:
            message = compose(self.texts, self._mail(claim), sender, self.settings.shop_name)
        if message is None or not recipient or not sender:
            gone = MailOutcome("refused", "address_unusable") if recipient else None
            if gone is not None:
                await self._record(claim, gone)
            else:
                await self.db.run(lambda tx: record_mail(tx, claim, "dropped", "no_address"), safe_to_repeat=True)
            return
        outcome = await self.client.send(message, sender, recipient)
        await self._record(claim, outcome)

    async def _send_to_staff(self, claim: StaffMailClaim) -> None:
        recipients, sender = self.settings.staff_mail, self.settings.sender
        if not recipients or not sender:  # switched off since
            await self.db.run(lambda tx: record_mail(tx, claim, "dropped", "no_address"), safe_to_repeat=True)
            return
        message = compose_for_staff(
            claim.kind, claim.data, recipients=recipients, sender=sender, shop_name=self.settings.shop_name,
            order_id=claim.order_id, link=self._place(claim), message_id=self._message_id(claim.mail_id),
        )  # fmt: skip
        if message is None:
            await self._record(claim, MailOutcome("refused", "address_unusable"))
            return
        await self._record(claim, await self.client.send(message, sender, *recipients))

    def _place(self, claim: StaffMailClaim) -> str:
        """Return the address of the refund desk with the case open; empty where RETURNS_PUBLIC_URL is unset."""
        if self.settings.public_url is None:
            return ""
        kind = "refund_unknown" if claim.kind == "refund_stuck" else claim.kind
        return f"{self.settings.public_url}/refunds?case={kind}:{claim.refund_id or claim.event_id}"

    def _message_id(self, mail_id: str) -> str:
        return f"<{mail_id}@{(self.settings.sender or '').rpartition('@')[2]}>"

    async def _record(self, claim: MailClaim | StaffMailClaim, outcome: MailOutcome) -> None:
        await self.db.run(lambda tx: record_mail(tx, claim, outcome.result, outcome.code), safe_to_repeat=True)
        if outcome.result != "taken":
            log.warning("mail.not_taken", mail=claim.mail_id, result=outcome.result, code=outcome.code)

    def _mail(self, claim: MailClaim) -> NewMail:
        language = self._language(claim)
        shown = claim.data.get("object") or {}
        amount = shown.get("amount") if claim.kind == "refunded" else shown.get("amount_estimated")
        outside = shown.get("amount_estimated_outside")  # no event of an earlier release says it
        if outside and not amount:
            amount = None
        reason = claim.data.get("reason") if claim.kind == "declined" else None
        way = settled_by(claim.data) if claim.kind == "refunded" else None
        told = write_amount(amount, claim.row.currency, language) if isinstance(amount, int) else ""
        values: dict[str, str] = {
            "shop": self.settings.shop_name,
            "order": claim.row.order_id,
            "amount": told,
            **{method: told if method == way else "" for method in TOLD_METHODS},
            "outside": write_amount(outside, claim.row.currency, language) if outside else "",
            "code": claim.row.slip_code or "",
            "reason": reason if isinstance(reason, str) else "",
            "link": self._link(claim),
        }
        text: MailText = claim.kind if way is None else "settled"
        return NewMail(text, language, claim.row.customer_email or "", self._message_id(claim.mail_id), values)

    def _language(self, claim: MailClaim) -> Language:
        wanted = claim.session.locale if claim.session else None
        return next((one for one in LANGUAGES if one == wanted), self.settings.shop_language)

    def _link(self, claim: MailClaim) -> str:
        """Return a new link to the customer's page; empty where there is none, or RETURNS_PUBLIC_URL is unset."""
        if claim.session is None or self.settings.public_url is None or not self.link_keys:
            return ""
        until = self.db.now() + timedelta(days=self.settings.portal_days)
        return f"{self.settings.public_url}/portal/{sign_link(self.link_keys[0], claim.session.id, until)}"
