"""Mail to customers put together: subject, text and HTML from the shop's texts, or from ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any, Final, get_args

from returns_service.domain.vocabulary import MAIL_KINDS, MailKind
from returns_service.shop_settings import Language

OURS: Final = Path(__file__).parent / "mail_texts"
LEFT_OUT_WITHOUT: Final = ("amount", "outside", "code", "reason", "link")  # a line that needs one and hasn't got it
VALUES: Final = ("shop", "order", *LEFT_OUT_WITHOUT)
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
Texts = Mapping[Language, Mapping[str, Mapping[str, str]]]


class MailTextsError(ValueError):
    """A file of the shop's texts is wrong; the message names it and what to correct."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """What a mail says: its kind and language, and the values its text may use."""

    kind: MailKind
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
        if kind not in MAIL_KINDS or not isinstance(parts, dict):
            raise MailTextsError(f"{file}: [{kind}] is none of {', '.join(MAIL_KINDS)}")
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
    try:
        to = Address(addr_spec=mail.recipient)
        message = EmailMessage()
        message["To"] = to
    except (MessageError, ValueError, IndexError):  # what the standard library raises for what is no address
        return None
    message["From"] = Address(" ".join(shop_name.split()), addr_spec=sender)
    message["Subject"] = " ".join(parts["subject"].format(**mail.values).split())
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = mail.language
    lines = [line for line in parts["text"].strip().splitlines() if not _is_left_out(line, mail.values)]
    message.set_content("\n\n".join(line.format(**mail.values) for line in lines) + "\n")
    message.add_alternative(_html(lines, mail), subtype="html")
    return message


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
