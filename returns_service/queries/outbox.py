"""How mail to customers is doing: what waits, what became of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import col, func, select

from returns_service.domain.vocabulary import MAIL_STATUSES, MailStatus
from returns_service.store.database import Tx
from returns_service.store.tables import Mail, ReturnAuthorization

COUNTED_MAILS: Final = 200
LAST_MAILS: Final = 20


@dataclass(frozen=True, slots=True)
class MailShown:
    """A mail with the order it is about."""

    mail: Mail
    order_id: str


@dataclass(frozen=True, slots=True)
class Outbox:
    """What waits to be sent, what became of the last `COUNTED_MAILS`, and the last `LAST_MAILS` themselves."""

    waiting: int
    counts: Mapping[MailStatus, int]
    mails: Sequence[MailShown]


async def read_outbox(tx: Tx) -> Outbox:
    """Return how mail to customers is doing."""
    waiting = select(func.count()).select_from(Mail).where(col(Mail.next_attempt_at).is_not(None))
    newest = select(Mail.status).order_by(col(Mail.id).desc()).limit(COUNTED_MAILS)
    statuses = (await tx.exec(newest)).all()
    last = (
        select(Mail, ReturnAuthorization.order_id)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(Mail.return_id))
        .order_by(col(Mail.id).desc())
        .limit(LAST_MAILS)
    )
    return Outbox(
        waiting=(await tx.exec(waiting)).one(),
        counts={status: number for status in MAIL_STATUSES if (number := statuses.count(status))},
        mails=[MailShown(mail, order_id) for mail, order_id in (await tx.exec(last)).all()],
    )
