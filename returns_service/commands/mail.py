"""The outboxes: which mail goes next and whose it is, what it says, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from sqlmodel import col, select

from returns_service.domain.vocabulary import MailKind, StaffMailKind
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import Event, Mail, PortalSession, ReturnAuthorization, StaffMail

MAIL_LEASE_SECONDS = 180.0  # a conversation with a mail server takes 92 at most, its write-back waits for the database
DELAYS = (60, 300, 1800, 7200)  # seconds after a failure, then every six hours
LATER_DELAY_SECONDS = 6 * 3600
TOLD_AT = 3  # failures from which the desk tells of a mail; one that was refused for good is told at once
GIVE_UP_AFTER = timedelta(days=3)  # older news than that confuses
AnyMail = TypeVar("AnyMail", Mail, StaffMail)


@dataclass(frozen=True, slots=True)
class MailClaim:
    """A mail as it was claimed. `row` holds its return, `data` the event's data, `session` the link it came by."""

    mail_id: str
    token: int
    kind: MailKind
    row: ReturnAuthorization
    data: Mapping[str, Any]
    session: PortalSession | None


@dataclass(frozen=True, slots=True)
class StaffMailClaim:
    """A mail to staff as it was claimed. `data` holds the event's data, `order_id` is that of the refund's return."""

    mail_id: str
    token: int
    kind: StaffMailKind
    event_id: str
    refund_id: str | None
    order_id: str | None
    data: Mapping[str, Any]


async def claim_mail(tx: Tx, limit: int) -> list[MailClaim]:
    """Lease mail to customers that is due, the oldest first. One whose worker dies is due again by itself."""
    claims = []
    for mail in await _lease(tx, Mail, limit):
        row = await tx.get_one(ReturnAuthorization, mail.return_id)
        event = await tx.get_one(Event, mail.event_id)
        session = select(PortalSession).where(col(PortalSession.return_id) == row.id)
        found = (await tx.exec(session)).first()
        claims.append(MailClaim(mail.id, mail.lease_token, mail.kind, row, dict(event.data), found))
    return claims


async def claim_staff_mail(tx: Tx, limit: int) -> list[StaffMailClaim]:
    """Lease mail to staff that is due, the oldest first."""
    claims = []
    for mail in await _lease(tx, StaffMail, limit):
        event = await tx.get_one(Event, mail.event_id)
        row = await tx.get(ReturnAuthorization, event.return_id) if event.return_id else None
        order_id = row.order_id if row else None
        claims.append(
            StaffMailClaim(mail.id, mail.lease_token, mail.kind, event.id, event.refund_id, order_id, dict(event.data))
        )
    return claims


async def _lease(tx: Tx, outbox: type[AnyMail], limit: int) -> Sequence[AnyMail]:
    due = select(outbox).where(col(outbox.next_attempt_at) <= tx.now)
    due = due.order_by(col(outbox.next_attempt_at), col(outbox.id)).limit(limit)
    mails = (await tx.exec(due.with_for_update(skip_locked=True))).all()
    for mail in mails:
        mail.lease_token += 1
        mail.next_attempt_at = tx.now + timedelta(seconds=MAIL_LEASE_SECONDS)
    return mails


async def record_mail(tx: Tx, claim: MailClaim | StaffMailClaim, result: str, code: str | None) -> bool:
    """Write down what became of a mail: `taken`, `refused`, `try_later` or `dropped`; return whether it was ours still.

    A claim that another worker has taken over changes nothing.
    """
    if isinstance(claim, StaffMailClaim):
        return await _record(tx, StaffMail, claim.mail_id, claim.token, result, code)
    return await _record(tx, Mail, claim.mail_id, claim.token, result, code)


async def _record(tx: Tx, outbox: type[AnyMail], mail_id: str, token: int, result: str, code: str | None) -> bool:
    found = await select_for_update(tx, select(outbox).where(col(outbox.id) == mail_id), outbox)
    if not found or found[0].lease_token != token or found[0].status != "pending":
        return False
    mail = found[0]
    mail.reason = code
    if result == "taken":
        mail.status = "sent"
    elif result == "dropped":
        mail.status = "dropped"
    else:
        mail.failures += 1
        if result == "try_later" and tx.now - mail.created_at < GIVE_UP_AFTER:
            mail.next_attempt_at = tx.now + timedelta(seconds=delay_after(mail.failures))
            return True
        mail.status, mail.failures = "dead", max(mail.failures, TOLD_AT)
    mail.next_attempt_at, mail.ended_at = None, tx.now
    return True


def delay_after(failures: int) -> int:
    """Return how many seconds to wait after so many failures in a row."""
    return DELAYS[failures - 1] if failures <= len(DELAYS) else LATER_DELAY_SECONDS
