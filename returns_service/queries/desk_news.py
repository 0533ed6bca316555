"""What the desk tells of for some days only: mail that nobody took, and days with many refunds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import literal_column
from sqlmodel import col

from returns_service.commands.mail import TOLD_AT
from returns_service.domain.money import format_amount
from returns_service.domain.refund_rate import refund_rate
from returns_service.queries.desk_columns import before_now, entry_head
from returns_service.queries.desk_explanation import Explanation
from returns_service.store.tables import Event, Mail, StaffMail

MAIL_SHOWN: Final = timedelta(days=14)  # then the return's own page has told the customer, or nobody will
RATE_SHOWN: Final = timedelta(days=7)  # a week's finance meeting has seen it; the dashboard shows it for good


def of_news() -> Sequence[Any]:
    """Return the statements for mail that was not taken, and for days above the policy's refund rate."""
    return [
        entry_head("mail_failed", col(Mail.created_at), col(Mail.id), return_id=col(Mail.return_id)).where(
            literal_column("mail.failures > 0 AND mail.status <> 'sent'"),  # as the index has it
            col(Mail.failures) >= TOLD_AT, col(Mail.created_at) > before_now(MAIL_SHOWN),
        ),
        entry_head("mail_failed", col(StaffMail.created_at), col(StaffMail.id), event_id=col(StaffMail.event_id)).where(
            literal_column("staff_mail.failures > 0 AND staff_mail.status <> 'sent'"),
            col(StaffMail.failures) >= TOLD_AT, col(StaffMail.created_at) > before_now(MAIL_SHOWN),
        ),
        entry_head("refund_rate", col(Event.created_at), col(Event.id), event_id=col(Event.id)).where(
            col(Event.type) == "refund_rate.exceeded", col(Event.created_at) > before_now(RATE_SHOWN)
        ),
    ]  # fmt: skip


def describe_mail_failed(subject: str, event: Event | None) -> Explanation:
    """Return why a mail is on the desk; `event`: of one to staff, what it is about."""
    if event is not None:
        return Explanation(
            "staff_mail_not_sent",
            f"Staff were not told of {event.type} by mail: no mail server took {subject}.",
            "Check RETURNS_STAFF_MAIL and RETURNS_SMTP. It is tried again for three days, and leaves this list after "
            "two weeks.",
        )
    return Explanation(
        "mail_not_sent",
        f"The customer was not told what happened: no mail server took {subject}.",
        "Check the customer's address and RETURNS_SMTP, or tell them yourself. It is tried again for three days, and "
        "leaves this list after two weeks.",
    )


def _day(iso: str) -> str:
    """Return a day as people read it: `24 Nov 2026`."""
    day = date.fromisoformat(iso)
    return f"{day.day} {day:%b %Y}"


def describe_refund_rate(event: Event | None) -> Explanation:
    """Return what a day above the policy's refund rate is about."""
    if event is None:
        raise LookupError("a refund rate is of an event and came without it")
    said = event.data
    currency, refunded, charged = said["currency"], int(said["amount_refunded"]), int(said["amount_charged"])
    rate = refund_rate(refunded, charged)
    of_charged = f" of {format_amount(charged, currency)} charged ({rate:.1%})" if rate is not None else ""
    return Explanation(
        "refund_rate_exceeded",
        f"{format_amount(refunded, currency)}{of_charged} was refunded on {_day(said['day'])} ({said['time_zone']})"
        f"{', as far as that day had come' if said['so_far'] else ''}: the policy expects at most "
        f"{float(said['refund_rate_alert']):.1%}.",
        "Look at the dashboard for what came back and why; Stripe reviews accounts that refund much. It leaves this "
        "list after a week.",
        facts={"amount": refunded, "currency": currency},
    )
