"""A mail server in this process: it speaks SMTP on a real socket, keeps what it takes, and fails as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Literal

Mood = Literal["takes", "refuses", "busy", "hangs_up", "answer_lost"]


@dataclass
class SmtpListener:
    """What it took, whom it was for, and how it answers next."""

    mood: Mood = "takes"
    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation (RFC 5321, appendix D)."""
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            if self.mood == "hangs_up":
                return
            await self._say(writer, "220 mail.test ready")
            while line := await reader.readline():
                if not await self._answer(line.decode().strip(), reader, writer):
                    return
        finally:
            self.open_now -= 1
            writer.close()

    async def _answer(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one command; return whether the conversation goes on."""
        word = line.partition(" ")[0].upper()
        if word == "RCPT":
            if self.mood in ("refuses", "busy"):
                await self._say(writer, "550 5.1.1 no such user" if self.mood == "refuses" else "451 4.3.0 later")
                return True
            self.recipients.append(line.partition("<")[2].partition(">")[0])
        if word == "DATA":
            await self._say(writer, "354 go on")
            body = await reader.readuntil(b"\r\n.\r\n")
            message = message_from_bytes(body[:-3], _class=EmailMessage, policy=policy.default)
            self.taken.append(message)
            if self.mood == "answer_lost":
                return False
        await self._say(writer, "221 bye" if word == "QUIT" else "250 ok")
        return word != "QUIT"

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, line: str) -> None:
        writer.write(f"{line}\r\n".encode())
        await writer.drain()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[SmtpListener]:
    """Listen on a free port of this machine."""
    listener = SmtpListener()
    server = await asyncio.start_server(listener.converse, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
