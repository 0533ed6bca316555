"""Mail put together: to customers from the shop's texts or ours, as text and HTML; to staff as text."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any, Final, get_args

from returns_service.domain.money import format_amount
from returns_service.domain.vocabulary import MAIL_TEXTS, MailText, StaffMailKind
from returns_service.shop_settings import Language

OURS: Final = Path(__file__).parent / "mail_texts"
LEFT_OUT_WITHOUT: Final = (  # a line that needs one and hasn't got it
    "amount", "outside", "code", "reason", "link", "store_credit", "exchange", "bank_transfer", "cash", "dispute",
)  # fmt: skip
VALUES: Final = ("shop", "order", *LEFT_OUT_WITHOUT)
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
Texts = Mapping[Language, Mapping[str, Mapping[str, str]]]


class MailTextsError(ValueError):
    """A file of the shop's texts is wrong; the message names it and what to correct."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """What a mail says: its text and language, and the values that the text may use."""

    kind: MailText
    language: Language
    recipient: str
    message_id: str
    values: Mapping[str, str]


def load_texts(folder: Path | None) -> Texts:
    """Return the texts of all languages: the shop's where its folder has them, else ours. Raises MailTextsError."""
    return {language: _merge(language, folder) for language in LANGUAGES}


def _merge(language: Language, folder: Path | None) -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = tomllib.loads((OURS / f"{language}.toml").read_text(encoding="utf-8"))
    file = folder / f"{language}.toml" if folder is not None else None
    if file is None or not file.is_file():
        return texts
    try:
        own: Any = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise MailTextsError(f"{file}: {error}") from None
    for kind, parts in own.items():
        if kind not in MAIL_TEXTS or not isinstance(parts, dict):
            raise MailTextsError(f"{file}: [{kind}] is none of {', '.join(MAIL_TEXTS)}")
        for name, text in parts.items():
            if name not in ("subject", "text") or not isinstance(text, str) or not text.strip():
                raise MailTextsError(f"{file}: [{kind}] {name}: only `subject` and `text`, each a text")
            try:
                text.format(**dict.fromkeys(VALUES, ""))
            except (LookupError, ValueError, AttributeError):
                named = ", ".join(f"{{{value}}}" for value in VALUES)
                raise MailTextsError(f"{file}: [{kind}] {name}: it may use {named} alone") from None
            texts[kind][name] = text
    return texts


def compose(texts: Texts, mail: NewMail, sender: str, shop_name: str) -> EmailMessage | None:
    """Return the mail, as text and as HTML; None where the recipient is no single address that can be written to."""
    parts = texts[mail.language][mail.kind]
    message = _begin([mail.recipient], sender, shop_name, parts["subject"].format(**mail.values), mail.message_id)
    if message is None:
        return None
    message["Content-Language"] = mail.language
    lines = [line for line in parts["text"].strip().splitlines() if not _is_left_out(line, mail.values)]
    message.set_content("\n\n".join(line.format(**mail.values) for line in lines) + "\n")
    message.add_alternative(_html(lines, mail), subtype="html")
    return message


def compose_for_staff(
    kind: StaffMailKind,
    said: Mapping[str, Any],
    *,
    recipients: Sequence[str],
    sender: str,
    shop_name: str,
    order_id: str | None,
    link: str,
    message_id: str,
) -> EmailMessage | None:
    """Return the mail that tells staff of an event; `said` is its data. None where a recipient is no address."""
    subject, lines = STAFF_WORDS[kind](said, order_id or "no return")
    message = _begin(recipients, sender, shop_name, f"{shop_name}: {subject}", message_id)
    if message is not None:
        message.set_content("\n\n".join([*lines, *([f"What can be done: {link}"] if link else [])]) + "\n")
    return message


def _begin(
    recipients: Sequence[str], sender: str, shop_name: str, subject: str, message_id: str
) -> EmailMessage | None:
    """Return a message without its text; None where a recipient is no single address that can be written to."""
    message = EmailMessage()
    try:
        message["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    except (MessageError, ValueError, IndexError):  # what the standard library raises for what is no address
        return None
    message["From"] = Address(" ".join(shop_name.split()), addr_spec=sender)
    message["Subject"] = " ".join(subject.split())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    return message


def _refund_failed(said: Mapping[str, Any], order: str) -> tuple[str, list[str]]:
    refund = said.get("object") or {}
    amount, failure = _amount(refund), refund.get("failure") or {}
    cause = failure.get("message") or "Stripe says no more about it."
    return f"a refund of {amount} failed ({order})", [
        f"The refund {refund.get('id')} of {amount} for {order} failed: the money did not reach the customer.",
        str(cause),
    ]


def _refund_stuck(said: Mapping[str, Any], order: str) -> tuple[str, list[str]]:
    refund = said.get("object") or {}
    amount = _amount(refund)
    return f"a refund of {amount} is stuck ({order})", [
        f"Many attempts to make the refund {refund.get('id')} of {amount} for {order} settled nothing. It is tried "
        "again by itself, and never made twice.",
        str(said.get("message") or "Stripe gave no answer."),
    ]


def _refund_rate(said: Mapping[str, Any], _: str) -> tuple[str, list[str]]:
    currency = str(said.get("currency"))
    refunded, charged = (format_amount(int(said[name]), currency) for name in ("amount_refunded", "amount_charged"))
    limit = f"{float(said['refund_rate_alert']):.1%}"
    until = " so far" if said.get("so_far") else ""
    return f"more refunds than expected on {said.get('day')} ({refunded})", [
        f"On {said.get('day')} ({said.get('time_zone')}) {refunded} was refunded{until}, and {charged} charged. The "
        f"policy's limit is {limit} of what is charged; Stripe reviews accounts that refund much.",
    ]


STAFF_WORDS: Final[Mapping[StaffMailKind, Callable[[Mapping[str, Any], str], tuple[str, list[str]]]]] = {
    "refund_failed": _refund_failed,
    "refund_stuck": _refund_stuck,
    "refund_rate": _refund_rate,
}


def _amount(refund: Mapping[str, Any]) -> str:
    return format_amount(int(refund.get("amount", 0)), str(refund.get("currency", "")))


def _is_left_out(line: str, values: Mapping[str, str]) -> bool:
    return any(f"{{{name}}}" in line and not values[name] for name in LEFT_OUT_WITHOUT)


def _html(lines: list[str], mail: NewMail) -> str:
    """Return the lines as HTML without a picture or a style from anywhere: what the values hold is text."""
    safe = {name: f"<bdi>{escape(value)}</bdi>" for name, value in mail.values.items()}
    if link := mail.values["link"]:
        safe["link"] = f'<a href="{escape(link)}">{escape(link)}</a>'
    direction = "rtl" if mail.language == "ar" else "ltr"
    body = "\n".join(f"<p>{escape(line, quote=False).format(**safe)}</p>" for line in lines)
    return (
        f'<!doctype html>\n<html lang="{mail.language}" dir="{direction}"><head><meta charset="utf-8">'
        f"<title>{escape(mail.kind)}</title></head>\n<body>\n{body}\n</body></html>\n"
    )
