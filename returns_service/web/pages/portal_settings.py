"""What customers see, for admins: the portal's look and texts as in force, and how mail to customers is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Response

from returns_service.commands.once import done_before
from returns_service.domain.contrast import LEAST_CONTRAST
from returns_service.domain.problems import Problem
from returns_service.domain.roles import ADMIN
from returns_service.domain.vocabulary import MAIL_TEXTS, MailText, find_word
from returns_service.localize import write_amount
from returns_service.mail_client import MailOutcome, SmtpClient
from returns_service.mail_message import MailTextsError, NewMail, Texts, compose, load_texts
from returns_service.queries.outbox import read_outbox
from returns_service.return_case.mail_outbox import TOLD_METHODS
from returns_service.settings import Settings
from returns_service.shop_settings import Language
from returns_service.store.database import Tx
from returns_service.web.pages.forms import ONCE, checked_once, new_once, wrong_field
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.portal_look import look_address, palette_of
from returns_service.web.pages.portal_texts import LANGUAGES, texts_of
from returns_service.web.pages.rendering import render

PATH: Final = "/settings/portal"
TEST_SECONDS: Final = 15.0  # that a person waits for the mail server's answer
EXAMPLE_AMOUNT: Final = 9116  # minor units
WHY: Final = {
    "no_answer": "Nobody answered, or the line was cut. Look at host, port, TLS in RETURNS_SMTP and at the firewall.",
    "address_unusable": "That is no address that mail can be sent to, or RETURNS_MAIL_FROM is none.",
    "smtp_535": "The mail server doesn’t know this user and password. Correct them in RETURNS_SMTP.",
    "smtp_530": "The mail server wants a user and password: smtps://USER:PASSWORD@HOST.",
}
OTHER_ANSWER: Final = "The mail server refused it with this code. Its log says why."


@dataclass(frozen=True, slots=True)
class LanguageTexts:
    """A language's texts in force, and the keys of those that are the shop's own."""

    language: Language
    name: str
    texts: Mapping[str, str]
    own: frozenset[str]


@shows(PATH, scope=ADMIN, personal=True)
async def show_portal_settings(call: PageCall) -> Response[Any]:
    """Show what customers see, and where each of it is changed."""
    return await _page(call)


async def _page(call: PageCall, *, problem: Problem | None = None, outcome: MailOutcome | None = None) -> Response[Any]:
    settings = call.context.settings
    async with call.context.database.reading() as tx:
        outbox = await read_outbox(tx)
    status = problem.kind.status if problem else 502 if outcome else 200
    return render(
        call, "portal_settings.html", status=status, shop=settings, look=look_address(settings),
        palette=palette_of(settings.shop_colour), least=LEAST_CONTRAST, languages=language_texts(settings.portal_texts),
        outbox=outbox, server=server_of(settings), kinds=MAIL_TEXTS, once=new_once(), problem=problem,
        refused=(outcome.code, WHY.get(outcome.code or "", OTHER_ANSWER)) if outcome else None,
        recipient=call.signed_in.user.email, did=call.query("did"),
    )  # fmt: skip


def language_texts(folder: Any) -> list[LanguageTexts]:
    """Return the texts in force of each language."""
    found = []
    for language in LANGUAGES:
        texts, ours = texts_of(language, folder), texts_of(language)
        own = frozenset(key for key, text in texts.items() if ours[key] != text)
        found.append(LanguageTexts(language, texts["name"], texts, own))
    return found


def server_of(settings: Settings) -> str | None:
    """Return the mail server without its user and password; None where mail is off."""
    if settings.smtp is None:
        return None
    parts = urlsplit(settings.smtp.get_secret_value())
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{f'?{parts.query}' if parts.query else ''}"


@posts(f"{PATH}/mail", scope=ADMIN, personal=True)
async def send_test_mail(call: PageCall) -> Response[Any]:
    """Send one of the customers' mails, about an order that isn't, to the admin who asks."""
    once, by, settings = checked_once(call.field(ONCE)), call.by.actor, call.context.settings
    kind, language = find_word(MAIL_TEXTS, call.field("kind")), find_word(LANGUAGES, call.field("language"))

    async def work(tx: Tx) -> bool:
        if await done_before(tx, by, f"{PATH}/mail", once):
            return True
        if settings.smtp is None:
            raise wrong_field("kind", "Mail is off: set RETURNS_SMTP first.")
        if kind is None or language is None:
            raise wrong_field("kind", "Choose which mail, and in which language.")
        return False

    try:
        if await call.context.database.run(work):
            return redirect(f"{PATH}?did=before#mail")
        texts = load_texts(settings.mail_texts)
    except MailTextsError as error:
        return await _page(call, problem=wrong_field("kind", f"RETURNS_MAIL_TEXTS: {error}"))
    except Problem as problem:
        if problem.code != "invalid_request":
            raise
        return await _page(call, problem=problem)
    outcome = await _send(settings, texts, kind or "requested", language or "en", call.signed_in.user.email, once)
    return redirect(f"{PATH}?did=taken#mail") if outcome.result == "taken" else await _page(call, outcome=outcome)


async def _send(
    settings: Settings, texts: Texts, kind: MailText, language: Language, recipient: str, once: str
) -> MailOutcome:
    """Hand an example over to the mail server."""
    sender, address = settings.sender, settings.smtp
    if sender is None or address is None:
        return MailOutcome("refused", "address_unusable")
    amount = write_amount(EXAMPLE_AMOUNT, "eur", language)
    values: dict[str, str] = {
        "shop": settings.shop_name, "order": "TEST-1", "amount": amount, "outside": amount, "code": "0000000000",
        "reason": "Test", **dict.fromkeys(TOLD_METHODS, ""), "store_credit": amount,
        "link": f"{settings.public_url}/portal" if settings.public_url else "",
    }  # fmt: skip
    mail = NewMail(kind, language, recipient, f"<test-{once}@{sender.rpartition('@')[2]}>", values)
    message = compose(texts, mail, sender, settings.shop_name)
    if message is None:
        return MailOutcome("refused", "address_unusable")
    try:
        async with asyncio.timeout(TEST_SECONDS):
            return await SmtpClient(address).send(message, sender, recipient)
    except TimeoutError:
        return MailOutcome("try_later", "no_answer")


PAGES: Final[tuple[Page, ...]] = (show_portal_settings, send_test_mail)
