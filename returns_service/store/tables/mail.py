"""The outboxes: mail to customers and to staff that waits to be sent, or was."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from returns_service.domain.vocabulary import (
    MAIL_KINDS,
    MAIL_STATUSES,
    STAFF_MAIL_KINDS,
    MailKind,
    MailStatus,
    StaffMailKind,
)
from returns_service.store.columns import DUE_SQL, StoredRow, defer_foreign_keys, one_of, partial, utc, word


class Mail(StoredRow, table=True):
    """One mail about one event. It names nobody: address and words are looked up when it is sent.

    So whoever is forgotten meanwhile gets none, and nothing of theirs is left in here.
    """

    __tablename__ = "mail"
    __table_args__ = (
        one_of("kind", MAIL_KINDS, "kind"),
        one_of("status", MAIL_STATUSES, "status"),
        partial("ix_mail_due", "next_attempt_at", where=DUE_SQL),
        partial("ix_mail_ended", "ended_at", where="ended_at IS NOT NULL"),
        partial("ix_mail_failing", "created_at", where="failures > 0 AND status <> 'sent'"),
    )

    id: str = Field(primary_key=True)
    event_id: str = Field(foreign_key="event.id", unique=True)  # told once
    return_id: str = Field(foreign_key="return_authorization.id", index=True)
    kind: MailKind = word()
    status: MailStatus = word("pending")
    reason: str | None = None  # a code: why it was dropped, or what the last attempt got (`smtp_550`, `no_answer`)
    failures: int = 0
    lease_token: int = 0
    next_attempt_at: datetime | None = utc(nullable=True)  # while it is being sent: when the lease ends
    created_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)


class StaffMail(StoredRow, table=True):
    """One mail to staff about one event that needs them. Addresses and words are looked up when it is sent."""

    __tablename__ = "staff_mail"
    __table_args__ = (
        one_of("kind", STAFF_MAIL_KINDS, "kind"),
        one_of("status", MAIL_STATUSES, "status"),
        partial("ix_staff_mail_due", "next_attempt_at", where=DUE_SQL),
        partial("ix_staff_mail_ended", "ended_at", where="ended_at IS NOT NULL"),
        partial("ix_staff_mail_failing", "created_at", where="failures > 0 AND status <> 'sent'"),
    )

    id: str = Field(primary_key=True)
    event_id: str = Field(foreign_key="event.id", unique=True)  # told once
    kind: StaffMailKind = word()
    status: MailStatus = word("pending")
    reason: str | None = None  # a code, as in `Mail`
    failures: int = 0
    lease_token: int = 0
    next_attempt_at: datetime | None = utc(nullable=True)  # while it is being sent: when the lease ends
    created_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)


defer_foreign_keys("mail", "staff_mail")
