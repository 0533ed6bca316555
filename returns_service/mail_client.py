"""The only way out to the shop's mail server: one message a connection, every answer as a value of ours."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final, Literal, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
from pydantic import SecretStr

STEP_SECONDS: Final = 20.0  # each step of a conversation
CONVERSATION_SECONDS: Final = 90.0  # all of them: a server may take its time with each, for ever
QUIT_SECONDS: Final = 2.0  # that a farewell may take: the mail is handed over by then
_SUBMISSION_PORT: Final = {"smtp": 587, "smtps": 465}
MailResult = Literal["taken", "refused", "try_later"]


@dataclass(frozen=True, slots=True)
class MailOutcome:
    """What became of one attempt. `code` names the cause: `smtp_550`, `no_answer`; it holds nothing personal."""

    result: MailResult
    code: str | None = None


class MailClient(Protocol):
    """A mail server, or what stands in for one."""

    async def send(self, message: EmailMessage, sender: str, *recipients: str) -> MailOutcome:
        """Hand one message over."""
        ...


class SmtpClient:
    """The mail server that RETURNS_SMTP names."""

    def __init__(self, address: SecretStr) -> None:
        parts = urlsplit(address.get_secret_value())
        self._host, self._tls = parts.hostname or "", parts.scheme == "smtps"
        self._port = parts.port or _SUBMISSION_PORT[parts.scheme]
        self._start_tls = True if parts.query == "tls=required" else None  # None: where the server offers it
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, message: EmailMessage, sender: str, *recipients: str) -> MailOutcome:
        """Hand one message over. A server that took it and whose answer was lost is asked again: see Message-ID.

        A server that takes it for some of the recipients has taken it.
        """
        client = aiosmtplib.SMTP(
            hostname=self._host, port=self._port, username=self._user, password=self._password, use_tls=self._tls,
            start_tls=False if self._tls else self._start_tls, timeout=STEP_SECONDS,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CONVERSATION_SECONDS):
                await client.connect()
                await client.send_message(message, sender=sender, recipients=list(recipients))
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):  # a timeout is an OSError
                async with asyncio.timeout(QUIT_SECONDS):
                    await client.quit()
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _read_code(error.recipients[0].code)
        except aiosmtplib.SMTPAuthenticationError as error:
            return MailOutcome("try_later", f"smtp_{error.code}")  # of our settings, not of the recipient
        except aiosmtplib.SMTPResponseException as error:
            return _read_code(error.code)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError):
            return MailOutcome("try_later", "no_answer")
        finally:
            client.close()
        return MailOutcome("taken")


def _read_code(code: int) -> MailOutcome:
    """Return what a server's answer means: 5xx is final (RFC 5321, section 4.2.1)."""
    return MailOutcome("refused" if 500 <= code < 600 else "try_later", f"smtp_{code}")
